"""With `max_staleness: 2` and a straggler: no gradient from an older token, and what becomes of the straggler."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from data.records import Batch, StepReport
from tests.trainers.fakes import LENGTH, World, make_loop, make_run

pytestmark = pytest.mark.unit

STRAGGLER = 1


def straggling_run(mode: str):
    return make_run(
        steps=8,
        algorithm__staleness={"max_staleness": 2, "stale_tokens": mode},
        algorithm__advantage="dr_grpo",
    )


async def run_with_straggler(tmp_path: Path, mode: str, *, until_version: int, last_token_late: bool = False) -> World:
    """Group 1 comes back only when the learner has reached a version (or, with `wait`, cannot go on without it)."""
    world = World(seed=5)
    gate = asyncio.Event()
    (world.slow_tokens if last_token_late else world.gates)[STRAGGLER] = gate
    publish = world.publish

    async def publish_and_open(version: int):
        report = await publish(version)
        if version >= until_version:
            gate.set()
        return report

    world.publish = publish_and_open
    async with asyncio.timeout(5):
        await make_loop(world, straggling_run(mode), tmp_path).run()
    return world


def oldest_trained_age(world: World, versions_by_response: dict[bytes, np.ndarray]) -> int:
    """Over all batches: learner version minus version of the oldest token with a weight."""
    ages: list[int] = []
    for batch, learner_version in zip(world.batches, world.trained_at, strict=True):
        for sequence in batch.sequences:
            assert sequence.behaviour_logprobs is not None
            versions = versions_by_response[sequence.response_ids.tobytes() + sequence.behaviour_logprobs.tobytes()]
            ages += (learner_version - versions[sequence.loss_weights != 0]).tolist()
    return max(ages)


def remember_versions(world_class_generate):
    """Wrap `generate` so that a test knows the versions of each response it sees in a batch."""
    seen: dict[bytes, np.ndarray] = {}

    async def generate(self, request):
        group = await world_class_generate(self, request)
        for c in group.completions:
            seen[c.token_ids.tobytes() + c.logprobs.tobytes()] = c.versions
        return group

    return generate, seen


@pytest.mark.parametrize("mode", ["mask", "drop", "wait"])
@pytest.mark.parametrize("last_token_late", [False, True])
async def test_no_gradient_comes_from_an_older_token(
    tmp_path: Path, mode: str, last_token_late: bool, monkeypatch: pytest.MonkeyPatch
):
    generate, seen = remember_versions(World.generate)
    monkeypatch.setattr(World, "generate", generate)
    # With `wait` the learner cannot get past version 2 without the straggler, so that is when it comes.
    until = 2 if mode == "wait" else 5
    world = await run_with_straggler(tmp_path, mode, until_version=until, last_token_late=last_token_late)
    assert len(world.batches) == 8
    assert oldest_trained_age(world, seen) <= 2
    assert max(world.train_metrics("staleness/max")) <= 2
    assert world.most_open <= 9
    trained = [i for ids in world.groups_of_steps() for i in ids]
    assert len(trained) == len(set(trained)) == 24
    assert (STRAGGLER in trained) == (mode != "drop")


async def test_mask_trains_the_fresh_tokens_of_a_straggler(tmp_path: Path):
    world = await run_with_straggler(tmp_path, "mask", until_version=5, last_token_late=True)
    step = next(i for i, ids in enumerate(world.groups_of_steps()) if STRAGGLER in ids)
    batch = world.batches[step]
    late = [s for s in batch.sequences if (s.loss_weights == 0).any()]
    assert len(late) == 4
    for sequence in late:
        assert (sequence.loss_weights != 0).tolist() == [False] * (LENGTH - 1) + [True]
    # 2 whole groups of 4 x 4 tokens, and 4 tokens of the straggler, share the denominator.
    assert batch.sequences[-1].loss_weights[-1] == pytest.approx(1 / 36)
    assert world.train_metrics("staleness/masked_token_share")[step] == pytest.approx(12 / 48)
    assert world.train_metrics("completion/trained_length_mean")[step] == pytest.approx(36 / 12)


async def test_wait_holds_the_learner_until_the_straggler_is_in(tmp_path: Path):
    world = World()
    gate = world.gates[STRAGGLER] = asyncio.Event()
    running = asyncio.create_task(make_loop(world, straggling_run("wait"), tmp_path).run())
    async with asyncio.timeout(5):
        while len(world.batches) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)  # time enough to run past, were there nothing to hold the learner
        assert len(world.batches) == 2
        gate.set()
        await running
    assert STRAGGLER in world.groups_of_steps()[2]


async def test_mask_does_not_hold_the_learner(tmp_path: Path):
    world = World()
    gate = world.gates[STRAGGLER] = asyncio.Event()
    running = asyncio.create_task(make_loop(world, straggling_run("mask"), tmp_path).run())
    async with asyncio.timeout(5):
        while len(world.batches) < 6:
            await asyncio.sleep(0)
        gate.set()
        await running
    trained = [i for ids in world.groups_of_steps() for i in ids]
    assert STRAGGLER in trained


async def test_drop_foresees_the_step_that_the_learner_is_in(tmp_path: Path):
    """The straggler comes while the learner goes from version 2 to 3: when its batch is trained it is too old."""
    world = World()
    gate = world.gates[STRAGGLER] = asyncio.Event()
    train = world.train

    async def train_slowly(batch: Batch) -> StepReport:
        if batch.step == 2:
            gate.set()
            async with asyncio.timeout(2):
                while STRAGGLER not in world.generated:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.005)  # the next batch is chosen meanwhile
        return await train(batch)

    world.train = train_slowly
    async with asyncio.timeout(5):
        await make_loop(world, straggling_run("drop"), tmp_path).run()
    assert STRAGGLER not in [i for ids in world.groups_of_steps() for i in ids]
    assert max(world.train_metrics("staleness/masked_token_share")) == 0


@pytest.mark.parametrize("staleness", [0, 1, 3])
async def test_groups_held_never_exceed_the_bound(tmp_path: Path, staleness: int):
    world = World(seed=6)
    world.delay_s = 0.002
    run = make_run(steps=10, prompts_per_step=2, algorithm__staleness__max_staleness=staleness)
    loop = make_loop(world, run, tmp_path)
    held: list[int] = []
    log_step = world.log_step

    def watch(step: int, metrics: Mapping[str, float]) -> None:
        held.append(int(metrics["rollout/groups_in_flight"] + metrics["rollout/groups_buffered"]))
        log_step(step, metrics)

    world.log_step = watch
    async with asyncio.timeout(5):
        result = await loop.run()
    assert max(held) <= 2 * (staleness + 1)
    assert world.most_open <= 2 * (staleness + 1)
    assert result.totals.staleness_max <= staleness
