"""Monte-Carlo labels with a perfect solver as the fleet: the first wrong step is found wherever it is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from algorithms.step_labels import StepLabel, first_wrong_step
from configs.run import StepLabelsRun
from data.solutions import Solution, choose_solutions, read_solutions
from data.step_labels import Lineage, read_step_labels, write_lineage, write_solutions
from tests.trainers.columns import TOKENIZER, PerfectSolver
from trainers.step_labels import LabellingFailed, StepLabeller, label_solutions

pytestmark = pytest.mark.unit
FILE = Path(__file__).parent / "wrong_steps.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text().splitlines()]


def make_run(**labelling: Any) -> StepLabelsRun:
    raw = {
        "method": "step_labels",
        "name": "test",
        "policy": {"type": "folder", "path": "unused", "max_model_len": 128},
        "step_labels": {
            "solutions": {"type": "rows", "path": str(FILE), "template": "raw"},
            "separators": [";", "</think>"],
            "solutions_per_file": 32,
            **labelling,
        },
        "rollout": {"group_size": 4, "max_completion_tokens": 64},
        "rewards": {"parts": [{"type": "exact_number"}]},
    }
    return TypeAdapter(StepLabelsRun).validate_python(raw)


def solutions_of(run: StepLabelsRun) -> list[Solution]:
    return read_solutions(run.step_labels, TOKENIZER, seed=0, max_prompt_tokens=64, max_completion_tokens=64)


class Notes:
    def __init__(self) -> None:
        self.metrics: list[Mapping[str, float]] = []

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics.append(metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        pass


async def test_the_first_wrong_step_of_every_solution_is_found(tmp_path: Path):
    run, solver, notes = make_run(), PerfectSolver(), Notes()
    write_lineage(tmp_path, Lineage("rows", "solver", 4, 1.0, 64, run.step_labels.separators, 0))
    labeller = StepLabeller(run, solver, solver, TOKENIZER)
    report = await label_solutions(
        run, solutions_of(run), labeller, notes, lambda number, part: write_solutions(tmp_path, number, part)
    )
    assert report.solutions == len(ROWS) == 60
    lineage, labelled = read_step_labels(tmp_path)
    assert lineage.separators == (";", "</think>")
    truth = {row["prompt"]: row["wrong_step"] for row in ROWS}
    for solution in labelled:
        hard = [StepLabel(r, n).hard for r, n in zip(solution.right, solution.completions, strict=True)]
        assert first_wrong_step(hard) == truth[solution.problem], solution.response
        assert solution.completions == (4, 4, 4, 1)
        assert solution.correct is (truth[solution.problem] is None)
    assert report.figures["doubted_right_share"] == 0.0
    assert report.figures["repaired_wrong_share"] == pytest.approx(sum(r["slip"] == "answer" for r in ROWS) / 50)
    assert len(notes.metrics) == 2, "a file of 32 and one of 28"


async def test_a_prefix_is_sent_as_its_token_ids_and_judged_with_what_follows():
    run, solver = make_run(), PerfectSolver()
    solution = next(s for s in solutions_of(run) if s.origin == "row 59")
    await StepLabeller(run, solver, solver, TOKENIZER).label([solution], first_id=100)
    request = next(r for r in solver.requests if r.group_id == 101)
    prefix = solution.response_ids[: solution.step_ends[1] + 1]
    np.testing.assert_array_equal(request.prompt.token_ids, np.concatenate([solution.prompt.token_ids, prefix]))
    assert request.sampling.max_completion_tokens == 64 - len(prefix)
    assert len({r.seed for r in solver.requests}) == 3


async def test_what_fails_has_no_label_and_too_many_failures_end_the_run():
    run, solver = make_run(), PerfectSolver()
    solver.failing, solver.unjudged = {1}, {2}
    (labelled,) = await StepLabeller(run, solver, solver, TOKENIZER).label(solutions_of(run)[:1], first_id=0)
    assert labelled.completions == (4, 0, 0, 1)
    solver.failing = {0, 1, 2}
    with pytest.raises(LabellingFailed, match="the worker died"):
        await StepLabeller(run, solver, solver, TOKENIZER).label(solutions_of(run)[:1], first_id=0)


async def test_a_stop_is_obeyed_between_files():
    run, solver = make_run(), PerfectSolver()
    written: list[int] = []
    report = await label_solutions(
        run,
        solutions_of(run),
        StepLabeller(run, solver, solver, TOKENIZER),
        Notes(),
        lambda number, part: written.append(len(part)),
        stop_requested=lambda: bool(written),
    )
    assert (report.stopped, report.solutions, written) == (True, 32, [32])


def test_wrong_solutions_are_the_share_that_is_asked_for():
    solutions = solutions_of(make_run())
    marked = [
        Solution(s.prompt, s.response_ids, s.text, s.step_ends, correct=i < 40, origin=s.origin)
        for i, s in enumerate(solutions)
    ]
    chosen = choose_solutions(marked, None, 0.5, seed=0)
    assert (len(chosen), sum(not s.correct for s in chosen)) == (40, 20)
    assert sum(not s.correct for s in choose_solutions(marked, 10, 0.2, seed=0)) == 2
    assert len(choose_solutions(marked, None, 0.0, seed=0)) == 40
    assert [s.origin for s in choose_solutions(marked, 9, None, seed=1)] != [s.origin for s in marked[:9]]
