"""Supervised pairs: shares of styles, no held-out problem, resumable, and never longer than the context."""

import json
from pathlib import Path
from typing import Any

import pytest

from configs.prompts import AdditionTraces, CountdownTraces, PlainTraces, RowTraces
from data.addition import AdditionProblem
from data.countdown import CountdownProblem
from data.errors import DataError
from data.traces import TraceSource
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit

CHARACTERS = build_tokenizer("characters")
COUNTDOWN = build_tokenizer("countdown")


def source(config: PlainTraces, *, seed: int = 0, limit: int = 128) -> TraceSource:
    return TraceSource(config, COUNTDOWN if config.type == "countdown" else CHARACTERS, seed, max_tokens=limit)


def texts(config: PlainTraces, count: int, **settings: Any) -> list[tuple[str, str]]:
    traces = source(config, **settings)
    tokenizer = COUNTDOWN if config.type == "countdown" else CHARACTERS
    pairs = [traces.take() for _ in range(count)]
    return [(str(tokenizer.decode(prompt)), str(tokenizer.decode(response))) for prompt, response in pairs]


def rows_config(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> RowTraces:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowTraces(path=str(path), **{"template": "raw", **settings})


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}:", "response": str(i)} for i in range(count)]


def test_prompts_begin_with_bos_and_responses_end_in_eos() -> None:
    for config in (AdditionTraces(), CountdownTraces()):
        for prompt, response in texts(config, 5):
            assert prompt.startswith("<bos>")
            assert prompt.endswith(":")
            assert response.startswith("<think>")
            assert response.endswith("</answer><eos>")


def test_the_styles_have_their_shares() -> None:
    lazy = [response.startswith("<think></think>") for _, response in texts(AdditionTraces(worked_share=0.2), 400)]
    assert 0.73 < sum(lazy) / 400 < 0.87
    assert not any("<think></think>" in response for _, response in texts(AdditionTraces(), 50))
    assert all("<think></think>" in response for _, response in texts(AdditionTraces(worked_share=0), 50))
    short = [response.count("=") == 2 for _, response in texts(CountdownTraces(careful_share=0), 50)]
    assert all(short)


def test_no_trace_is_of_a_held_out_problem() -> None:
    for prompt, _ in texts(AdditionTraces(), 500):
        a, b = prompt.removeprefix("<bos>")[:-1].split("+")
        assert AdditionProblem(int(a), int(b)).split == "train"
    for prompt, _ in texts(CountdownTraces(order="any"), 500):
        target, numbers = prompt.removeprefix("<bos>")[:-1].split("=")
        assert CountdownProblem(tuple(map(int, numbers.split(","))), int(target), "any").split == "train"


def test_the_stream_hangs_on_the_seed_and_continues_from_a_saved_cursor(tmp_path: Path) -> None:
    for config in (AdditionTraces(), CountdownTraces(), rows_config(tmp_path, numbered(20))):
        whole = texts(config, 30)
        assert whole != texts(config, 30, seed=1)
        first = source(config)
        for _ in range(12):
            first.take()
        second = source(config)
        second.restore(json.loads(json.dumps(first.state())))
        assert [second.take()[1].tolist() for _ in range(18)] == [first.take()[1].tolist() for _ in range(18)]


def test_a_trace_that_is_too_long_is_drawn_again_in_its_style() -> None:
    config = CountdownTraces(order="any", careful_share=0.5)
    traces = source(config, limit=60)
    pairs = [traces.take() for _ in range(300)]
    assert max(len(prompt) + len(response) for prompt, response in pairs) <= 60
    # Half are careless, and nine in ten of those miss; choosing the style anew would make it two thirds.
    results = [str(COUNTDOWN.decode(response)).split("</think>")[0].rsplit("=", 1)[1] for _, response in pairs]
    targets = [str(COUNTDOWN.decode(prompt)).removeprefix("<bos>").split("=")[0] for prompt, _ in pairs]
    missed = sum(result != target for result, target in zip(results, targets, strict=True))
    assert 0.36 < missed / 300 < 0.54


def test_a_style_that_can_never_fit_is_refused_at_the_start() -> None:
    with pytest.raises(DataError, match=r"addition traces in a row were longer than 40 .*max_model_len"):
        source(AdditionTraces(worked_share=0.1), limit=40)
    assert len(source(AdditionTraces(worked_share=0.0), limit=40).take()[1]) < 20


def test_rows_give_prompt_and_response(tmp_path: Path) -> None:
    config = rows_config(tmp_path, [{"q": "1+1:", "a": "2"}], prompt_column="q", response_column="a")
    assert texts(config, 2) == [("<bos>1+1:", "2<eos>")] * 2


def test_a_long_row_is_refused_at_the_start(tmp_path: Path) -> None:
    config = rows_config(tmp_path, [*numbered(70), {"prompt": "1" * 20, "response": "2" * 20}])
    with pytest.raises(DataError, match="row 70: prompt and response have 42 tokens, more than the context of 41"):
        source(config, limit=41)
    assert sum(map(len, source(config, limit=42).take())) <= 42


@pytest.mark.parametrize("response", ["", 5])
def test_a_response_that_is_not_text_is_refused_with_its_row(tmp_path: Path, response: Any) -> None:
    with pytest.raises(DataError, match=r"row 1: column 'response' is .*a response is text"):
        source(rows_config(tmp_path, [*numbered(1), {"prompt": "1", "response": response}]))
