"""STaR's iterations: what is trained on, which weights it starts from, when it ends."""

import asyncio
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.records import Batch, Group, GroupRequest, StepReport
from tests.trainers.star_fakes import CLASSES, HINT, StarWorld, make_loop, make_run
from trainers.checkpoints import best_complete
from trainers.star_sampling import IterationFailed
from trainers.star_summary import build_star_summary
from trainers.star_tuning import TuningDiverged

pytestmark = pytest.mark.unit


async def test_what_is_right_is_trained_on_and_what_is_wrong_is_asked_again_with_a_hint(tmp_path: Path):
    world = StarWorld(knows={0, 1})
    result = await make_loop(world, make_run(star__iterations=1), tmp_path).run()
    trained = {pair[0] % CLASSES for pair in world.trained_pairs()}
    assert trained == {0, 1, 2, 3}
    (report,) = result.reports
    assert (report.solved, report.asked_with_hint, report.rationalized) == (4, 4, 4)
    assert report.rationalized_share == 0.5
    accuracies = [evaluation["eval/accuracy"] for evaluation in result.evaluations]
    assert accuracies == [0.5, 1.0]
    assert (result.status, result.ended_by) == ("finished", "iterations")


async def test_a_hint_is_never_in_a_prompt_that_is_trained_on(tmp_path: Path):
    world = StarWorld()
    await make_loop(world, make_run(), tmp_path).run()
    hinted = [request for request in world.requests if HINT in request.prompt.token_ids]
    assert hinted
    assert all(len(s.prompt_ids) == 1 and HINT not in s.prompt_ids for b in world.batches for s in b.sequences)
    rows = pq.read_table(tmp_path / "rationales" / "iteration_0001.parquet").to_pylist()
    assert any(row["hinted"] and row["fate"] == "trained" for row in rows)
    assert all(HINT not in row["prompt_token_ids"] and "(" not in row["prompt"] for row in rows)


async def test_a_rationale_that_quotes_the_hint_but_is_wrong_is_not_trained_on(tmp_path: Path):
    world = StarWorld(knows={0})
    world.hinted_answer = lambda number, sample: 100 + number if number % CLASSES == 1 else 8
    await make_loop(world, make_run(star__iterations=1), tmp_path).run()
    assert {pair[0] % CLASSES for pair in world.trained_pairs()} == {0, 1}
    rows = pq.read_table(tmp_path / "rationales" / "iteration_0001.parquet").to_pylist()
    quoting = [row for row in rows if row["hinted"] and int(row["problem"][1:]) % CLASSES == 2]
    assert quoting
    assert all(f"hint says {100 + int(row['problem'][1:])}" in row["rationale"] for row in quoting)
    assert all(row["fate"] == "wrong" and not row["correct"] for row in quoting)


async def test_a_rationale_made_with_a_hint_may_have_to_be_long_enough(tmp_path: Path):
    world = StarWorld(knows={0})
    run = make_run(star__iterations=1, star__rationalization__min_tokens=4)
    result = await make_loop(world, run, tmp_path).run()
    assert {pair[0] % CLASSES for pair in world.trained_pairs()} == {0}
    assert result.reports[0].too_short == 6 * 2


async def test_without_rationalization_nothing_is_asked_with_a_hint(tmp_path: Path):
    world = StarWorld(knows={0})
    result = await make_loop(world, make_run(star__rationalization=None), tmp_path).run()
    assert not any(HINT in request.prompt.token_ids for request in world.requests)
    assert [report.rationalized_share for report in result.reports] == [0.0] * 3


async def test_equal_rationales_count_once_and_no_problem_gives_more_than_the_cap(tmp_path: Path):
    world = StarWorld(knows={0, 1, 2, 3})
    world.fillers = lambda number, sample: 50 + (0 if number % 2 else sample)
    result = await make_loop(world, make_run(star__iterations=1), tmp_path).run()
    (report,) = result.reports
    assert (report.trained, report.duplicates, report.over_cap) == (4 * 1 + 4 * 2, 4 * 3, 4 * 2)
    (advantages,) = [groups for _, kind, groups in world.written if kind == "train"]
    assert sum((values == 1.0).sum() for values in advantages.values()) == report.trained


