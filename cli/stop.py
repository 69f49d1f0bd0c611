"""Ctrl-C and SIGTERM: the first asks for a clean end with a checkpoint, the second cancels everything."""

import asyncio
import signal
from typing import Protocol

from cli.recorder import Recorder


class Stoppable(Protocol):
    """A loop that ends soon when it is asked to."""

    def request_stop(self) -> None: ...


class StopRequest:
    """Listens from its construction, inside the run's task. `loop` is told when there is one."""

    def __init__(self, recorder: Recorder) -> None:
        self.requested = False
        self.loop: Stoppable | None = None
        self._recorder = recorder
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def watch(self, loop: Stoppable) -> None:
        """Tell this loop from now on, and at once when a stop came before."""
        self.loop = loop
        if self.requested:
            loop.request_stop()

    def _on_signal(self) -> None:
        if self.requested:
            self._task.cancel()
            return
        self.requested = True
        self._recorder.note("stopping after this step, with a checkpoint; press Ctrl-C again to stop at once")
        if self.loop is not None:
            self.loop.request_stop()
