"""Examples of score models: token ids as sampled, labels where they belong, and a split that goes by problem."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.reward_model import LabelledRows, PairRows, RolloutExamples, StepLabelExamples, StepRows
from data.errors import DataError
from data.rationales import Rationale, write_rationales
from data.scored_examples import PreferencePair, ScoredSolution, is_held_out, read_examples
from data.step_labels import LabelledSolution, Lineage, write_lineage, write_solutions
from data.store import RolloutStore
from data.vocabulary import build_tokenizer
from tests.trainers.builders import scored_group

pytestmark = pytest.mark.unit
TOKENIZER = build_tokenizer("characters")


def rows_file(folder: Path, rows: list[dict[str, Any]]) -> str:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def read(config: Any, *, max_tokens: int = 64, share: float = 0.5) -> list[Any]:
    """Both sides, training first."""
    examples = read_examples(config, TOKENIZER, max_tokens=max_tokens, held_out_share=share)
    assert not {e.problem for e in examples.train} & {e.problem for e in examples.held_out}
    return [*examples.train, *examples.held_out]


def test_the_split_hangs_on_the_problem_alone_and_keeps_its_share():
    sides = [is_held_out(f"problem {i}", 0.2) for i in range(2000)]
    assert 0.17 < np.mean(sides) < 0.23
    assert sides[:50] == [is_held_out(f"problem {i}", 0.2) for i in range(50)]
    assert all(is_held_out(f"problem {i}", 0.5) for i, side in enumerate(sides) if side)


def test_rollouts_are_labelled_by_their_verdicts_and_repeats_count_once(tmp_path: Path):
    groups = [scored_group(i, [1.0, 0.0, None], tokens=[[9, 10, 11], [9, 10, 12], [9, 10, 13]]) for i in range(12)]
    RolloutStore(tmp_path / "rollouts").write(1, groups)
    RolloutStore(tmp_path / "rollouts").write(2, groups)
    found = read(RolloutExamples(path=str(tmp_path)))
    assert len(found) == 24, "twelve problems, a right and a wrong one each; no verdict is no label"
    for example in found:
        assert isinstance(example, ScoredSolution)
        assert example.prompt_ids.tolist() == [7, 8]
        assert example.positions.tolist() == [2]
        right = example.response_ids.tolist() == [9, 10, 11]
        assert (example.labels.tolist(), example.right) == ([float(right)], right)


def test_of_star_the_rationales_without_a_hint_are_read(tmp_path: Path):
    groups = [scored_group(i, [1.0, 0.0]) for i in range(12)]
    rationales = [
        Rationale(g.group.prompt, g.group.completions[i], g.verdicts[i], i == 1 and n % 2 == 0, n, i, "wrong")
        for n, g in enumerate(groups)
        for i in range(2)
    ]
    write_rationales(tmp_path / "rationales", 1, rationales)
    found = read(RolloutExamples(path=str(tmp_path)))
    assert len(found) == 18
    assert sum(not e.right for e in found) == 6


def test_steps_of_rows_end_where_their_tokens_do_and_the_last_has_eos(tmp_path: Path):
    rows = [{"id": i, "prompt": "1+1:", "steps": ["1+1=2;", "2"], "labels": [True, None]} for i in range(8)]
    rows += [{"id": 100 + i, "prompt": "1+1:", "steps": ["1+1=", "3"], "labels": [1, 0.25]} for i in range(8)]
    found = read(StepRows(path=rows_file(tmp_path, rows), template="raw", separators=(";",)))
    short, full = next(e for e in found if int(e.problem) < 100), next(e for e in found if int(e.problem) >= 100)
    assert (short.positions.tolist(), short.labels.tolist(), short.right) == ([5], [1.0], None)
    assert (full.positions.tolist(), full.labels.tolist(), full.right) == ([3, 5], [1.0, 0.25], False)
    assert full.response_ids[-1] == TOKENIZER.eos_token_id


@pytest.mark.parametrize(("labels", "expected"), [("hard", [1.0, 0.0]), ("soft", [0.25, 0.0])])
def test_step_labels_are_hard_or_soft_and_steps_without_one_are_not_scored(
    tmp_path: Path, labels: Any, expected: list[float]
):
    ids = np.arange(9, dtype=np.int32)
    ends = np.array([2, 5, 8], dtype=np.int32)
    solutions = [
        LabelledSolution(f"p{i}", "1:", "x", ids[:2], ids, ends, (1, 0, 0), (4, 0, 1), False, "row 0")
        for i in range(12)
    ]
    write_lineage(tmp_path / "step_labels", Lineage("rows", "policy", 4, 1.0, 64, (";",), 0))
    write_solutions(tmp_path / "step_labels", 0, solutions)
    config = StepLabelExamples(path=str(tmp_path), labels=labels)
    found = read(config)
    assert all(e.positions.tolist() == [2, 8] and e.labels.tolist() == expected for e in found)
    assert read_examples(config, TOKENIZER, max_tokens=64, held_out_share=0.5).separators == (";",)


def test_pairs_and_labelled_rows_are_encoded_once_with_eos(tmp_path: Path):
    rows = [{"prompt": f"{i}+1:", "chosen": "2", "rejected": "33", "response": "4", "label": i % 2} for i in range(16)]
    path = rows_file(tmp_path, rows)
    pair = read(PairRows(path=path, template="raw"))[0]
    assert isinstance(pair, PreferencePair)
    assert (len(pair.chosen_ids), len(pair.rejected_ids)) == (2, 3)
    solutions = read(LabelledRows(path=path, template="raw"))
    assert {e.labels.tolist()[0] for e in solutions} == {0.0, 1.0}
    assert all(e.positions.tolist() == [1] for e in solutions)


@pytest.mark.parametrize(
    ("config", "row", "said"),
    [
        (PairRows, {"chosen": "2", "rejected": "2"}, "are the same"),
        (PairRows, {"chosen": "2", "rejected": ""}, "must be text"),
        (LabelledRows, {"response": "2", "label": 1.5}, r"a number in \[0, 1\]"),
        (LabelledRows, {"response": "2", "label": "yes"}, "a label is true, false"),
        (StepRows, {"steps": ["2"], "labels": [1, 0]}, "same length"),
        (LabelledRows, {"response": "2" * 99, "label": 1}, "more than policy.max_model_len = 64"),
        (LabelledRows, {"response": "2", "label": 1}, "no held-out example|no training example"),
    ],
)
def test_a_bad_row_is_named_with_its_remedy(tmp_path: Path, config: Any, row: dict[str, Any], said: str):
    with pytest.raises(DataError, match=said):
        read(config(path=rows_file(tmp_path, [{"prompt": "1+1:", **row}]), template="raw"))
