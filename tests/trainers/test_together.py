import asyncio

import pytest

from trainers.patience import LoopStalled, Patience
from trainers.together import together

pytestmark = pytest.mark.unit


async def fail(error: Exception) -> None:
    raise error


async def test_the_first_failure_itself_is_raised_and_the_others_are_cancelled():
    ended: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def all_three() -> None:
        async with asyncio.timeout(2), together() as tasks:
            tasks.create_task(wait_for_ever())
            tasks.create_task(fail(KeyError("first")))
            tasks.create_task(fail(ValueError("second")))

    with pytest.raises(KeyError, match="first") as caught:
        await all_three()
    assert ended == ["cancelled"]
    assert caught.value.__notes__ == ["At the same time: ValueError: second"]


async def test_groups_within_groups_are_unwrapped_and_causes_kept():
    async def inner() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(with_cause())

    async def with_cause() -> None:
        try:
            await fail(OSError("disk"))
        except OSError as error:
            raise RuntimeError("write failed") from error

    with pytest.raises(RuntimeError, match="write failed") as caught:
        async with together() as tasks:
            tasks.create_task(inner())
    assert isinstance(caught.value.__cause__, OSError)


async def test_patience_ends_only_in_silence_with_something_in_flight():
    patience = Patience(0.03)

    async def hang() -> None:
        async with patience.watch():
            patience.note(2)
            await asyncio.Event().wait()

    async with asyncio.timeout(2):
        async with patience.watch():
            await asyncio.sleep(0.05)  # nothing is in flight
            for _ in range(4):
                patience.note(1)
                await asyncio.sleep(0.015)
            patience.note(0)
            await asyncio.sleep(0.05)
        with pytest.raises(LoopStalled, match="2 were in flight"):
            await hang()
        patience.note(1)  # nobody watches: nothing happens


async def test_another_timeout_within_the_watch_is_not_taken_for_a_stall():
    patience = Patience(5.0)
    with pytest.raises(TimeoutError):
        async with patience.watch():
            raise TimeoutError("the reference model did not answer")
