"""The loop against a plain synchronous one, its beginning and its end."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.records import Batch, Group, GroupRequest, Prompt, ScoredGroup, StepReport
from tests.trainers.fakes import (
    LEARNING_RATE,
    VOCABULARY,
    World,
    log_softmax,
    make_loop,
    make_prompt,
    make_run,
    reward_of,
    sample_tokens,
)
from trainers.evaluation import group_seed
from trainers.grpo import TrainingDiverged

pytestmark = pytest.mark.unit


def plain_synchronous_losses(steps: int, prompts_per_step: int, group_size: int, run_seed: int) -> list[float]:
    """GRPO as it is told to students: sample, score, one gradient, again. Knows nothing of the loop under test."""
    logits_V = np.zeros(VOCABULARY)
    losses: list[float] = []
    for step in range(steps):
        logprobs_V = log_softmax(logits_V)
        loss, gradient_V = 0.0, np.zeros(VOCABULARY)
        groups: list[tuple[Prompt, list[NDArray[np.int32]]]] = []
        for group_id in range(step * prompts_per_step, (step + 1) * prompts_per_step):
            seed = group_seed(run_seed, group_id)
            completions = [sample_tokens(logits_V, seed + i, varied_lengths=True) for i in range(group_size)]
            groups.append((make_prompt(group_id), completions))
        denominator = sum(len(tokens) for _, completions in groups for tokens in completions)
        for prompt, completions in groups:
            rewards = [reward_of(prompt, tokens) for tokens in completions]
            baseline = sum(rewards) / group_size
            for tokens, reward in zip(completions, rewards, strict=True):
                for token in tokens:
                    factor = -(reward - baseline) / denominator
                    loss += factor
                    gradient_V += factor * (np.eye(VOCABULARY)[token] - np.exp(logprobs_V))
        logits_V = logits_V - LEARNING_RATE * gradient_V
        losses.append(loss)
    return losses


async def test_max_staleness_0_equals_a_plain_synchronous_loop(tmp_path: Path):
    world = World(seed=1)
    world.delay_s = 0.002
    world.varied_lengths = True
    run = make_run(algorithm__advantage="dr_grpo", seed=7)
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path).run()
    expected = plain_synchronous_losses(run.steps, run.prompts_per_step, run.rollout.group_size, run_seed=7)
    assert world.losses == pytest.approx(expected, abs=1e-6)
    assert min(abs(loss) for loss in expected) > 1e-4, "losses of zero would show nothing"
    assert np.abs(world.logits_V).max() > 0.3, "the policy must have moved for the comparison to mean anything"
    assert result.totals.staleness_max == 0
    assert world.groups_of_steps() == [[3 * s, 3 * s + 1, 3 * s + 2] for s in range(5)]


@pytest.mark.parametrize("zero_variance", ["keep", "drop", "refill"])
async def test_max_staleness_0_is_bit_for_bit_the_same_whatever_the_delays(tmp_path: Path, zero_variance: str):
    runs: list[tuple[list[float], list[list[int]], list[float]]] = []
    for delay_seed in (1, 2):
        world = World(seed=delay_seed)
        world.delay_s = 0.003
        world.constant_reward = {1, 3, 4, 9, 11}
        run = make_run(algorithm__filters__zero_variance=zero_variance)
        async with asyncio.timeout(5):
            await make_loop(world, run, tmp_path / str(delay_seed)).run()
        runs.append((world.losses, world.groups_of_steps(), world.logits_V.tolist()))
    assert runs[0] == runs[1]


async def test_max_staleness_0_admits_nothing_before_the_weights_are_published(tmp_path: Path):
    world = World()
    run = make_run(steps=2)
    admitted_during: list[int] = []
    publish = world.publish

    async def slow_publish(version: int):
        await asyncio.sleep(0.005)
        admitted_during.append(len(world.generated) + len(world.open))
        return await publish(version)

    world.publish = slow_publish
    async with asyncio.timeout(5):
        await make_loop(world, run, tmp_path).run()
    assert admitted_during == [0, 3, 6]


async def test_a_run_ends_with_nothing_in_flight_and_no_prompt_too_many(tmp_path: Path):
    world = World(seed=3)
    world.delay_s = 0.002
    run = make_run(steps=6, algorithm__staleness__max_staleness=2)
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path).run()
    assert (result.status, result.steps_done, result.version) == ("finished", 6, 6)
    assert world.open == {}
    assert world.cancelled == []
    assert sorted(world.generated) == list(range(18))
    assert result.books.as_dict() == {"admitted": 18, "trained": 18, "rejected": 0, "failed": 0, "aborted": 0}
    assert [step for step, _ in world.metrics] == [1, 2, 3, 4, 5, 6]


async def test_a_skipped_step_consumes_its_batch_and_the_loop_goes_on(tmp_path: Path):
    for staleness in (0, 2):
        world = World()
        world.skip_steps = {1, 2, 4}
        run = make_run(steps=6, algorithm__staleness__max_staleness=staleness)
        async with asyncio.timeout(5):
            result = await make_loop(world, run, tmp_path / str(staleness)).run()
        assert (result.steps_done, result.version) == (6, 3)
        assert result.books.trained == 18
        assert result.totals.skipped_steps == 3
        assert world.most_open <= 3 * (staleness + 1)
        assert sorted(world.published) == [0, 1, 2, 3]


async def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path: Path):
    world = World()
    world.skip_steps = {1, 2, 3}
    with pytest.raises(TrainingDiverged, match="max_nonfinite_steps"):
        async with asyncio.timeout(5):
            await make_loop(world, make_run(), tmp_path).run()


async def test_a_step_without_any_signal_is_passed_over(tmp_path: Path):
    world = World()
    world.spread_rewards = True
    world.constant_reward = {3, 4, 5}  # all groups of the second step
    run = make_run(steps=3, algorithm__filters__zero_variance="drop")
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path).run()
    assert [batch.step for batch in world.batches] == [0, 2]
    assert (result.steps_done, result.version) == (3, 2)
    assert (result.books.trained, result.books.rejected) == (6, 3)


async def test_stop_request_finishes_the_step_saves_and_cancels_what_is_in_flight(tmp_path: Path):
    world = World()
    world.train_gate = asyncio.Event()
    run = make_run(steps=50, algorithm__staleness__max_staleness=2)
    loop = make_loop(world, run, tmp_path)
    world.gates = {i: asyncio.Event() for i in range(4, 200)}  # groups 4 and later never come back
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        while not world.generated or len(world.open) < 5:
            await asyncio.sleep(0)
        loop.request_stop()
        world.train_gate.set()
        result = await running
    assert (result.status, result.steps_done) == ("stopped", 1)
    assert world.open == {}
    assert sorted(world.cancelled) == [4, 5, 6, 7, 8]
    assert result.books.aborted == 6  # group 3 was ready
    assert (tmp_path / "checkpoints" / "step_000001" / "loop.json").is_file()


async def test_stop_request_while_the_learner_waits_ends_at_once(tmp_path: Path):
    world = World()
    world.gates = {0: asyncio.Event()}
    loop = make_loop(world, make_run(), tmp_path)
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        while not world.open:
            await asyncio.sleep(0)
        loop.request_stop()
        result = await running
    assert (result.status, result.steps_done) == ("stopped", 0)


@pytest.mark.parametrize(("steps", "evaluated_at"), [(5, [0, 2, 4, 5]), (4, [0, 2, 4])])
async def test_evaluation_comes_before_during_and_after(tmp_path: Path, steps: int, evaluated_at: list[int]):
    world = World(seed=4)
    world.delay_s = 0.002
    run = make_run(
        steps=steps,
        algorithm__staleness__max_staleness=1,
        evaluation={"prompts": {"type": "addition", "split": "held_out"}, "problems": 4, "every_steps": 2},
    )
    prompts = [make_prompt(100 + i) for i in range(4)]
    async with asyncio.timeout(5):
        result = await make_loop(world, run, tmp_path, evaluation_prompts=prompts).run()
    assert [e["step"] for e in result.evaluations] == evaluated_at
    evaluated = [(step, ids) for step, kind, ids, _ in world.written if kind == "eval"]
    assert [step for step, _ in evaluated] == evaluated_at
    assert all(ids == [-1, -2, -3, -4] for _, ids in evaluated)


async def test_no_weights_are_published_during_an_evaluation(tmp_path: Path):
    world = World(seed=4)
    world.delay_s = 0.002
    run = make_run(
        steps=6,
        algorithm__staleness__max_staleness=2,
        evaluation={"prompts": {"type": "addition", "split": "held_out"}, "problems": 4, "every_steps": 2},
    )
    generate, score = world.generate, world.score
    began: dict[int, int] = {}
    versions: list[tuple[int, int]] = []

    async def slow_generate(request: GroupRequest) -> Group:
        if request.group_id < 0:
            began[request.group_id] = world.serving
            await asyncio.sleep(0.01)
        return await generate(request)

    async def watched_score(group: Group) -> ScoredGroup:
        if group.group_id < 0:
            versions.append((began[group.group_id], world.serving))
        return await score(group)

    world.generate, world.score = slow_generate, watched_score
    async with asyncio.timeout(5):
        await make_loop(world, run, tmp_path, evaluation_prompts=[make_prompt(i) for i in range(4)]).run()
    assert sorted(set(versions)) == [(0, 0), (2, 2), (4, 4), (6, 6)]


async def test_the_last_step_is_saved_once(tmp_path: Path):
    world = World()
    saved: list[Path] = []
    save = world.save

    async def watched_save(folder: Path, *, export: bool) -> None:
        saved.append(folder)
        await save(folder, export=export)

    world.save = watched_save
    async with asyncio.timeout(5):
        await make_loop(world, make_run(steps=4, checkpoints={"every_steps": 2}), tmp_path).run()
    assert [folder.name for folder in saved] == [".unfinished_step_000002", ".unfinished_step_000004"]


async def test_a_kl_penalty_needs_the_reference_and_gets_its_logprobs_into_the_batch(tmp_path: Path):
    run = make_run(algorithm__kl={"type": "k3", "coefficient": 0.1})
    with pytest.raises(ValueError, match="'k3' and no reference model"):
        make_loop(World(), run, tmp_path)

    class Reference:
        async def logprobs(self, sequences: list, temperature: float) -> list:
            return [np.full(len(s.response_ids), -i, dtype=np.float32) for i, s in enumerate(sequences)]

    world = World()
    async with asyncio.timeout(5):
        await make_loop(world, run, tmp_path, reference=Reference()).run()
    for batch in world.batches:
        firsts = [float(s.reference_logprobs[0]) for s in batch.sequences if s.reference_logprobs is not None]
        assert firsts == [-float(i) for i in range(12)]


async def test_a_learner_whose_version_does_not_follow_is_refused(tmp_path: Path):
    world = World()
    world.version = 3
    loop = make_loop(world, make_run(), tmp_path, version=3)
    train = world.train

    async def train_twice(batch: Batch) -> StepReport:
        world.version += 1
        return await train(batch)

    world.train = train_twice
    with pytest.raises(RuntimeError, match="have lost each other"):
        async with asyncio.timeout(5):
            await loop.run()
