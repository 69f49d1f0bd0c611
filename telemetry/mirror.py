"""Keeps an MLflow run equal to metrics.jsonl, in a thread of its own that nobody ever waits for.

The file is the queue: the thread sends what lies behind its offset, one batch per step, larger ones when it lags, and
remembers the offset in tracking.json. A server that is slow or gone therefore costs neither memory nor data: the lines
are sent when it answers again, by this process or by the next attempt of the run.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from telemetry.mlflow_client import MAX_METRICS_PER_BATCH, MlflowRun
from telemetry.parameters import redact_secrets
from telemetry.registry import PolicyVersion
from telemetry.run_info import RunInfo, TerminalStatus, TrackerState
from telemetry.samples import SampleTable
from telemetry.spool import SpoolLine, count_lines, read_lines

TABLE_INTERVAL_S = 10.0  # the table of samples is written and sent at most this often
_LONGEST_PAUSE_S = 30.0  # between two tries to reach the server
_UPLOAD_TRIES = 3
_MAX_WAITING = 256  # samples and uploads that wait for the thread; older ones give way

_log = logging.getLogger(__name__)


class MlflowMirror:
    """All methods return at once, but for `wait_run_id` and `finish`, which have deadlines. None raises."""

    def __init__(self, info: RunInfo, spool_path: Path) -> None:
        self._info, self._spool_path = info, spool_path
        self._changed = threading.Condition()
        self._news = False
        self._end: tuple[TerminalStatus, float] | None = None  # and the deadline on time.monotonic()
        self._opened, self._done = threading.Event(), threading.Event()
        self._samples: deque[tuple[int, Sequence[Mapping[str, Any]]]] = deque(maxlen=_MAX_WAITING)
        self._uploads: deque[Callable[[MlflowRun], None]] = deque([MlflowRun.send_config], maxlen=_MAX_WAITING)
        # What follows belongs to the thread.
        self._run: MlflowRun | None = None
        self._described = False
        self._state: TrackerState | None = None
        self._table: SampleTable | None = None
        self._table_saved = self._table_sent = True
        self._table_time = 0.0
        self._upload_tries = 0
        self._sent_lines = 0
        self._trouble = False
        threading.Thread(target=self._live, name="mlflow-mirror", daemon=True).start()

    def wake(self) -> None:
        """The file has new lines."""
        with self._changed:
            self._news = True
            self._changed.notify()

    def add_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows for the table of samples."""
        self._samples.append((step, rows))
        self.wake()

    def add_artifact(self, path: Path) -> None:
        """A file or folder to upload."""
        self._uploads.append(lambda run: run.send_artifact(path))
        self.wake()

    def add_policy(self, policy: PolicyVersion) -> None:
        """A policy for the model registry."""
        self._uploads.append(lambda run: run.register(policy))
        self.wake()

    def wait_run_id(self, deadline_s: float) -> str | None:
        """The run id; None when the server has not given one within the deadline (it is asked again and again)."""
        self._opened.wait(deadline_s)
        return None if self._state is None else self._state.run_id

    def finish(self, status: TerminalStatus, deadline_s: float) -> dict[str, int]:
        """Send what is left, set the status, and stop. Counts lines sent by this process, and what could not be sent.

        Unsent lines stay in metrics.jsonl and go out with the next attempt of the run.
        """
        with self._changed:
            self._end = (status, time.monotonic() + deadline_s)
            self._changed.notify()
        self._done.wait(deadline_s)
        unsent = count_lines(self._spool_path, self._sent_bytes)
        return {"sent": self._sent_lines, "unsent": unsent, "artifacts_unsent": len(self._uploads)}

    @property
    def _sent_bytes(self) -> int:
        return 0 if self._state is None else self._state.sent_bytes

    def _live(self) -> None:
        failures = 0
        while self._end is None:
            failures = 0 if self._attempt(self._catch_up) else failures + 1
            with self._changed:
                if failures:
                    pause = min(_LONGEST_PAUSE_S, 2.0**failures)
                    self._changed.wait_for(lambda: self._end is not None, pause)
                else:
                    self._changed.wait_for(lambda: self._end is not None or self._news, TABLE_INTERVAL_S)
                self._news = False
        self._close(*self._end)
        self._done.set()

    def _close(self, status: TerminalStatus, deadline: float) -> None:
        """The status goes out before the last lines do when time runs short: a false status misleads more."""
        hurry = time.monotonic() + 0.7 * (deadline - time.monotonic())
        terminated = False
        while time.monotonic() < deadline:
            reached = self._attempt(partial(self._catch_up, deadline if terminated else hurry))
            if not terminated and (reached or time.monotonic() > hurry):
                terminated = self._attempt(partial(self._terminate, status))
            if terminated and reached and not count_lines(self._spool_path, self._sent_bytes):
                return
            if not reached or not terminated:
                time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))  # between two tries to reach the server

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether the work was done. The first of a row of failures is logged; none gets further than here."""
        try:
            work()
        except Exception as error:  # whatever a server, a network or a disk can do: training must not notice
            if not self._trouble:
                cause = redact_secrets(f"{type(error).__name__}: {str(error)[:500]}")
                _log.warning("MLflow at %s does not take data: %s", self._info.shown_uri, cause)
                _log.warning("Training goes on; metrics are kept in %s and sent later.", self._spool_path)
            self._trouble = True
            return False
        if self._trouble:
            _log.warning("MLflow answers again; sending what it missed.")
            self._trouble = False
        return True

    def _catch_up(self, until: float = float("inf")) -> None:
        """One pass over all there is to send; `until` (on time.monotonic()) ends it early."""
        self._take_samples()
        run = self._open_run()
        while time.monotonic() < until and self._send_lines(run):
            pass
        while self._uploads and time.monotonic() < until:
            self._upload(run)
        if not self._table_sent and self._table_saved and self._table is not None:
            run.send_table(self._table.path)
            self._table_sent = True

    def _take_samples(self) -> None:
        if self._table is None and self._samples:
            self._table = SampleTable(self._info.run_folder / "samples.json")
        while self._samples and self._table is not None:
            self._table.add(*self._samples.popleft())
            self._table_saved = False
        due = time.monotonic() - self._table_time >= TABLE_INTERVAL_S or self._end is not None
        if self._table is not None and not self._table_saved and due:
            self._table.save()
            self._table_saved, self._table_sent, self._table_time = True, False, time.monotonic()

    def _open_run(self) -> MlflowRun:
        if self._run is None:
            self._run = MlflowRun(self._info)
        if self._state is None:
            saved = TrackerState.load(self._info.run_folder)
            if saved is not None and saved.mlflow_uri != self._info.shown_uri:
                saved = None  # another server: it gets a run of its own, with all metrics
            wanted = self._info.run_id or (saved.run_id if saved else None)
            same_launch = saved is not None and saved.launch_id == self._info.launch_id
            run_id = self._run.open(wanted, same_launch=same_launch)
            sent = saved.sent_bytes if saved is not None and saved.run_id == run_id else 0
            attempt = self._run.attempt
            self._remember(TrackerState(self._info.shown_uri, run_id, self._info.launch_id, attempt, sent))
            self._opened.set()
        if not self._described:
            self._run.describe()
            self._described = True
        return self._run

    def _send_lines(self, run: MlflowRun) -> bool:
        """Send one batch; False when there was nothing left."""
        assert self._state is not None
        batch: list[SpoolLine] = []
        points = 0
        for line in read_lines(self._spool_path, self._state.sent_bytes):
            points += len(line.metrics)
            if batch and points > MAX_METRICS_PER_BATCH:
                break
            batch.append(line)
        if not batch:
            return False
        run.send(batch)
        self._sent_lines += len(batch)
        self._remember(replace(self._state, sent_bytes=batch[-1].end))
        return True

    def _upload(self, run: MlflowRun) -> None:
        upload = self._uploads[0]
        try:
            upload(run)
        except FileNotFoundError as error:  # a checkpoint that was pruned meanwhile
            _log.warning("An artifact was gone before it was uploaded: %s", error)
        except Exception as error:
            self._upload_tries += 1
            if self._upload_tries < _UPLOAD_TRIES:
                raise
            _log.warning("An artifact or model is given up after %d tries: %s", self._upload_tries, error)
        self._upload_tries = 0
        self._uploads.popleft()

    def _terminate(self, status: TerminalStatus) -> None:
        run = self._open_run()
        run.terminate(status)
        assert self._state is not None
        self._remember(replace(self._state, status=status))

    def _remember(self, state: TrackerState) -> None:
        state.save(self._info.run_folder)
        self._state = state
