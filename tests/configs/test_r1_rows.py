"""The rows of the small R1 pipeline are what its README says."""

import json
from pathlib import Path
from typing import Any

import pytest

from configs.prompts import AdditionPrompts
from data.addition import AdditionProblem
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
FOLDER = Path(__file__).parents[2] / "configs" / "r1_cpu"
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
SMALL = [*ONES.split(), "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


def in_words(number: int) -> str:
    if number < 20:
        return SMALL[number]
    return TENS[number // 10 - 2] + (f" {SMALL[number % 10]}" if number % 10 else "")


def answer(text: str) -> str:
    return f"<think></think><answer>{text}</answer>"


def test_facts_are_all_numbers_below_a_hundred_briefly_and_at_length():
    expected = {(f"{n}?", answer(text)) for n in range(100) for text in (in_words(n), f"it is {in_words(n)}")}
    assert {(row["prompt"], row["response"]) for row in rows("facts.jsonl")} == expected


def test_the_brief_right_answer_is_preferred():
    for row in rows("preferences.jsonl"):
        assert row["chosen"] == answer(in_words(int(row["prompt"].removesuffix("?"))))
        assert row["rejected"] != row["chosen"]


def test_prompts_are_additions_that_may_be_trained_on_and_the_facts():
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in rows("prompts.jsonl"):
        by_kind.setdefault(row["kind"], []).append(row)
    assert {row["prompt"]: row["answer"] for row in by_kind["general"]} == {f"{n}?": in_words(n) for n in range(100)}
    for row in by_kind["maths"]:
        problem = AdditionProblem(*map(int, row["prompt"].removesuffix(":").split("+")))
        assert problem.split == AdditionPrompts().split
        assert row["answer"] == str(problem.a + problem.b)
    assert len({row["id"] for kind in by_kind.values() for row in kind}) == 500


def test_every_text_is_in_the_vocabulary():
    tokenizer = build_tokenizer("characters")
    for name in ("facts.jsonl", "preferences.jsonl", "prompts.jsonl"):
        for row in rows(name):
            for text in row.values():
                assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
