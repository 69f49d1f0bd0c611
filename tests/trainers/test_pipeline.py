"""Stages in order, none twice, and nothing on top of what has changed."""

import json
from pathlib import Path

import pytest

from tests.trainers.pipeline_fakes import FakeRunner, Killed, chain, loop_of, manifest_of
from trainers.pipeline import PipelineLoop, PlannedStage, Selection, StageChanged, StageIncomplete
from trainers.ports import StageOutcome
from trainers.stage_manifest import MANIFEST, StageManifest, hash_files

pytestmark = pytest.mark.unit

ALL = Selection()
WHOLE = [f"{name} {what}" for name in "abc" for what in ("claimed", 1, 2, 3)]


def work(log: list[str]) -> list[str]:
    """Units of work, without claims."""
    return [entry for entry in log if entry[-1].isdigit()]


def test_stages_run_in_order_and_each_gets_what_the_one_before_left(tmp_path: Path):
    loop, runner = loop_of(tmp_path)
    result = loop.run(ALL)
    assert runner.log == WHOLE
    assert result.status == "finished"
    assert [stage.ran for stage in result.stages] == [True] * 3
    stages = list(runner.stages.values())
    assert manifest_of(stages[1]).inputs["policy.path"] == manifest_of(stages[0]).outputs["policy"]


def test_a_pipeline_that_is_done_does_no_work_and_still_shows_its_figures(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    loop, runner = loop_of(tmp_path)
    result = loop.run(ALL)
    assert runner.log == []
    assert [stage.figures["accuracy_after"] for stage in result.stages] == [0.1] * 3
    assert [stage.ran for stage in result.stages] == [False] * 3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[PlannedStage]:
    folder = tmp_path_factory.mktemp("whole")
    stages = chain(folder)
    loop_of(folder, stages)[0].run(ALL)
    return stages


@pytest.mark.parametrize("unit", [f"{name} {unit}" for name in "abc" for unit in (1, 3)])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_an_end_at_any_moment_costs_no_work_twice_and_changes_no_result(
    tmp_path: Path, undisturbed: list[PlannedStage], unit: str, end: str
):
    loop, runner = loop_of(tmp_path / "cut")
    runner.end_at, runner.end = unit, runner.kill if end == "kill" else runner.stop
    if end == "kill":
        with pytest.raises(Killed):
            loop.run(ALL)
    else:
        assert loop.run(ALL).status == "stopped"
    again, second = loop_of(tmp_path / "cut")
    assert again.run(ALL).status == "finished"
    assert work(runner.log) + work(second.log) == work(WHOLE)
    for one, other in zip(undisturbed, second.stages.values(), strict=True):
        assert hash_files(one.outputs["policy"]) == hash_files(other.outputs["policy"])


def test_a_stage_without_checkpoints_begins_again(tmp_path: Path):
    stages = chain(tmp_path)
    runner = FakeRunner(stages, checkpoints=False)
    runner.end_at, runner.end = "b 3", runner.kill
    with pytest.raises(Killed):
        PipelineLoop(tmp_path, stages, runner).run(ALL)
    runner.log.clear()
    PipelineLoop(tmp_path, stages, runner).run(ALL)
    assert runner.log[:2] == ["b claimed", "b 1"]


def test_a_stage_that_was_killed_begins_again_when_its_config_has_changed(tmp_path: Path):
    loop, runner = loop_of(tmp_path, chain(tmp_path, steps=1))
    runner.end_at, runner.end = "a 3", runner.kill
    with pytest.raises(Killed):
        loop.run(ALL)
    again, second = loop_of(tmp_path, chain(tmp_path, steps=2))
    again.run(ALL)
    assert second.log[:2] == ["a claimed", "a 1"]


def test_time_of_an_attempt_that_was_stopped_counts(tmp_path: Path):
    stages = chain(tmp_path)
    loop, runner = loop_of(tmp_path, stages)
    runner.end_at = "a 2"
    loop.run(ALL)
    stopped = manifest_of(stages[0])
    assert stopped.status == "started"
    StageManifest("started", stopped.config, stopped.config_sha256, stopped.inputs, wall_s=100.0).save(stages[0].folder)
    loop_of(tmp_path, stages)[0].run(ALL)
    assert manifest_of(stages[0]).wall_s > 100.0


# ---- what has changed ----


def test_a_changed_data_file_of_a_done_stage_is_named_and_nothing_runs(tmp_path: Path):
    loop, runner = loop_of(tmp_path)
    runner.end_at = "c 1"
    loop.run(ALL)
    (tmp_path / "data").write_text("other rows")
    again, second = loop_of(tmp_path)
    with pytest.raises(StageChanged, match=r"the stage a is done[^$]*data: data has other contents[^$]*--from a"):
        again.run(ALL)
    assert second.log == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda file: file.write_text("edited"), "policy has other contents", id="edited"),
        pytest.param(lambda file: file.unlink(), "policy is gone", id="gone"),
    ],
)
def test_a_changed_output_is_an_error_of_the_stage_that_left_it(tmp_path: Path, change, said: str):  # pyright: ignore
    loop, runner = loop_of(tmp_path)
    runner.end_at = "b 1"
    loop.run(ALL)
    change(tmp_path / "a" / "policy")
    with pytest.raises(StageChanged, match=rf"the stage a is done[^$]*output policy[^$]*{said}"):
        loop_of(tmp_path)[0].check(ALL)