@pytest.mark.parametrize("restart", ["base", "last"])
async def test_fine_tuning_starts_from_the_base_or_from_the_last_weights(tmp_path: Path, restart: str):
    world = StarWorld(knows={0})
    await make_loop(world, make_run(star__restart_from=restart), tmp_path).run()
    model = tmp_path / "base_policy" if restart == "base" else None
    assert [begun[0] for begun in world.begun] == [None, model, model, model]


async def test_versions_count_on_over_the_iterations_and_name_what_sampled(tmp_path: Path):
    world = StarWorld(knows={0, 1, 2, 3})
    result = await make_loop(world, make_run(), tmp_path).run()
    ends = [report.version for report in result.reports]
    assert ends == [4, 8, 12]  # 8 problems with 2 rationales each, 4 a step
    assert [begun[1] for begun in world.begun] == [0, 0, 4, 8]
    for iteration, version in enumerate([0, 4, 8], 1):
        rows = pq.read_table(tmp_path / "rationales" / f"iteration_{iteration:04d}.parquet").to_pylist()
        assert {(row["oldest_version"], row["newest_version"]) for row in rows} == {(version, version)}


async def test_with_overlap_the_next_iteration_is_sampled_while_the_learner_trains(tmp_path: Path):
    world = StarWorld(knows={0})
    world.train_gate = asyncio.Event()
    running = asyncio.create_task(make_loop(world, make_run(star__overlap=True), tmp_path).run())
    async with asyncio.timeout(5):
        while len(world.served_version) < CLASSES + 2 * (8 + 6):  # evaluation, two iterations with their hints
            await asyncio.sleep(0.01)
    assert world.batches == []
    world.train_gate.set()
    await running
    # The third iteration began when the first fine-tuning was published.
    assert {world.served_version[i] for i in world.training_ids() if i < 32} == {0}
    assert min(world.served_version[i] for i in world.training_ids() if i >= 32) > 0


