"""The one deadline of the loop's own: groups are in flight and none comes back.

The ports keep a deadline for each call, so this one is for the reply that got lost and for deadlines that do not work.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class LoopStalled(RuntimeError):
    """Groups were in flight and none came back, for longer than all their deadlines together."""


class Patience:
    """Fails the coroutine that waits for groups after `limit_s` without any news of them."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._deadline: asyncio.Timeout | None = None
        self._in_flight = 0

    def note(self, in_flight: int) -> None:
        """A group was admitted or came back, and so many are in flight now: the wait starts anew."""
        self._in_flight = in_flight
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._limit_s if in_flight else None)

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[None]:
        """Within it, silence raises LoopStalled."""
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._deadline = deadline
                self.note(self._in_flight)
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise LoopStalled(
                f"No group came back for {self._limit_s:.0f} s (all attempts' deadlines together) while "
                f"{self._in_flight} were in flight. A reply was lost: look into the rollout and reward logs."
            ) from error
        finally:
            self._deadline = None