def test_a_changed_config_names_the_key_and_both_values(tmp_path: Path):
    loop_of(tmp_path, chain(tmp_path, steps=100, optimizer={"betas": [0.9, 0.999]}))[0].run(ALL)
    changed = chain(tmp_path, steps=60, optimizer={"betas": [0.9, 0.95]})
    with pytest.raises(StageChanged) as raised:
        loop_of(tmp_path, changed)[0].check(ALL)
    assert "config: steps = 60, was 100" in str(raised.value)
    assert "config: optimizer.betas.1 = 0.95, was 0.999" in str(raised.value)


def test_a_new_file_in_an_input_folder_is_a_change(tmp_path: Path):
    home = tmp_path / "a"
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("w")
    stage = PlannedStage("a", "sft", home, {}, {"policy.path": model}, {})
    StageManifest("done", {}, "", {"policy.path": hash_files(model)}).save(_made(home))
    (model / "adapter").write_text("x")
    with pytest.raises(StageChanged, match="adapter is new"):
        PipelineLoop(tmp_path, [stage], FakeRunner([stage])).check(ALL)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# ---- which stages ----


def test_from_runs_a_stage_and_all_after_it_again(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    loop, runner = loop_of(tmp_path)
    assert loop.run(Selection(start="b")).status == "finished"
    assert runner.log == WHOLE[4:]


def test_from_takes_a_changed_config_of_what_it_runs_again(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    stages = chain(tmp_path)
    stages[1:] = chain(tmp_path, steps=5)[1:]
    loop, runner = loop_of(tmp_path, stages)
    loop.run(Selection(start="b"))
    assert runner.log == WHOLE[4:]


def test_resume_after_an_interrupted_from_runs_the_rest_again_too(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    loop, runner = loop_of(tmp_path)
    runner.end_at, runner.end = "b 2", runner.kill
    with pytest.raises(Killed):
        loop.run(Selection(start="b"))
    again, second = loop_of(tmp_path)
    again.run(ALL)
    assert work(second.log) == ["b 2", "b 3", "c 1", "c 2", "c 3"]


def test_from_needs_the_stages_before_it(tmp_path: Path):
    with pytest.raises(ValueError, match="--from b: the stage a, which comes first, is not done"):
        loop_of(tmp_path)[0].check(Selection(start="b"))


def test_only_runs_one_stage_again_and_leaves_the_others_alone(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    loop, runner = loop_of(tmp_path)
    result = loop.run(Selection(only="b"))
    assert runner.log == WHOLE[4:8]
    assert [(stage.name, stage.ran) for stage in result.stages] == [("a", False), ("b", True), ("c", False)]


def test_after_only_with_another_result_the_next_stage_is_found_to_be_out_of_date(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    stages = chain(tmp_path)
    stages[1] = chain(tmp_path, steps=5)[1]
    loop_of(tmp_path, stages)[0].run(Selection(only="b"))
    with pytest.raises(StageChanged, match=r"the stage c is done[^$]*--from c"):
        loop_of(tmp_path, stages)[0].check(ALL)


def test_only_needs_the_stages_that_it_takes_something_from(tmp_path: Path):
    with pytest.raises(ValueError, match="--only c: the stage b"):
        loop_of(tmp_path)[0].check(Selection(only="c"))
    loop, runner = loop_of(tmp_path)
    assert loop.run(Selection(only="a")).status == "partial"
    assert runner.log == WHOLE[:4]


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no stage d; the stages are a, b, c"):
        loop_of(tmp_path)[0].check(Selection(start="d"))


# ---- the books ----


def test_a_stage_that_leaves_less_than_it_should_is_not_done(tmp_path: Path):
    stages = chain(tmp_path, "a")

    class Lazy(FakeRunner):
        def run(self, name: str) -> StageOutcome:
            return StageOutcome("finished", {})

    with pytest.raises(StageIncomplete, match="the stage a ended without"):
        PipelineLoop(tmp_path, stages, Lazy(stages)).run(ALL)
    assert manifest_of(stages[0]).status == "started"


def test_the_summary_has_a_row_for_every_stage_that_is_done(tmp_path: Path):
    loop, runner = loop_of(tmp_path)
    runner.end_at = "c 2"
    loop.run(ALL)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["stages_done"], summary["stages"]) == ("stopped", 2, 3)
    assert [(row["stage"], row["accuracy_after"]) for row in summary["by_stage"]] == [("a", 0.1), ("b", 0.1)]


def test_a_broken_manifest_is_named_with_a_remedy(tmp_path: Path):
    loop_of(tmp_path)[0].run(ALL)
    (tmp_path / "b" / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=r"stage.json cannot be read.*--from b"):
        loop_of(tmp_path)[0].check(ALL)


def test_every_done_stage_is_told_once_with_whether_it_ran(tmp_path: Path):
    stages = chain(tmp_path)
    told: list[tuple[str, bool]] = []
    runner = FakeRunner(stages)
    runner.end_at = "b 1"
    PipelineLoop(tmp_path, stages, runner).run(ALL)
    loop = PipelineLoop(tmp_path, stages, runner, on_done=lambda stage, manifest, ran: told.append((stage.name, ran)))
    loop.run(ALL)
    assert told == [("a", False), ("b", True), ("c", True)]
