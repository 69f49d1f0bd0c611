import time

import pytest

from rewards.answer import Answer, choice_letter, final_answer, last_tagged, outside_thinking

pytestmark = pytest.mark.unit


def found(response: str, choice: bool = False) -> str | None:
    answer = final_answer(response, choice=choice)
    return answer.text.strip() if answer else None


def test_a_box_comes_before_a_tag_a_tag_before_a_phrase_a_phrase_before_the_end():
    phrase = "The answer is 3. Of 4."
    assert final_answer(rf"{phrase} <answer>2</answer> \boxed{{1}} 5") == Answer("1", "boxed")
    assert final_answer(f"{phrase} <answer>2</answer> 5") == Answer("2", "tag")
    assert final_answer(phrase) == Answer("3", "phrase")
    assert final_answer("There are 3 of 4") == Answer("4", "closing")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
        (r"\boxed{1}, \boxed{2}, or \boxed{3}", "1, 2, 3"),
        (r"\boxed{2}. Final: \boxed{2}", "2"),
        (r"\boxed{1} is wrong, \boxed{2}", "2"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{4", "4"),
        (r"\boxed{}", None),
    ],
)
def test_the_last_box_counts_with_those_joined_to_it(response: str, answer: str | None):
    assert found(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"Half is \boxed{200}, so \boxed{255}. Final Answer: The final answer is $10,455$. I hope so.", "10,455"),
        (r"\boxed{255}. The final answer is: $10455$", "10455"),
        (r"The final answer is $1$, or rather \boxed{2}", "2"),
        (r"\boxed{2}. The final answer is not $1$", "2"),
        (r"\boxed{2}. The answer is $1$", "2"),
    ],
)
def test_a_final_answer_in_a_formula_outranks_boxes_before_it(response: str, answer: str):
    assert found(response) == answer


@pytest.mark.parametrize(
    "response",
    [
        r"<think>\boxed{42}</think>",
        r"<think>\boxed{42}",
        r"\boxed{42}</think>",
        "<think>The answer is 42.</think>",
        "<think><answer>42</answer>",
    ],
)
def test_an_answer_only_thought_of_does_not_count(response: str):
    assert found(response) is None


def test_an_open_thought_of_the_prompt_ends_in_the_response():
    assert outside_thinking("a</think>b", thinking_open=True).strip() == "b"
    assert final_answer(r"\boxed{1}", thinking_open=True) is None
    assert outside_thinking("<think>a</think>b<think>c</think>d").split() == ["b", "d"]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "\\frac{1}{2}"),
        ("Answer: **42**", "42"),
        ("The answer is $1$ or $2$.", "1, 2"),
        ("The answer is 5 because 3 + 2 makes it.", "5"),
        ("Final Answer: the number of points is 19.", "19"),
        ("The answer is 3.5\nThank you for 7 questions", "3.5"),
        ("答案是 12。", "12"),
        ("So we get 40 and then -3", "-3"),
        ("It costs $1,234.50", "$1,234.50"),
        ("There are 1,234 of them", "1,234"),
        ("I see 12 and then $x = 5$ holds", "x = 5"),
        ("x = 3", "x = 3"),
        ("\\frac{3}{4}", "\\frac{3}{4}"),
        ("Paris", "Paris"),
        ("Done: 28%<|im_end|>\nuser 99", "28%"),
        ("", None),
    ],
)
def test_phrases_and_endings(response: str, answer: str | None):
    assert found(response) == answer


@pytest.mark.parametrize(
    ("response", "letter"),
    [("I pick (B)", "B"), ("D. it can't be A or B", "D"), ("The answer is C, not A", "C"), ("A bad day, so E", "E")],
)
def test_prose_is_searched_for_a_letter_when_a_choice_is_asked_for(response: str, letter: str):
    assert found(response, choice=True) == letter


def test_a_choice_is_a_letter_and_no_word_or_formula():
    assert choice_letter("(B) 12") == "B"
    assert choice_letter("B") == "B"
    assert choice_letter("A cat") is None
    assert choice_letter("A+B") is None


def test_the_last_closed_tag_counts():
    assert last_tagged("<answer>1</answer><answer>2") == "1"
    assert last_tagged("</answer><answer>") is None


@pytest.mark.parametrize(
    "piece",
    ["$", "$$", " ", "\\[", "\\boxed{", "{", "<think>", "<answer>", "answer is ", "1,", "a ", "\\boxed{1}, ", "答案"],
)
def test_hostile_length_costs_little(piece: str):
    response = piece * (200_000 // len(piece))
    started = time.process_time()
    final_answer(response)
    assert time.process_time() - started < 1.0
