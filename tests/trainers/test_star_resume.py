"""A STaR run that is stopped at any moment goes on after its last finished iteration, and samples no finished one
again."""

import asyncio
from pathlib import Path

import pytest

from tests.trainers.star_fakes import StarWorld, make_loop, make_run
from trainers import checkpoints
from trainers.checkpoints import best_complete, newest_complete
from trainers.star import StarLoop

pytestmark = pytest.mark.unit


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def resumed(world: StarWorld, folder: Path, **changes: object) -> StarLoop:
    loop = make_loop(world, make_run(**changes), folder)
    checkpoint = newest_complete(folder / "checkpoints", check_hashes=True)
    assert checkpoint is not None
    await loop.resume(checkpoint)
    return loop


@pytest.mark.parametrize("overlap", [False, True])
async def test_a_run_stopped_in_a_fine_tuning_ends_as_if_it_had_not_been(tmp_path: Path, overlap: bool):
    whole = await make_loop(StarWorld({0}), make_run(star__overlap=overlap), tmp_path / "whole").run()
    world = StarWorld({0})
    loop = make_loop(world, make_run(star__overlap=overlap), tmp_path / "parts")
    running = asyncio.create_task(loop.run())
    await until(lambda: loop.iteration == 1)
    world.train_gate = asyncio.Event()
    await asyncio.sleep(0.02)
    loop.request_stop()
    world.train_gate.set()
    stopped = await running
    assert (stopped.status, stopped.ended_by, len(stopped.reports)) == ("stopped", "stop", 1)

    again = StarWorld()
    result = await (await resumed(again, tmp_path / "parts", star__overlap=overlap)).run()
    assert min(again.training_ids()) == 16, "the first iteration was sampled again"
    assert [report.iteration for report in result.reports] == [1, 2, 3]
    assert [report.version for report in result.reports] == [report.version for report in whole.reports]
    for name in ("problems", "solved", "trained"):
        if not overlap:  # with it, which weights sample the second iteration is a matter of time
            values = [[getattr(report, name) for report in end.reports] for end in (result, whole)]
            assert values[0] == values[1]
    accuracies = [[e["eval/accuracy"] for e in end.evaluations] for end in (result, whole)]
    assert accuracies[0] == accuracies[1]


async def test_a_stop_while_sampling_gives_the_groups_up_and_keeps_the_cold_start(tmp_path: Path):
    world = StarWorld({0})
    world.sample_gate = asyncio.Event()
    loop = make_loop(world, make_run(), tmp_path)
    running = asyncio.create_task(loop.run())
    await until(lambda: len(world.training_ids()) == 8)
    loop.request_stop()
    result = await running
    assert result.status == "stopped"
    assert sorted(world.cancelled) == list(range(0, 16, 2))
    assert not (tmp_path / "rationales").exists()

    again = StarWorld()
    result = await (await resumed(again, tmp_path)).run()
    assert again.begun[0] == (None, 0)
    assert len(result.reports) == 3
    assert [evaluation["iteration"] for evaluation in result.evaluations] == [0, 1, 2, 3]
    assert result.evaluations[0]["eval/accuracy"] == 0.25, "the weights of the cold start"


async def test_a_stop_before_the_first_iteration_still_saves(tmp_path: Path):
    loop = make_loop(StarWorld({0}), make_run(), tmp_path)
    loop.request_stop()
    assert (await loop.run()).status == "stopped"
    result = await (await resumed(StarWorld(), tmp_path)).run()
    assert [evaluation["iteration"] for evaluation in result.evaluations] == [0, 1, 2, 3]


async def test_a_finished_run_that_is_resumed_does_nothing_more(tmp_path: Path):
    await make_loop(StarWorld({0}), make_run(), tmp_path).run()
    again = StarWorld()
    result = await (await resumed(again, tmp_path)).run()
    assert (result.status, len(result.reports)) == ("finished", 3)
    assert again.requests == []
    more = await (await resumed(again, tmp_path, star__iterations=4)).run()
    assert [report.iteration for report in more.reports] == [1, 2, 3, 4]
    assert min(again.training_ids()) == 48


async def test_without_the_base_weights_a_resume_is_refused(tmp_path: Path):
    await make_loop(StarWorld({0}), make_run(star__iterations=1), tmp_path).run()
    (tmp_path / "base_policy" / "config.json").unlink()
    with pytest.raises(ValueError, match="base_policy holds no model"):
        await resumed(StarWorld(), tmp_path)


async def test_a_crash_right_after_the_best_checkpoint_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changes = {"star__iterations": 1, "star__patience": 1, "checkpoints": {"keep_last": 1}}
    world = StarWorld({0})
    prune = checkpoints._prune  # what follows the checkpoint's name

    def crash_at_the_second(folder: Path, keep_last: int) -> None:
        if world.version:
            raise KeyboardInterrupt
        prune(folder, keep_last)

    monkeypatch.setattr(checkpoints, "_prune", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        await make_loop(world, make_run(**changes), tmp_path).run()
    monkeypatch.undo()
    result = await (await resumed(StarWorld(), tmp_path, **changes)).run()
    assert [e["eval/accuracy"] for e in result.evaluations] == [0.25, 1.0]
    assert result.iteration == 1
    assert best_complete(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "step_000001"


async def test_an_iteration_whose_checkpoint_is_gone_is_never_the_result(tmp_path: Path):
    keep_one = {"checkpoints": {"keep_last": 1}}
    world = StarWorld({0})
    await make_loop(world, make_run(star__iterations=2, star__patience=0, **keep_one), tmp_path).run()
    loop = await resumed(StarWorld(), tmp_path, star__iterations=2, star__patience=1, **keep_one)
    result = await loop.run()
    assert [e["eval/accuracy"] for e in result.evaluations] == [0.25, 1.0, 1.0], "the first of equals was iteration 1"
    assert result.iteration == 2
    assert best_complete(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "step_000002"
