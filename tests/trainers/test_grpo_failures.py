"""Failing rollouts, rewards and learners: every admitted group ends in exactly one state; the loop goes on or ends."""

import asyncio
from pathlib import Path

import pytest

from tests.trainers.fakes import World, make_loop, make_run
from trainers.intake import TooManyFailures
from trainers.patience import LoopStalled

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seed", range(12))
async def test_books_balance_under_random_failures_delays_and_stops(tmp_path: Path, seed: int):
    world = World(seed=seed)
    world.delay_s = 0.0015
    world.rollout_failure_share = world.random.choice([0.0, 0.3])
    world.reward_failure_share = world.random.choice([0.0, 0.2])
    world.infra_share = world.random.choice([0.0, 0.3])
    world.skip_steps = {i for i in range(12) if world.random.random() < 0.2}
    world.constant_reward = {i for i in range(60) if world.random.random() < 0.4}
    run = make_run(
        steps=10,
        algorithm__max_nonfinite_steps=20,
        algorithm__staleness={
            "max_staleness": world.random.choice([0, 1, 2]),
            "stale_tokens": world.random.choice(["mask", "drop", "wait"]),
        },
        algorithm__filters={
            "zero_variance": world.random.choice(["keep", "drop", "refill"]),
            "max_refills_per_step": 2,
        },
    )
    loop = make_loop(world, run, tmp_path)
    if seed % 3 == 0:
        asyncio.get_running_loop().call_later(0.02, loop.request_stop)
    async with asyncio.timeout(5):
        result = await loop.run()
    books = result.books
    assert books.admitted == books.trained + books.rejected + books.failed + books.aborted
    assert result.status == "stopped" or result.steps_done == 10
    trained = [i for ids in world.groups_of_steps() for i in ids]
    assert len(trained) == len(set(trained)) == books.trained
    assert world.most_open <= 3 * (run.algorithm.staleness.max_staleness + 1)
    assert world.open == {}


async def test_failed_groups_are_replaced(tmp_path: Path):
    world = World(seed=2)
    world.rollout_failure_share = world.reward_failure_share = 0.25
    async with asyncio.timeout(5):
        result = await make_loop(world, make_run(), tmp_path).run()
    assert result.books.failed > 0
    assert result.books.trained == 15
    assert result.books.admitted == 15 + result.books.failed


async def test_completions_without_a_verdict_are_masked_and_too_few_reject_the_group(tmp_path: Path):
    world = World(seed=3)
    world.infra_share = 0.5
    run = make_run(algorithm__filters__min_valid_completions=3)
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path).run()
    assert result.books.rejected > 0
    assert result.books.trained == 15
    sizes = [len(batch.sequences) for batch in world.batches]
    assert all(9 <= size < 12 for size in sizes), sizes


async def test_an_outage_ends_the_run_with_its_cause(tmp_path: Path):
    world = World()
    world.rollout_failure_share = 1.0
    loop = make_loop(world, make_run(), tmp_path)
    with pytest.raises(TooManyFailures, match="worker 0 died three times"):
        async with asyncio.timeout(5):
            await loop.run()
    books = loop.books
    assert books.admitted == books.failed + books.aborted


async def test_a_learner_that_dies_cancels_everything_and_shows_its_own_error(tmp_path: Path):
    world = World(seed=1)
    world.break_at_step = 2
    world.gates = {i: asyncio.Event() for i in range(9, 40)}
    loop = make_loop(world, make_run(algorithm__staleness__max_staleness=2), tmp_path)
    with pytest.raises(RuntimeError, match="learner rank 1 died"):
        async with asyncio.timeout(5):
            await loop.run()
    assert world.open == {}
    assert world.cancelled
    loop.books.check(in_flight=0, buffered=0)


async def test_an_error_that_is_not_a_group_failure_ends_the_run(tmp_path: Path):
    world = World()

    async def broken(group):
        raise KeyError("answer")

    world.score = broken
    with pytest.raises(KeyError, match="answer"):
        async with asyncio.timeout(5):
            await make_loop(world, make_run(), tmp_path).run()


async def test_refill_replaces_zero_variance_groups_up_to_its_bound(tmp_path: Path):
    world = World()
    world.spread_rewards = True
    world.constant_reward = {1, 3}
    run = make_run(steps=1, algorithm__filters__zero_variance="refill")
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path / "a").run()
    assert world.groups_of_steps() == [[0, 2, 4]]
    assert (result.books.admitted, result.books.rejected) == (5, 2)

    world = World()
    world.constant_reward = set(range(1000))
    run = make_run(steps=2, algorithm__filters={"zero_variance": "refill", "max_refills_per_step": 7})
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path / "b").run()
    assert result.books.admitted == 2 * (3 + 7)
    assert result.books.trained == 0
    assert result.steps_done == 2


async def test_drop_trains_on_fewer_groups_and_keeps_the_pace_of_admission(tmp_path: Path):
    world = World()
    world.spread_rewards = True
    world.constant_reward = {0, 4, 5}
    run = make_run(steps=4, algorithm__filters__zero_variance="drop", algorithm__staleness__max_staleness=1)
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path).run()
    assert (result.books.admitted, result.books.trained, result.books.rejected) == (12, 9, 3)
    assert world.most_open <= 6


async def test_a_lost_reply_ends_the_run_instead_of_hanging(tmp_path: Path):
    world = World()
    world.gates = {1: asyncio.Event()}
    loop = make_loop(world, make_run(), tmp_path)
    loop._patience._limit_s = 0.05
    with pytest.raises(LoopStalled, match="1 were in flight"):
        async with asyncio.timeout(5):
            await loop.run()
    assert world.cancelled == [1]
