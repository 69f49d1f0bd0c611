"""What the users of a sandbox need of it, wherever it is: in this process (box.py) or a service (remote.py)."""

from types import TracebackType
from typing import Protocol, Self

from sandbox.results import RunResult
from sandbox.tasks import Task


class TaskRunner(Protocol):
    """Entered once, then given any number of tasks at once."""

    async def __aenter__(self) -> Self:
        """Raises SandboxUnavailable, with what is missing and how to get it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(self, task: Task) -> RunResult:
        """Judge one task; cancelling it ends what it runs. Raises TaskError for a task that is wrong itself."""
        ...
