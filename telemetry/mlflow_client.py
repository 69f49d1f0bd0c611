"""One MLflow run, spoken to through MlflowClient with an explicit run id; never the fluent API.

Every method is a blocking call to the server and raises what the client raises; the mirror (telemetry/mirror.py) keeps
them away from training. MLflow is imported on first use, because that takes a second of CPU.
"""

import fcntl
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from telemetry.metrics import legal_name
from telemetry.parameters import flatten_config, redact_secrets
from telemetry.registry import PolicyVersion, register_policy
from telemetry.run_info import RunInfo, TerminalStatus
from telemetry.spool import SpoolLine

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ATTEMPT_TAG = "rayzero.attempt"
SQLITE = "sqlite:///"
PARENT_RUN_TAG = "mlflow.parentRunId"  # by which MLflow's page nests runs
TABLES_TAG = "mlflow.loggedArtifacts"  # what MLflow's page looks up to find tables
MAX_METRICS_PER_BATCH = 1000  # of MLflow
_MAX_PARAMS_PER_BATCH = 100  # of MLflow
_MAX_TAG_LENGTH = 5000  # of MLflow's oldest servers

_log = logging.getLogger(__name__)


class MlflowRun:
    """The run on the server. `open` first; then the rest in any order."""

    def __init__(self, info: RunInfo) -> None:
        self._info = info
        self._client = connect(info.mlflow_uri)
        self.run_id = ""
        self.attempt = 1

    def open(self, run_id: str | None, *, same_launch: bool = False) -> str:
        """Reopen a run, or make a new one when `run_id` is None or unknown to the server. Returns the run id.

        A reopened run counts one more attempt, unless this launch has opened it before (a restarted tracker).
        """
        run = None if run_id is None else self._find(run_id)
        if run is None:
            run = self._client.create_run(self._experiment_id(), run_name=self._info.name)
        else:
            earlier = int(run.data.tags.get(ATTEMPT_TAG, "1"))
            self.attempt = earlier if same_launch else earlier + 1
            self._client.update_run(run.info.run_id, status="RUNNING")
        self.run_id = run.info.run_id
        return self.run_id

    def describe(self) -> None:
        """Parameters and tags. May be repeated; parameters that MLflow already has are left as they are.

        MLflow refuses to change a parameter, so what a resume changed is seen in the config of its attempt.
        """
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self.run_id).data.params
        params = [Param(k, v) for k, v in flatten_config(self._info.config).items() if k not in known]
        for start in range(0, len(params), _MAX_PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, params=params[start : start + _MAX_PARAMS_PER_BATCH])
        self._client.log_batch(self.run_id, tags=[RunTag(k, v[:_MAX_TAG_LENGTH]) for k, v in self._tags().items()])

    def send_config(self) -> None:
        """Upload the config, without secrets: `config.yaml`, or `config.attempt_2.yaml` and so on."""
        name = "config.yaml" if self.attempt == 1 else f"config.attempt_{self.attempt}.yaml"
        text = yaml.safe_dump(redact_secrets(self._info.config), sort_keys=False, allow_unicode=True)
        self._client.log_text(self.run_id, text, name)

    def send(self, lines: Iterable[SpoolLine]) -> None:
        """Metrics of one or more lines in as few calls as MLflow allows.

        Sending a line twice adds nothing: MLflow keys a point by its name, step, time and value.
        """
        from mlflow.entities import Metric

        points = [
            Metric(legal_name(name), value, round(line.time_s * 1000), line.step)
            for line in lines
            for name, value in line.metrics.items()
        ]
        for start in range(0, len(points), MAX_METRICS_PER_BATCH):
            self._client.log_batch(self.run_id, metrics=points[start : start + MAX_METRICS_PER_BATCH])

    def send_table(self, path: Path) -> None:
        """Upload a table of samples under its file name, and tell MLflow's page that it is one."""
        self._client.log_artifact(self.run_id, str(path))
        self._client.set_tag(self.run_id, TABLES_TAG, f'[{{"path": "{path.name}", "type": "table"}}]')

    def send_artifact(self, path: Path) -> None:
        """Upload a file or folder, or log its path when it is larger than `tracking.artifact_limit_mib`."""
        size_mib = _size(path) / 2**20
        if size_mib > self._info.tracking.artifact_limit_mib:
            self._client.set_tag(self.run_id, f"artifact/{legal_name(path.name)}", f"{path} ({size_mib:.0f} MiB)")
        elif path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), artifact_path=path.name)
        else:
            self._client.log_artifact(self.run_id, str(path))

    def register(self, policy: PolicyVersion) -> None:
        """Put a policy into the model registry, which is the tracking server's own, and its run under this one.

        The run may have ended before this one had an id.
        """
        if policy.run_id is not None:
            self._client.set_tag(policy.run_id, PARENT_RUN_TAG, self.run_id)
        is_server = self._info.mlflow_uri.startswith(("http://", "https://"))
        register_policy(self._client, policy, is_server=is_server)

    def terminate(self, status: TerminalStatus) -> None:
        """Set the status that the run ended with, and the parent, which may have had no id when this run began."""
        if (parent := self._info.parent_run_id) is not None:
            self._client.set_tag(self.run_id, PARENT_RUN_TAG, parent)
        self._client.set_terminated(self.run_id, status)

    def _find(self, run_id: str) -> "Run | None":
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage == "deleted":
            _log.warning("MLflow at %s has no run %s; a new one is made.", self._info.shown_uri, run_id)
            return None
        return run

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self._info.tracking.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        try:
            return self._client.create_experiment(name, artifact_location=self._info.artifact_location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            created = self._client.get_experiment_by_name(name)  # by another run that starts at the same time
            assert created is not None
            return created.experiment_id

    def _tags(self) -> dict[str, str]:
        versions = self._info.versions
        tags = {ATTEMPT_TAG: str(self.attempt), "rayzero.run_folder": str(self._info.run_folder)}
        if (parent := self._info.parent_run_id) is not None:
            tags[PARENT_RUN_TAG] = parent
        tags |= {f"version.{name}": str(value) for name, value in versions.get("packages", {}).items()}
        tags |= {name: str(versions[name]) for name in ("python", "platform") if name in versions}
        git: dict[str, Any] | None = versions.get("git")
        if git:
            tags |= {"mlflow.source.git.commit": str(git["commit"]), "git.dirty": str(git["dirty"])}
        return tags


def connect(uri: str) -> "MlflowClient":
    """A client whose calls end within seconds when the server is gone; the environment may say otherwise."""
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # the mirror says it once
    if not uri.startswith(SQLITE):
        return MlflowClient(tracking_uri=uri)
    # The first client of a new store makes its tables. Two processes that do so at once, as the trackers of a pipeline
    # and of its first stage may, leave a store that no client can open.
    store = Path(uri.removeprefix(SQLITE))
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f".{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for the migrations alone, and gone with the process that holds it
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _size(path: Path) -> int:
    files: Sequence[Path] = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
