import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from cli.score import score, score_file

pytestmark = pytest.mark.unit


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scores(tmp_path: Path, reward: str, rows: list[dict[str, Any]]) -> list[float | None]:
    score_file(write_jsonl(tmp_path / "in.jsonl", rows), reward, tmp_path / "out.jsonl")
    return [row["score"] for row in read_jsonl(tmp_path / "out.jsonl")]


def test_countdown_takes_the_numbers_in_any_order_unless_a_row_asks(tmp_path: Path):
    row = {"id": "a", "response": "<answer>2*(8-1)</answer>", "numbers": [8, 2, 1], "target": 14}
    assert scores(tmp_path, "countdown", [row, {**row, "order": "given"}, {**row, "target": 15}]) == [1, 0, 0]


def test_format_takes_a_prefix_from_the_row(tmp_path: Path):
    row = {"id": 1, "response": "a</think><answer>b</answer>"}
    assert scores(tmp_path, "format", [row, {**row, "prefix": "<think>"}, {**row, "prefix": None}]) == [0, 1, 0]


def test_number_is_exact(tmp_path: Path):
    rows = [{"id": i, "response": f"<answer>{i}</answer>", "answer": 7} for i in (6, 7)]
    assert scores(tmp_path, "number", rows) == [0, 1]


def test_math_rows_keep_their_order_and_ids(tmp_path: Path):
    answers = ["$\\frac{1}{2}$", "\\boxed{2}", "x^2-1", "5"]
    responses = ["\\boxed{0.5}", "The answer is 3.", "\\boxed{(x-1)(x+1)}", "\\boxed{2+3}"]
    rows = [
        {"id": f"r{i}", "response": r, "answer": a} for i, (r, a) in enumerate(zip(responses, answers, strict=True))
    ]
    summary = score_file(write_jsonl(tmp_path / "in.jsonl", rows), "math", tmp_path / "out.jsonl")
    out = read_jsonl(tmp_path / "out.jsonl")
    assert [(row["id"], row["score"], row["outcome"]) for row in out] == [
        ("r0", 1.0, "ok"),
        ("r1", 0.0, "ok"),
        ("r2", 1.0, "ok"),
        ("r3", 1.0, "ok"),
    ]
    assert (summary.rows, summary.mean_score, summary.outcomes["ok"]) == (4, 0.75, 4)


def test_a_bad_row_is_reported_in_its_place_and_not_fatal(tmp_path: Path):
    good = {"id": "good", "response": "<answer>7</answer>", "answer": "7"}
    lines: list[bytes] = [
        json.dumps(good).encode(),
        b"{not json",
        b"null",
        b"[1]",
        b'{"id": "x", "answer": "7"}',
        b'{"id": "y", "response": 3, "answer": "7"}',
        b'{"id": "z", "response": "", "answer": "seven"}',
        b'{"response": "", "answer": "7"}',
        b"\xff\xfe",
        b"",
        b"[" * 100_000,
        json.dumps(good).encode(),
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    summary = score_file(tmp_path / "in.jsonl", "number", tmp_path / "out.jsonl")
    out = read_jsonl(tmp_path / "out.jsonl")
    assert [row["id"] for row in out] == ["good", None, None, None, "x", "y", "z", None, None, None, "good"]
    assert [row["outcome"] for row in out] == ["ok", *["verifier_error"] * 9, "ok"]
    assert all(row["score"] is None and row["detail"] for row in out[1:-1])
    assert "line 2" in out[1]["detail"]
    assert "'response' is missing" in out[4]["detail"]
    assert (summary.mean_score, summary.outcomes["verifier_error"]) == (1.0, 9)


def test_parquet_in_and_out(tmp_path: Path):
    table = pa.table(
        {
            "id": [3, 4],
            "response": ["<answer>8-1</answer>", "<answer>8+1</answer>"],
            "numbers": [[8, 1], [8, 1]],
            "target": [7, 7],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    score_file(tmp_path / "in.parquet", "countdown", tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["id"], row["score"], row["outcome"]) for row in out] == [(3, 1.0, "ok"), (4, 0.0, "ok")]


def test_ids_of_any_type_become_text_in_parquet(tmp_path: Path):
    rows = [{"id": i, "response": ""} for i in ("a", 1, [2])]
    score_file(write_jsonl(tmp_path / "in.jsonl", rows), "format", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["a", "1", "[2]"]


def test_more_rows_than_are_held_at_once(tmp_path: Path):
    rows = [{"id": i, "response": f"<answer>{i % 2}</answer>", "answer": 1} for i in range(1000)]
    for name in ("out.jsonl", "out.parquet"):
        summary = score_file(write_jsonl(tmp_path / "in.jsonl", rows), "number", tmp_path / name)
        assert (summary.rows, summary.mean_score) == (1000, 0.5)
    assert [row["id"] for row in read_jsonl(tmp_path / "out.jsonl")] == list(range(1000))
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 1000


@pytest.mark.parametrize(
    ("input", "reward", "out", "message"),
    [
        ("absent.jsonl", "math", "out.jsonl", "no such file"),
        (
            "in.jsonl",
            "maths",
            "out.jsonl",
            "unknown reward 'maths'; choose one of math, code, format, language, countdown",
        ),
        ("empty.jsonl", "format", "out.jsonl", "has no rows"),
        ("empty.parquet", "format", "out.jsonl", "not a Parquet file"),
        ("in.csv", "format", "out.jsonl", "must end in .jsonl or .parquet"),
        ("in.jsonl", "format", "out.txt", "must end in .jsonl or .parquet"),
        ("in.jsonl", "format", "in.jsonl", "is the input"),
        ("in.jsonl", "format", "nowhere/out.jsonl", "no such folder"),
    ],
)
def test_a_mistake_in_the_call_exits_with_2_and_writes_nothing(
    tmp_path: Path, input: str, reward: str, out: str, message: str
):
    write_jsonl(tmp_path / "in.jsonl", [{"id": 1, "response": ""}])
    for name in ("empty.jsonl", "empty.parquet", "in.csv"):
        (tmp_path / name).write_text("\n")
    before = sorted(tmp_path.rglob("*"))
    app = typer.Typer()
    app.command()(score)
    result = CliRunner().invoke(app, [str(tmp_path / input), "--reward", reward, "--out", str(tmp_path / out)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_prints_a_summary(tmp_path: Path):
    write_jsonl(tmp_path / "in.jsonl", [{"id": 1, "response": "<answer>7</answer>", "answer": 7}, {"id": 2}])
    app = typer.Typer()
    app.command()(score)
    arguments = [str(tmp_path / "in.jsonl"), "--reward", "number", "--out", str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("2 rows, mean score 1.0000, 1 ok, 1 verifier_error, ")