async def test_without_overlap_every_iteration_is_sampled_with_the_weights_before_it(tmp_path: Path):
    world = StarWorld(knows={0})
    result = await make_loop(world, make_run(), tmp_path).run()
    versions = [0, *(report.version for report in result.reports)]
    for group_id in world.training_ids():
        assert world.served_version[group_id] == versions[group_id // 16]


async def test_the_run_ends_when_accuracy_no_longer_rises(tmp_path: Path):
    world = StarWorld(knows={0})
    result = await make_loop(world, make_run(star__iterations=9, star__patience=2), tmp_path).run()
    # 0.25, then 1.0 thanks to the hints, then twice no better.
    assert [evaluation["eval/accuracy"] for evaluation in result.evaluations] == [0.25, 1.0, 1.0, 1.0]
    assert (result.status, result.ended_by) == ("finished", "patience")


@pytest.mark.parametrize(("patience", "iteration", "accuracy"), [(1, 1, 1.0), (0, 2, 0.25)])
async def test_the_result_is_the_best_iteration_where_patience_judges_and_the_last_where_nothing_does(
    tmp_path: Path, patience: int, iteration: int, accuracy: float
):
    world = StarWorld(knows={0})  # of every fine-tuning from the base
    run = make_run(
        star__iterations=2, star__patience=patience, star__rationalization__samples=1, checkpoints={"keep_last": 1}
    )
    world.learns_in = {1}
    result = await make_loop(world, run, tmp_path).run()
    assert [evaluation["eval/accuracy"] for evaluation in result.evaluations] == [0.25, 1.0, 0.25]
    summary = build_star_summary(result, wall_s=1.0)
    assert (result.iteration, summary["result_iteration"], summary["accuracy_after"]) == (
        iteration,
        iteration,
        accuracy,
    )
    marked = best_complete(tmp_path / "checkpoints")
    assert marked == tmp_path / "checkpoints" / f"step_{iteration:06d}"
    assert marked is not None
    assert len(json.loads((marked / "weights.json").read_text())[1]) == 4 * accuracy


async def test_nothing_accepted_ends_the_run_with_the_remedy(tmp_path: Path):
    world = StarWorld()
    run = make_run(star__rationalization=None)
    with pytest.raises(IterationFailed, match=r"none of the 32 rationales of iteration 1 was accepted.*group_size"):
        await make_loop(world, run, tmp_path).run()
    assert (tmp_path / "rationales" / "iteration_0001.parquet").exists()


async def test_a_failed_group_costs_its_problem_and_most_failing_ends_the_run(tmp_path: Path):
    world = StarWorld(knows={0, 1, 2, 3})
    world.failing = {0, 2, 4}
    result = await make_loop(world, make_run(star__iterations=1), tmp_path).run()
    assert (result.reports[0].failed_groups, result.reports[0].solved) == (3, 5)
    world.failing = set(range(0, 10, 2))
    with pytest.raises(IterationFailed, match=r"5 of 8 groups of iteration 1 failed.*died three times"):
        await make_loop(world, make_run(), tmp_path / "other").run()


async def test_a_problem_without_any_verdict_gets_no_hint(tmp_path: Path):
    world = StarWorld(knows={0})
    world.unscored = {2}
    await make_loop(world, make_run(star__iterations=1), tmp_path).run()
    assert 3 not in world.training_ids()
    assert 5 in world.training_ids()


async def test_an_error_of_the_fleet_during_a_fine_tuning_is_what_is_raised(tmp_path: Path):
    world, training = StarWorld(knows={0}), asyncio.Event()
    generate = world.generate

    async def train(batch: Batch) -> StepReport:
        training.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def fail_in_the_second_iteration(request: GroupRequest) -> Group:
        if request.group_id >= 16:
            await training.wait()
            raise ValueError("no engine is left")
        return await generate(request)

    world.train, world.generate = train, fail_in_the_second_iteration  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="no engine is left"):
            await make_loop(world, make_run(star__overlap=True), tmp_path).run()


async def test_gradients_that_are_never_finite_end_the_run(tmp_path: Path):
    world = StarWorld(knows={0, 1, 2, 3})
    world.skip_steps = True
    with pytest.raises(TuningDiverged, match="5 steps in a row"):
        await make_loop(world, make_run(star__tuning__epochs=4), tmp_path).run()


async def test_every_iteration_has_its_metrics_and_they_are_in_the_table(tmp_path: Path):
    from telemetry.metrics import check_name

    world = StarWorld(knows={0, 1})
    await make_loop(world, make_run(), tmp_path).run()
    assert world.logged("star/iteration") == [1, 2, 3]
    assert world.logged("star/rationalized_share") == [0.5, 0.0, 0.0]
    assert world.logged("star/solved_share") == [0.5, 1.0, 1.0]
    assert world.logged("star/hint_solved_share") == [1.0]
    assert world.logged("reward/correct") == [0.5, 1.0, 1.0], "of samples without hint alone"
    names = {name for _, metrics in world.metrics for name in metrics}
    assert {check_name(name) for name in names if name.startswith(("star/", "sft/", "eval/"))}


async def test_the_summary_has_every_iteration(tmp_path: Path):
    result = await make_loop(StarWorld(knows={0, 1}), make_run(), tmp_path).run()
    summary = build_star_summary(result, wall_s=10.0, cold_start_s=4.0)
    assert (summary["accuracy_before"], summary["accuracy_after"]) == (0.5, 1.0)
    assert summary["accuracy_by_iteration"] == [1.0, 1.0, 1.0]
    assert summary["rationalized_share_by_iteration"] == [0.5, 0.0, 0.0]
    assert summary["samples"] == 3 * 8 * 4 + 4 * 2
    low, high = summary["accuracy_after_interval"]
    assert low < 1.0 == high
    assert (summary["wall_s"], summary["cold_start_s"], summary["iterations"]) == (10.0, 4.0, 3)
