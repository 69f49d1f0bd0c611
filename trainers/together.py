"""Tasks that live and die together, failing with the error itself instead of a group that wraps it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast


@asynccontextmanager
async def together() -> AsyncGenerator[asyncio.TaskGroup]:
    """An asyncio.TaskGroup: the first task that fails cancels the others, and its error is what is raised.

    Further failures that happened before the cancellation reached them are added to it as notes.
    """
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        failures = _leaves(group)
    if failures:
        for other in failures[1:]:
            failures[0].add_note(f"At the same time: {type(other).__name__}: {other}")
        raise failures[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            leaves += _leaves(cast("BaseExceptionGroup[BaseException]", error))
        else:
            leaves.append(error)
    return leaves
