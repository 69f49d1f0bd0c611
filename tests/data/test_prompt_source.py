"""Prompts are endless, seeded and resumable; evaluation problems are fixed, different and held out."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from configs.prompts import AdditionPrompts, CountdownPrompts, Prompts, RowPrompts
from data.errors import DataError
from data.prompt_source import PromptSource
from data.records import Prompt
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit

CHARACTERS = build_tokenizer("characters")
COUNTDOWN = build_tokenizer("countdown")


def source(config: Prompts, *, seed: int = 0, limit: int = 32) -> PromptSource:
    tokenizer = COUNTDOWN if config.type == "countdown" else CHARACTERS
    return PromptSource(config, tokenizer, seed, max_prompt_tokens=limit)


def rows_config(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> RowPrompts:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowPrompts(path=str(path), **{"template": "raw", **settings})


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}+1:", "answer": str(i + 1)} for i in range(count)]


def ids(prompts: list[Prompt]) -> list[str]:
    return [prompt.prompt_id for prompt in prompts]


def take(prompts: PromptSource, count: int) -> list[str]:
    return ids([prompts.take() for _ in range(count)])


def every_config(tmp_path: Path) -> list[Prompts]:
    return [AdditionPrompts(), CountdownPrompts(), CountdownPrompts(order="any"), rows_config(tmp_path, numbered(20))]


def test_the_stream_hangs_on_the_seed_and_continues_from_a_saved_cursor(tmp_path: Path) -> None:
    for config in every_config(tmp_path):
        whole = take(source(config), 50)
        assert whole != take(source(config, seed=1), 50)
        first = source(config)
        assert take(first, 17) == whole[:17]
        second = source(config)
        second.restore(json.loads(json.dumps(first.state())))
        assert take(second, 33) == whole[17:]


def test_evaluation_problems_are_different_and_the_same_for_every_seed_and_cursor(tmp_path: Path) -> None:
    for config in every_config(tmp_path):
        one, other = source(config), source(config, seed=5)
        take(other, 7)
        cursor = other.state()
        problems = ids(one.first(20))
        assert len(set(problems)) == 20
        assert problems == ids(other.first(20))
        assert problems[:8] == ids(one.first(8))
        assert other.state() == cursor


@pytest.mark.parametrize("kind", [AdditionPrompts, CountdownPrompts])
def test_held_out_problems_never_come_up_in_training(kind: Any) -> None:
    held_out = set(ids(source(kind(split="held_out")).first(100)))
    assert not held_out & set(take(source(kind()), 1000))


def test_a_generated_prompt_has_its_reference_and_tokens() -> None:
    prompt = source(CountdownPrompts(order="any")).take()
    target, numbers = prompt.text[:-1].split("=")
    expected = {"numbers": [int(n) for n in numbers.split(",")], "target": int(target), "order": "any"}
    assert prompt.reference == expected
    assert COUNTDOWN.decode(prompt.token_ids) == f"<bos>{prompt.text}"
    addition = source(AdditionPrompts()).take()
    a, b = addition.text[:-1].split("+")
    assert addition.reference == {"answer": str(int(a) + int(b))}


def test_a_split_with_too_few_problems_says_how_many_there_are() -> None:
    with pytest.raises(DataError, match=r"11 different addition problems .* held_out split gave only 10"):
        source(AdditionPrompts(digits=1, split="held_out")).first(11)
    assert len(source(AdditionPrompts(digits=1, split="held_out")).first(10)) == 10


def test_each_epoch_of_a_file_takes_every_row_once_in_a_new_order(tmp_path: Path) -> None:
    prompts = source(rows_config(tmp_path, numbered(20)))
    epochs = [take(prompts, 20) for _ in range(3)]
    assert all(set(epoch) == set(epochs[0]) and len(set(epoch)) == 20 for epoch in epochs)
    assert all(one != other for one, other in pairwise(epochs))


def test_a_row_is_named_by_its_id_or_by_its_content(tmp_path: Path) -> None:
    unnamed = source(rows_config(tmp_path, numbered(2))).first(2)
    again = source(rows_config(tmp_path, list(reversed(numbered(2))))).first(2)
    assert ids(unnamed) == list(reversed(ids(again)))
    named = source(rows_config(tmp_path, [{"id": 7, "prompt": "1", "answer": "2", "more": "3"}])).first(5)
    assert ids(named) == ["7"]
    assert named[0].reference == {"answer": "2"}


def test_equal_ids_are_refused(tmp_path: Path) -> None:
    rows = [{"id": 7, "prompt": "1", "answer": "2"}, {"id": 7, "prompt": "2", "answer": "3"}]
    with pytest.raises(DataError, match="rows 0 and 1 have the same id 7"):
        source(rows_config(tmp_path, rows))


def test_a_long_prompt_anywhere_in_a_file_is_refused_at_the_start(tmp_path: Path) -> None:
    rows = [*numbered(100), {"prompt": "1" * 32, "answer": ""}]
    with pytest.raises(DataError, match="row 100: the prompt has 33 tokens, more than the 32"):
        source(rows_config(tmp_path, rows))
    assert source(rows_config(tmp_path, rows), limit=33).first(101)[100].token_ids.shape == (33,)


def test_a_file_takes_messages_through_the_chat_template(tmp_path: Path) -> None:
    tokenizer = build_tokenizer("characters")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}a:"
    rows = [{"question": [{"role": "user", "content": "one"}], "answer": 1}]
    config = rows_config(tmp_path, rows, template="chat", prompt_column="question", system_prompt="be good")
    prompt = PromptSource(config, tokenizer, 0, max_prompt_tokens=64).take()
    assert prompt.text == "system:be good\nuser:one\na:"


def test_a_bad_prompt_cell_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: column 'prompt' is 5; a problem is a string"):
        source(rows_config(tmp_path, [{"prompt": "1", "answer": "2"}, {"prompt": 5, "answer": "2"}]))


@pytest.mark.parametrize("config", [AdditionPrompts(digits=9), CountdownPrompts(numbers=4, max_number=99)])
def test_generated_prompts_that_cannot_fit_are_refused_at_the_start(config: Any) -> None:
    with pytest.raises(DataError, match=r"raise `policy\.max_model_len`"):
        source(config, limit=10)
