"""Stop, and go on from the checkpoint: nothing is lost and nothing is trained twice."""

import asyncio
from pathlib import Path

import pytest

from tests.trainers.fakes import CountingPrompts, World, make_loop, make_run
from trainers.checkpoints import newest_complete

pytestmark = pytest.mark.unit


async def stop_after(world: World, loop, steps: int):
    log_step = world.log_step

    def watch(step, metrics):
        log_step(step, metrics)
        if step == steps:
            loop.request_stop()

    world.log_step = watch
    return await loop.run()


@pytest.mark.parametrize("staleness", [0, 2])
async def test_resume_trains_each_group_once_and_loses_none(tmp_path: Path, staleness: int):
    run = make_run(steps=9, algorithm__staleness__max_staleness=staleness)
    first = World(seed=1)
    first.delay_s = 0.002
    async with asyncio.timeout(5):
        stopped = await stop_after(first, make_loop(first, run, tmp_path), 4)
    assert (stopped.status, stopped.steps_done) == ("stopped", 4)

    checkpoint = newest_complete(tmp_path / "checkpoints", check_hashes=True)
    assert checkpoint is not None
    second = World(seed=2)
    second.delay_s = 0.002
    prompts = CountingPrompts()
    loop = make_loop(second, run, tmp_path, prompts=prompts)
    async with asyncio.timeout(5):
        await loop.resume(checkpoint)
        finished = await loop.run()
    assert (finished.status, finished.steps_done, finished.version) == ("finished", 9, 9)
    trained = [i for world in (first, second) for ids in world.groups_of_steps() for i in ids]
    assert sorted(trained) == list(range(27))
    assert prompts.next == 27
    assert finished.books.as_dict() == {"admitted": 27, "trained": 27, "rejected": 0, "failed": 0, "aborted": 0}
    assert finished.totals.staleness_max <= staleness
    assert [step for step, _ in second.metrics] == [5, 6, 7, 8, 9]


async def test_a_synchronous_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path):
    run = make_run(steps=6)
    whole = World()
    first, second = World(), World()
    async with asyncio.timeout(5):
        await make_loop(whole, run, tmp_path / "whole").run()
        await stop_after(first, make_loop(first, run, tmp_path / "cut"), 3)
        loop = make_loop(second, run, tmp_path / "cut")
        checkpoint = newest_complete(tmp_path / "cut" / "checkpoints")
        assert checkpoint is not None
        await loop.resume(checkpoint)
        await loop.run()
    assert first.losses + second.losses == whole.losses
    assert second.logits_V.tolist() == whole.logits_V.tolist()


async def test_buffered_groups_are_not_sampled_again(tmp_path: Path):
    run = make_run(steps=9, algorithm__staleness__max_staleness=2)
    first = World()
    first.gates = {5: asyncio.Event()}  # never back: in flight at the stop
    async with asyncio.timeout(5):
        await stop_after(first, make_loop(first, run, tmp_path), 1)
        second = World()
        loop = make_loop(second, run, tmp_path)
        checkpoint = newest_complete(tmp_path / "checkpoints")
        assert checkpoint is not None
        await loop.resume(checkpoint)
        held = loop.state()
        await loop.run()
    ready = [scored.group.group_id for scored in held.ready]
    assert 5 in [request.group_id for request in held.in_flight]
    assert ready
    assert not set(ready) & set(second.generated)
    assert 5 in second.generated


async def test_a_crash_goes_back_to_the_last_checkpoint(tmp_path: Path):
    run = make_run(steps=6, checkpoints={"every_steps": 2, "keep_last": 1})
    first = World()
    first.break_at_step = 5
    with pytest.raises(RuntimeError, match="died"):
        async with asyncio.timeout(5):
            await make_loop(first, run, tmp_path).run()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_000004"]
    second = World()
    loop = make_loop(second, run, tmp_path)
    async with asyncio.timeout(5):
        await loop.resume(tmp_path / "checkpoints" / "step_000004")
        result = await loop.run()
    assert [batch.step for batch in second.batches] == [4, 5]
    assert result.books.trained == 18


async def test_a_checkpoint_beyond_the_run_is_refused(tmp_path: Path):
    async with asyncio.timeout(5):
        await make_loop(World(), make_run(steps=3), tmp_path).run()
        loop = make_loop(World(), make_run(steps=2), tmp_path)
        with pytest.raises(ValueError, match="3 steps and the run asks for 2"):
            await loop.resume(tmp_path / "checkpoints" / "step_000003")
