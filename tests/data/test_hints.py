"""Hinted problems show the answer, keep the problem's name, and fit the context."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from configs.prompts import AdditionPrompts, AdditionTraces, CountdownPrompts, CountdownTraces, Prompts, RowPrompts
from data import addition
from data.errors import DataError
from data.hints import hinted_problem
from data.prompt_source import PromptSource
from data.traces import TraceSource
from data.vocabulary import build_tokenizer
from rewards.countdown import evaluate, tokenize

pytestmark = pytest.mark.unit

CHARACTERS = build_tokenizer("characters")
COUNTDOWN = build_tokenizer("countdown")


def source(config: Prompts, limit: int = 40) -> PromptSource:
    tokenizer = COUNTDOWN if config.type == "countdown" else CHARACTERS
    return PromptSource(config, tokenizer, 0, max_prompt_tokens=limit)


def rows_config(tmp_path: Path, **settings: Any) -> RowPrompts:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{i}+1:", "answer": str(i + 1)} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowPrompts(path=str(path), template="raw", **settings)


def test_a_hinted_sum_shows_its_answer_and_keeps_its_name() -> None:
    prompts = source(AdditionPrompts())
    for _ in range(20):
        prompt = prompts.take()
        hinted = prompts.hinted(prompt)
        assert hinted.text == f"{prompt.text[:-1]}({prompt.reference['answer']}):"
        assert (hinted.prompt_id, hinted.reference) == (prompt.prompt_id, prompt.reference)
        assert str(CHARACTERS.decode(hinted.token_ids)) == f"<bos>{hinted.text}"


@pytest.mark.parametrize("order", ["given", "any"])
def test_a_countdown_hint_is_a_solution(order: str) -> None:
    prompts = source(CountdownPrompts.model_validate({"order": order}))
    for _ in range(30):
        prompt = prompts.take()
        hinted = prompts.hinted(prompt)
        solution = hinted.text.removeprefix(prompt.text[:-1])[1:-2]
        assert hinted.text == f"{prompt.text[:-1]}[{solution}]:"
        assert evaluate(tokenize(solution)) == prompt.reference["target"], (prompt.text, solution)
        used = [int(number) for number in re.findall(r"\d+", solution)]
        assert sorted(used) == sorted(prompt.reference["numbers"])


def test_a_hint_of_rows_is_told_as_the_template_says(tmp_path: Path) -> None:
    config = rows_config(tmp_path, hint="{problem} {answer}?")
    prompts = source(config)
    prompt = prompts.take()
    assert prompts.hinted(prompt).text == f"{prompt.text} {prompt.reference['answer']}?"
    with pytest.raises(DataError, match=r"no hint; set `prompts\.hint`"):
        source(rows_config(tmp_path)).hinted(prompt)


def test_of_messages_the_last_one_is_told_anew() -> None:
    problem = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1+1"}]
    hinted = hinted_problem(problem, "{problem} ({answer})", {"answer": 2})
    assert hinted == [problem[0], {"role": "user", "content": "1+1 (2)"}]
    assert problem[1]["content"] == "1+1"


def test_only_the_names_of_the_problem_and_its_reference_are_filled_in() -> None:
    told = hinted_problem("2{answer}", r"{problem} \boxed{answer} {other} {}", {"answer": 4, "wrong": 5})
    assert told == r"2{answer} \boxed4 {other} {}"


def test_hints_that_do_not_fit_are_found_before_the_run(tmp_path: Path) -> None:
    configs: list[tuple[Prompts, int]] = [
        (AdditionPrompts(), 15),
        (CountdownPrompts(), 22),
        (rows_config(tmp_path, hint="{problem}{answer}"), 8),
    ]
    for config, enough in configs:
        source(config, enough).check_hints()
        with pytest.raises(DataError, match=r"(the|a) hinted prompt"):
            source(config, enough - 1).check_hints()


def test_no_countdown_hint_is_longer_than_what_is_checked() -> None:
    config = CountdownPrompts(numbers=4, order="any", max_number=99)
    prompts = source(config, 28)
    prompts.check_hints()
    assert max(len(prompts.hinted(prompts.take()).token_ids) for _ in range(200)) <= 28


def texts(config: AdditionTraces | CountdownTraces, count: int) -> list[tuple[str, str]]:
    tokenizer = COUNTDOWN if config.type == "countdown" else CHARACTERS
    traces = TraceSource(config, tokenizer, 0, max_tokens=128)
    pairs = [traces.take() for _ in range(count)]
    return [(str(tokenizer.decode(prompt)), str(tokenizer.decode(response))) for prompt, response in pairs]


def test_hinted_traces_are_worked_and_have_their_share_of_the_others() -> None:
    pairs = texts(AdditionTraces(worked_share=0.25, hinted_share=0.2), 600)
    hinted = [response for prompt, response in pairs if "(" in prompt]
    plain = [response for prompt, response in pairs if "(" not in prompt]
    assert 0.15 < len(hinted) / 600 < 0.25
    assert not any(response.startswith("<think></think>") for response in hinted)
    assert 0.19 < sum(not r.startswith("<think></think>") for r in plain) / len(plain) < 0.31
    assert all("(" in prompt for prompt, _ in texts(AdditionTraces(hinted_share=1.0), 20))


def test_hinted_searches_end_with_the_solution_shown() -> None:
    pairs = texts(CountdownTraces(careful_share=0.0, hinted_share=0.5), 60)
    hinted = [(prompt, response) for prompt, response in pairs if "[" in prompt]
    assert 15 < len(hinted) < 45
    for prompt, response in hinted:
        assert response.endswith(f"<answer>{prompt.split('[')[1].split(']')[0]}</answer><eos>")


def test_without_hints_the_traces_are_the_same_as_ever() -> None:
    """A saved cursor of a run without hints goes on with the same examples."""
    found = texts(AdditionTraces(worked_share=0.15), 40)
    for index, (prompt, response) in enumerate(found):
        rng = Random(f"traces:0:{index}")
        worked = rng.random() < 0.15
        problem = addition.draw(AdditionTraces(), rng, "train")
        assert prompt == f"<bos>{problem.text}"
        assert response == f"{(addition.worked if worked else addition.lazy)(problem)}<eos>"
