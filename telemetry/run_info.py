"""What a tracker must know of a run, and what it remembers of it on disk (tracking.json)."""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from configs.run import Tracking
from telemetry.parameters import redact_secrets

TerminalStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Made by the driver, sent to the tracker. Everything in it can be pickled."""

    name: str
    run_folder: Path  # absolute; holds metrics.jsonl
    tracking: Tracking
    config: Mapping[str, Any]  # resolved, as plain values; secrets are taken out before anything leaves the machine
    versions: Mapping[str, Any]  # of collect_versions()
    run_id: str | None = None  # MLflow's; None: that of tracking.json, or a new run
    parent_folder: Path | None = None  # absolute; of the pipeline that this run is a stage of; None: of none
    launch_id: str = field(default_factory=lambda: uuid.uuid4().hex)  # tells a new attempt from a restarted tracker
    driver_pid: int = field(default_factory=os.getpid)

    @property
    def mlflow_uri(self) -> str:
        """The configured tracking server, or SQLite in the folder of all runs."""
        return self.tracking.mlflow_uri or f"sqlite:///{self._store / 'mlflow.db'}"

    @property
    def shown_uri(self) -> str:
        """The same without a login, for logs and files."""
        return redact_secrets(self.mlflow_uri)

    @property
    def artifact_location(self) -> str | None:
        """Where a new experiment keeps artifacts; None leaves it to the server."""
        return None if self.tracking.mlflow_uri else (self._store / "mlartifacts").as_uri()

    @property
    def parent_run_id(self) -> str | None:
        """MLflow's id of the pipeline's run; None while it has none."""
        parent = TrackerState.load(self.parent_folder) if self.parent_folder is not None else None
        return None if parent is None else parent.run_id

    @property
    def _store(self) -> Path:
        """The folder of all runs."""
        return (self.parent_folder or self.run_folder).parent


@dataclass(frozen=True, slots=True)
class TrackerState:
    """tracking.json: which MLflow run the folder belongs to, and how much of metrics.jsonl it has."""

    mlflow_uri: str  # without a login
    run_id: str
    launch_id: str
    attempt: int  # 1 for the first launch
    sent_bytes: int = 0  # of metrics.jsonl
    status: TerminalStatus | Literal["RUNNING"] = "RUNNING"

    @staticmethod
    def load(run_folder: Path) -> "TrackerState | None":
        """None when the folder has not been tracked yet. Raises ValueError when the file is not ours."""
        path = run_folder / "tracking.json"
        if not path.exists():
            return None
        try:
            return TrackerState(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}). Delete it: the run then gets a new MLflow run, with all metrics."
            ) from error

    def save(self, run_folder: Path) -> None:
        """Replace the file in one move."""
        temporary = run_folder / "tracking.json.new"
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(run_folder / "tracking.json")
