"""Rows of token ids, the held-out share and mixtures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.prompts import AdditionTraces, MixtureTraces, RowTraces, WeightedTraces
from data.errors import DataError
from data.mixture import MixtureSource, held_out_pairs, open_traces
from data.traces import TraceSource
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
COUNTDOWN, CHARACTERS = build_tokenizer("countdown"), build_tokenizer("characters")


def token_rows(file: Path, rows: list[tuple[list[int], list[int]]]) -> RowTraces:
    columns = {"prompt": [p for p, _ in rows], "response": [r for _, r in rows]}
    if file.suffix == ".parquet":
        pq.write_table(pa.table(columns), file)
    else:
        file.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in rows))
    return RowTraces(path=str(file), template="raw")


def texts(file: Path, count: int, start: int = 0) -> RowTraces:
    rows = [{"prompt": f"{i}:", "response": str(i)} for i in range(start, start + count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowTraces(path=str(file), template="raw")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_token_ids_come_back_as_they_were_and_are_not_encoded_again(tmp_path: Path, suffix: str):
    ids = COUNTDOWN("0", add_special_tokens=False)["input_ids"] + COUNTDOWN("4", add_special_tokens=False)["input_ids"]
    again = COUNTDOWN(COUNTDOWN.decode(ids), add_special_tokens=False)["input_ids"]
    one, four = (
        COUNTDOWN("1", add_special_tokens=False)["input_ids"],
        COUNTDOWN("4", add_special_tokens=False)["input_ids"],
    )
    apart = [*one, *four]
    assert COUNTDOWN("14", add_special_tokens=False)["input_ids"] != apart, "this vocabulary would hide a mistake"
    assert again == ids
    source = TraceSource(token_rows(tmp_path / f"r.{suffix}", [([2, 9], [*apart, 1])]), COUNTDOWN, 0, max_tokens=9)
    prompt, response = source.take()
    assert (prompt.tolist(), response.tolist()) == ([2, 9], [*apart, 1])
    assert prompt.dtype == response.dtype == np.int32


@pytest.mark.parametrize("bad", [[5, 128], [-1], []])
def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path, bad: list[int]):
    config = token_rows(tmp_path / "r.parquet", [([2], [3]), ([2], bad)])
    with pytest.raises(DataError, match=r"row 1: column 'response' holds .*below the 128 tokens"):
        TraceSource(config, COUNTDOWN, 0, max_tokens=9)


def test_long_token_rows_are_refused(tmp_path: Path):
    config = token_rows(tmp_path / "r.parquet", [([2] * 6, [3] * 4)])
    with pytest.raises(DataError, match="have 10 tokens, more than the context of 9"):
        TraceSource(config, COUNTDOWN, 0, max_tokens=9)


def test_the_held_out_share_takes_whole_prompts_and_is_never_trained_on(tmp_path: Path):
    rows = [([2, 7 + number], [sample + 7]) for number in range(40) for sample in range(3)]
    source = TraceSource(token_rows(tmp_path / "r.parquet", rows), COUNTDOWN, 3, max_tokens=9, held_out_share=0.25)
    held_out = {tuple(p.tolist()) for p, _ in source.held_out(10**6)}
    trained = [tuple(source.take()[0].tolist()) for _ in range(source.rows or 0)]
    assert len(held_out) in range(4, 17)
    assert not held_out & set(trained)
    assert len(source.held_out(10**6)) == 3 * len(held_out)
    assert len(held_out) + len(set(trained)) == 40
    other_seed = TraceSource(token_rows(tmp_path / "r.parquet", rows), COUNTDOWN, 9, max_tokens=9, held_out_share=0.25)
    assert {tuple(p.tolist()) for p, _ in other_seed.held_out(10**6)} == held_out
    with pytest.raises(DataError, match="both need one"):
        TraceSource(token_rows(tmp_path / "s.parquet", rows[:1]), COUNTDOWN, 0, max_tokens=9, held_out_share=0.5)


def mixture(tmp_path: Path, seed: int = 0) -> MixtureSource:
    parts = (
        WeightedTraces(weight=600, traces=texts(tmp_path / "reasoning.jsonl", 6)),
        WeightedTraces(weight=200, traces=texts(tmp_path / "knowledge.jsonl", 2, start=100)),
    )
    source = open_traces(MixtureTraces(sources=parts), CHARACTERS, seed, max_tokens=32)
    assert isinstance(source, MixtureSource)
    return source


def taken(source: Any, count: int) -> list[int]:
    return [int(str(CHARACTERS.decode(source.take()[1][:-1]))) for _ in range(count)]


def test_a_mixture_holds_its_shares_at_every_moment_and_passes_once_over_proportional_rows(tmp_path: Path):
    source = mixture(tmp_path)
    numbers = taken(source, 8)
    assert source.rows == 8
    assert sorted(numbers) == [0, 1, 2, 3, 4, 5, 100, 101]
    for end in range(1, 9):
        knowledge = sum(number >= 100 for number in numbers[:end])
        assert abs(knowledge - end / 4) <= 1


def test_a_mixture_is_deterministic_and_goes_on_from_its_cursor(tmp_path: Path):
    whole = taken(mixture(tmp_path), 30)
    assert whole == taken(mixture(tmp_path), 30)
    assert whole != taken(mixture(tmp_path, seed=1), 30)
    first = mixture(tmp_path)
    head = taken(first, 11)
    rest = mixture(tmp_path)
    rest.restore(json.loads(json.dumps(first.state())))
    assert head + taken(rest, 19) == whole
    with pytest.raises(DataError, match="not of a mixture"):
        rest.restore({"source": "rows", "taken": 1, "rows": 6})


def test_held_out_pairs_of_a_source_of_their_own(tmp_path: Path):
    train = open_traces(AdditionTraces(), CHARACTERS, 0, max_tokens=64)
    own = open_traces(texts(tmp_path / "own.jsonl", 3), CHARACTERS, 0, max_tokens=64)
    assert train.rows is None
    assert len(held_out_pairs(train, own, 10)) == 3
    assert len(held_out_pairs(train, own, 2)) == 2
