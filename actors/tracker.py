"""The tracker: the one process that writes metrics.jsonl and speaks to MLflow. Everyone else sends it plain values.

`TrackerClient` is what a loop holds (trainers/ports.py: Tracker): it sends and forgets. `RunTracker` does the work in
the actor; a restarted actor goes on with the same MLflow run from what lies in the run folder.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from telemetry.mirror import MlflowMirror
from telemetry.registry import PolicyVersion
from telemetry.run_info import RunInfo, TerminalStatus
from telemetry.spool import SpoolWriter
from telemetry.system import SystemReader

_MAX_PENDING_CALLS = 10_000
_NICENESS = 5  # MLflow's work gives way to training on the same cores
_REPLY_MARGIN_S = 5.0  # for the reply to travel, on top of the actor's own deadline

_log = logging.getLogger(__name__)


class RunTracker:
    """Metrics, samples and artifacts of one run. Needs no Ray; nothing but the constructor raises."""

    def __init__(self, info: RunInfo) -> None:
        info.run_folder.mkdir(parents=True, exist_ok=True)
        path = info.run_folder / "metrics.jsonl"
        self._info = info
        self._spool = SpoolWriter(path)
        self._mirror = MlflowMirror(info, path)
        self._system = SystemReader(info.run_folder, info.driver_pid)
        self._step = 0
        self._disk_trouble = False
        self._finished = threading.Event()
        threading.Thread(target=self._watch_system, name="system-metrics", daemon=True).start()

    def start(self, deadline_s: float) -> str | None:
        """The MLflow run id, or None when the server gives none within the deadline; tracking goes on either way."""
        return self._mirror.wait_run_id(deadline_s)

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of a step; see telemetry/metrics.py."""
        self._step = step
        self._append(step, metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Completions to show, `tracking.sample_rows` of them at most."""
        self._mirror.add_samples(step, rows[: self._info.tracking.sample_rows])

    def log_artifact(self, path: Path) -> None:
        """A file or folder; above `tracking.artifact_limit_mib` only its path is logged."""
        self._mirror.add_artifact(path)

    def register_policy(self, policy: PolicyVersion) -> None:
        """A policy for MLflow's model registry."""
        self._mirror.add_policy(policy)

    def finish(self, status: TerminalStatus, deadline_s: float) -> dict[str, int]:
        """Close the books; `sent` and `unsent` count lines of metrics, `artifacts_unsent` uploads."""
        self._finished.set()
        self._guard(self._spool.sync)
        return self._mirror.finish(status, deadline_s)

    def _watch_system(self) -> None:
        while not self._finished.wait(self._info.tracking.system_metrics_every_s):
            self._append(self._step, self._system.read())

    def _append(self, step: int, metrics: Mapping[str, float]) -> None:
        self._guard(lambda: self._spool.append(step, metrics))
        self._mirror.wake()

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
            self._disk_trouble = False
        except OSError as error:  # a full disk must not end a run that may still be able to save itself elsewhere
            if not self._disk_trouble:
                _log.warning("metrics.jsonl in %s cannot be written: %s", self._info.run_folder, error)
            self._disk_trouble = True


class TrackerProcess(RunTracker):
    """In an actor's process of its own."""

    def __init__(self, info: RunInfo) -> None:
        os.nice(_NICENESS)
        super().__init__(info)


# Ray's types do not know the arguments of its decorator. Calls on their way to a process that dies are made again: a
# line that it wrote with its last breath may stand twice, with the same values; none is lost.
TrackerActor: Any = ray.remote(  # pyright: ignore[reportCallIssue]
    num_cpus=0,
    max_restarts=3,
    max_task_retries=-1,
    max_pending_calls=_MAX_PENDING_CALLS,
    concurrency_groups={"wait": 1},
)(TrackerProcess)


class TrackerClient:
    """Starts the tracker on this node and sends it values. `log_*` neither wait nor raise."""

    def __init__(self, info: RunInfo) -> None:
        node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._actor = TrackerActor.options(scheduling_strategy=node).remote(info)
        # A call of an actor costs its caller 100 to 600 us; a thread makes them, in order.
        self._calls: SimpleQueue[tuple[Any, tuple[object, ...]]] = SimpleQueue()
        self._in_trouble = False
        threading.Thread(target=self._send, name="tracker-client", daemon=True).start()

    def start(self, deadline_s: float) -> str | None:
        """Wait for the MLflow run id; None when there is none in time: ask again, what is logged meanwhile is kept.

        Raises RayError when the tracker itself cannot start.
        """
        waiting = self._actor.start.options(concurrency_group="wait")  # metrics are written meanwhile
        try:
            return ray.get(waiting.remote(deadline_s), timeout=deadline_s + _REPLY_MARGIN_S)
        except GetTimeoutError:  # a busy machine: the process is not up yet
            return None

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of a step."""
        self._calls.put((self._actor.log_step, (step, dict(metrics))))

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Completions to show."""
        self._calls.put((self._actor.log_samples, (step, [dict(row) for row in rows])))

    def log_artifact(self, path: Path) -> None:
        """A file or folder that every node can read."""
        self._calls.put((self._actor.log_artifact, (path.absolute(),)))

    def register_policy(self, policy: PolicyVersion) -> None:
        """A policy for MLflow's model registry, which every node can read."""
        self._calls.put((self._actor.register_policy, (policy,)))

    def finish(self, status: TerminalStatus, deadline_s: float) -> dict[str, int] | None:
        """What was sent and what was not; None when the tracker is gone or does not answer in time. Ends its process.

        Nothing may be called after it.
        """
        try:
            sent: Future[None] = Future()
            self._calls.put((sent, ()))
            sent.result(timeout=deadline_s)
            reply = self._actor.finish.remote(status, deadline_s)
            return ray.get(reply, timeout=deadline_s + _REPLY_MARGIN_S)
        except (RayError, TimeoutError) as error:
            _log.warning("The tracker did not finish: %s. metrics.jsonl has what it wrote.", error)
            return None
        finally:
            self._calls.put((None, ()))
            with contextlib.suppress(RayError):
                ray.kill(self._actor)

    def _send(self) -> None:
        while True:
            target, arguments = self._calls.get()
            if target is None:
                return
            if isinstance(target, Future):
                target.set_result(None)  # everything before it was sent
                continue
            try:
                target.remote(*arguments)
                self._in_trouble = False
            except Exception as error:  # _MAX_PENDING_CALLS behind, Ray gone, a value that cannot be sent: never fatal
                if not self._in_trouble:
                    _log.warning("The tracker does not take a call; it is dropped: %r", error)
                self._in_trouble = True
