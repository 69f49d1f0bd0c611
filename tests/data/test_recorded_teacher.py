"""Recorded answers stand where prompts and a fleet stand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.distill import RecordedTeacher
from data.errors import DataError
from data.recorded_teacher import RecordedAnswers
from data.records import GroupRequest, Sampling
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
ROWS = [
    {"prompt": "1+1:", "response": "2", "answer": "2"},
    {"prompt": "2+2:", "response": "4", "answer": "4"},
    {"prompt": "1+1:", "response": "3" * 20, "answer": "2"},
]


def recorded(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> RecordedAnswers:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RecordedTeacher(path=str(file), **{"template": "raw", "reference_columns": ("answer",), **settings})
    return RecordedAnswers(config, build_tokenizer("characters"), max_tokens=16)


async def test_rows_of_a_prompt_are_the_group_of_one_problem(tmp_path: Path):
    answers = recorded(tmp_path, ROWS)
    assert (answers.problems, answers.most_answers) == (2, 2)
    prompt = answers.take()
    assert (prompt.text, dict(prompt.reference)) == ("1+1:", {"answer": "2"})
    group = await answers.generate(GroupRequest(5, prompt, 1, Sampling(1.0, 8), 0))
    assert [c.text for c in group.completions] == ["2", "3" * 20]
    assert [c.finish_reason for c in group.completions] == ["stop", "length"], "one is longer than the context"
    assert bool(np.isnan(group.completions[0].logprobs).all())
    assert [answers.take().text for _ in range(2)] == ["2+2:", "1+1:"]


def test_the_reference_of_a_rejection_run_is_unpacked(tmp_path: Path):
    rows = [{"prompt": "1+1:", "response": "2", "reference": '{"answer": "2"}'}]
    answers = recorded(tmp_path, rows, reference_columns=(), reference_json="reference")
    assert dict(answers.take().reference) == {"answer": "2"}
    with pytest.raises(DataError, match="not a JSON object"):
        recorded(tmp_path, rows, reference_columns=(), reference_json="response")
