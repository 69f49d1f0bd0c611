"""Rows of every reward as a user writes them, in JSONL."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.score import score_file


def scored(tmp_path: Path, reward: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = [json.dumps({"id": i, **row}) for i, row in enumerate(rows)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    score_file(tmp_path / "in.jsonl", reward, tmp_path / "out.jsonl")
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def scores(tmp_path: Path, reward: str, rows: list[dict[str, Any]]) -> list[float | None]:
    return [row["score"] for row in scored(tmp_path, reward, rows)]


@pytest.mark.unit
def test_language_rows_name_their_language(tmp_path: Path):
    row = {"response": "Wir addieren die beiden Zahlen. But this is the right answer of all."}
    german, english, wrong, missing = scored(
        tmp_path, "language", [{**row, "language": "de"}, {**row, "language": "en"}, {**row, "language": "xx"}, row]
    )
    assert german["score"] + english["score"] == pytest.approx(1.0)
    assert 0.3 < german["score"] < 0.5
    assert (wrong["outcome"], missing["outcome"]) == ("verifier_error", "verifier_error")
    assert "xx" in wrong["detail"]
    assert "'language' is missing" in missing["detail"]


@pytest.mark.unit
def test_repetition_rows_may_say_how_long_the_runs_are(tmp_path: Path):
    row = {"response": "one two three " * 10}
    whole, short, wrong = scores(tmp_path, "repetition", [row, {**row, "ngram_words": 3}, {**row, "ngram_words": 0}])
    assert (whole, short, wrong) == (pytest.approx(3 / 11), pytest.approx(3 / 28), None)


@pytest.mark.unit
def test_cosine_length_rows_tell_tokens_limit_and_correctness(tmp_path: Path):
    row = {"response": "x", "correct": True, "response_tokens": 0, "max_completion_tokens": 100}
    rows = [
        row,
        {**row, "response_tokens": 100},
        {**row, "correct": False},
        {**row, "response_tokens": 101},
        {**row, "finish_reason": "length"},
        {**row, "correct_short": 0.5},
        {**row, "correct": "yes"},
        {**row, "response_tokens": "many"},
        {**row, "finish_reason": "tired"},
    ]
    expected = [1.0, 11 / 12, 0.0, 0.0, 0.0, 0.5, None, None, None]
    assert scores(tmp_path, "cosine_length", rows) == pytest.approx(expected)


@pytest.mark.unit
def test_format_rows_may_ask_for_a_count_of_tags(tmp_path: Path):
    row = {"response": "<think>a</think> b"}
    assert scores(tmp_path, "format", [row, {**row, "variant": "tag_count"}]) == [0.0, 0.5]


def fenced(source: str) -> str:
    return f"So:\n```python\n{source}\n```"


STDIN = {"kind": "stdin", "tests": [{"input": "2\n", "expected": "4\n"}, {"input": "3\n", "expected": "9\n"}]}
SQUARE = "print(int(input()) ** 2)"
FUNCTION: dict[str, Any] = {
    "kind": "function",
    "entry_point": "f",
    "tests": [{"args": [[3, 1], 2], "expected": [1, 3]}],
}
METHOD = {**FUNCTION, "class_name": "Solution"}
ASSERTS = {"kind": "asserts", "entry_point": "f", "tests": ["assert f(1) == 2", "assert f(2) == 3"]}


def returning(value: Any, compare: str, expected: Any) -> dict[str, Any]:
    tests = [{"args": [], "expected": expected}]
    return {
        "kind": "function",
        "entry_point": "f",
        "compare": compare,
        "tests": tests,
        "code": f"def f(): return {value}",
    }


def printing(text: str, compare: str, expected: str) -> dict[str, Any]:
    return {
        "kind": "stdin",
        "compare": compare,
        "tests": [{"input": "", "expected": expected}],
        "code": f"print({text!r})",
    }


CODE: list[tuple[dict[str, Any], float]] = [
    ({**STDIN, "response": fenced(SQUARE)}, 1),
    ({**STDIN, "code": SQUARE}, 1),
    ({**STDIN, "response": fenced("print(4)"), "code": SQUARE}, 0),
    ({**STDIN, "response": "no program"}, 0),
    ({**FUNCTION, "response": fenced("def f(a, n): return sorted(a)")}, 1),
    ({**FUNCTION, "response": fenced("def f(a, n): return a")}, 0),
    ({**METHOD, "response": fenced("class Solution:\n    def f(self, a, n): return sorted(a)")}, 1),
    ({**ASSERTS, "response": fenced("def f(a): return a + 1")}, 1),
    ({**ASSERTS, "response": fenced("def f(a): return 2")}, 0),
    (printing("a  b", "lines", "a  b \n\n"), 1),
    (printing("a b", "lines", "a  b"), 0),
    (printing("a b", "exact", "a  b"), 1),
    (printing("1.0000001 x", "float_tokens", "1 x"), 1),
    (printing("1.00001 x", "float_tokens", "1 x"), 0),
    (returning("1.0000000001", "float", 1.0), 1),
    (returning("1.00000001", "float", 1.0), 0),
    (returning("[[2, 1], [3]]", "unordered_nested", [[3], [1, 2]]), 1),
    (returning("[[2, 1], [3]]", "exact", [[3], [1, 2]]), 0),
    (returning("{'a': [2, 1]}", "unordered_nested", {"a": [1, 2]}), 1),
    (returning("[1, 1, 2]", "unordered_nested", [1, 2, 2]), 0),
    (returning("True", "exact", 1), 0),
    ({**STDIN, "code": "while True: pass", "time_limit_s": 0.2}, 0),
]


@pytest.mark.integration
def test_code_rows_are_judged_by_their_kind_and_comparison(tmp_path: Path):
    rows = [row for row, _ in CODE]
    out = scored(tmp_path, "code", rows)
    wrong = [(row, got) for (row, expected), got in zip(CODE, out, strict=True) if got["score"] != expected]
    assert wrong == []
    assert "0.2 s of processor time" in out[-1]["detail"]


@pytest.mark.integration
def test_code_rows_that_are_wrong_are_told_with_the_field(tmp_path: Path):
    rows: list[tuple[dict[str, Any], str]] = [
        ({**STDIN, "kind": "prose", "code": ""}, "`kind` is 'prose'"),
        ({**STDIN, "compare": "float", "code": ""}, "for kind stdin it must be one of exact, lines, float_tokens"),
        ({**STDIN, "tests": [{"input": ""}], "code": ""}, "`expected`"),
        ({**STDIN, "tests": "x", "code": ""}, "needs a list of tests"),
        ({**FUNCTION, "entry_point": None, "code": ""}, "`entry_point` is None"),
        ({**FUNCTION, "tests": [{"args": 1, "expected": 1}], "code": ""}, "they must be a list"),
        ({**STDIN, "time_limit_s": "long", "code": ""}, "`time_limit_s` is 'long'"),
        ({**STDIN, "time_limit_s": 0, "code": ""}, "time_limit_s is 0"),
        ({**STDIN, "code": 1}, "code is int"),
        (dict(STDIN), "'response' is missing"),
        ({"kind": "stdin", "code": "1"}, "'tests' is missing"),
    ]
    out = scored(tmp_path, "code", [row for row, _ in rows])
    assert [row["outcome"] for row in out] == ["verifier_error"] * len(rows)
    assert [message for row, (_, message) in zip(out, rows, strict=True) if message not in row["detail"]] == []
