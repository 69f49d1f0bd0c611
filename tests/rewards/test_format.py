import pytest

from rewards.format import think_answer_format
from rewards.sample import Sample

pytestmark = pytest.mark.unit


def score(response: str, prefix: str = "") -> float:
    return think_answer_format(Sample("", response, {}), prefix=prefix).value


@pytest.mark.parametrize(
    "response",
    [
        "<think>a</think><answer>b</answer>",
        " \n<think>a\n\nb</think>\n\n<answer>\nb\n</answer>\n",
        "<think></think><answer>912</answer>",
        "<think>1 < 2 and <b></think><answer>$x>1$</answer>",
    ],
)
def test_one_thought_and_one_answer_keep_the_template(response: str):
    assert score(response) == 1


@pytest.mark.parametrize(
    "response",
    [
        "",
        "42",
        "<answer>b</answer>",
        "<think>a</think>",
        "<think>a</think><answer>b",
        "<think>a<answer>b</answer>",
        "<answer>b</answer><think>a</think>",
        "<think>a</think> so <answer>b</answer>",
        "Well, <think>a</think><answer>b</answer>",
        "<think>a</think><answer>b</answer>.",
        "<think>a</think><think>b</think><answer>c</answer>",
        "<think>a</think><answer>b</answer><answer>c</answer>",
        "<think>a <think> b</think><answer>c</answer>",
        "<think>a</think><answer><think>b</answer>",
        "<think><answer>a</think>b</answer>",
        "<Think>a</Think><answer>b</answer>",
    ],
)
def test_anything_else_breaks_it(response: str):
    assert score(response) == 0


def test_template_text_of_the_prompt_counts_as_written():
    assert score("a</think><answer>b</answer>", prefix="<think>") == 1
    assert score("<think>a</think><answer>b</answer>", prefix="<think>") == 0
    assert score("a</think><answer>b</answer>") == 0


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        ("a</think> so <answer>b</answer> ok", 0.75),
        ("<think>a</think><think>b</think><answer>c</answer>", 0.5),
        ("<answer>b", 0.25),
        ("42", 0.0),
    ],
)
def test_the_count_of_tags_gives_a_quarter_for_each_that_occurs_once(response: str, value: float):
    assert think_answer_format(Sample("", response, {}), variant="tag_count").value == value
