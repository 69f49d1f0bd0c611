"""Where a run's figures go: the terminal, metrics.jsonl and MLflow (the tracker actor). Satisfies the Tracker port."""

import logging
import threading
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from typing import Any

from ray.exceptions import RayError

from actors.tracker import TrackerClient
from cli.summary_table import summary_rows
from telemetry.console import Console
from telemetry.run_info import RunInfo, TerminalStatus
from trainers.checkpoints import best_complete

log = logging.getLogger(__name__)

MLFLOW_DEADLINE_S = 30.0


class _Supervised:
    """Tracker port of the supervised stages: their steps are shown, and logged below 0 so that RL begins at step 0."""

    def __init__(self, recorder: "Recorder") -> None:
        self.total = 0
        self._recorder = recorder

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self._recorder.console.log_step(step, self.total, metrics)
        self._recorder.tracker.log_step(step - self.total - 1, metrics)

    def log_samples(self, step: int, rows: Seq[Mapping[str, Any]]) -> None:
        pass


class Recorder:
    """Ray must be up. `gauges` tells what the run's parts measure of themselves, added to each step."""

    def __init__(self, info: RunInfo) -> None:
        self.console = Console(info.name)
        self.tracker = TrackerClient(info)
        self.supervised = _Supervised(self)
        self.gauges: Callable[[], Mapping[str, float]] = dict[str, float]
        self.run_id: str | None = None  # MLflow's; None while the server has given none
        self._info = info
        self._finished = threading.Event()
        self.total_steps = 0  # of what goes on, for the terminal; set by whoever knows
        threading.Thread(target=self._wait_for_run_id, name="mlflow-run-id", daemon=True).start()

    def _wait_for_run_id(self) -> None:
        try:
            while self.run_id is None and not self._finished.is_set():
                self.run_id = self.tracker.start(MLFLOW_DEADLINE_S)
        except RayError as error:
            log.warning("the tracker did not start, so this run has no MLflow run and no metrics.jsonl: %s", error)

    def stage(self, text: str) -> None:
        self.console.stage(text)

    def note(self, text: str) -> None:
        log.warning(text)

    def begin_supervised(self, total: int) -> None:
        self.supervised.total = total

    def end_supervised(self) -> None:
        self.supervised.total = 0

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        if not all(name.startswith("eval/") for name in metrics):
            metrics = {**metrics, **self.gauges()}
        self.console.log_step(step, self.total_steps, metrics)
        self.tracker.log_step(step, metrics)

    def log_samples(self, step: int, rows: Seq[Mapping[str, Any]]) -> None:
        self.tracker.log_samples(step, rows)

    def finish(self, status: TerminalStatus) -> None:
        """Artifacts and the true status, then the tracker ends."""
        self._finished.set()
        folder = self._info.run_folder
        for name in ("summary.json", "versions.json", "report.html"):
            if (folder / name).exists():
                self.tracker.log_artifact(folder / name)
        if checkpoint := best_complete(folder / "checkpoints"):
            self.tracker.log_artifact(checkpoint)
        outcome = self.tracker.finish(status, MLFLOW_DEADLINE_S)
        if outcome is not None and outcome.get("unsent"):
            log.warning(
                "%d steps did not reach MLflow at %s; they are in %s and are sent when the run goes on",
                outcome["unsent"],
                self._info.shown_uri,
                folder / "metrics.jsonl",
            )
        self.console.close()

    def show_summary(self, summary: Mapping[str, Any]) -> None:
        """The table at the end, and where to look."""
        title = f"{self._info.name}: {summary['status']}"
        self.console.final_table(summary_rows(summary), columns=("", "before", "after"), title=title)
        folder = self._info.run_folder
        looks = [
            ("report", str(folder / "report.html")),
            ("samples", f"rayzero sample {folder}"),
            ("MLflow", f"mlflow ui --backend-store-uri {self._info.shown_uri}"),
        ]
        for name, where in looks:
            print(f"  {name:8} {where}")
