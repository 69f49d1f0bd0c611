import pytest

from rewards.number import exact_number
from rewards.sample import Sample

pytestmark = pytest.mark.unit


def score(response: str, answer: object = "912") -> float:
    return exact_number(Sample("676+236:", response, {"answer": answer})).value


def test_the_last_answer_counts():
    assert score("<answer>1</answer> no, <answer>912</answer>") == 1
    assert score("<answer>912</answer><answer>1</answer>") == 0


def test_white_space_around_is_free():
    assert score("<answer> 912\n</answer>") == 1


@pytest.mark.parametrize("text", ["0912", "+912", "912.0", "9 12", "９１２", "912 apples", "", "1,912", "9e2"])
def test_a_number_can_be_written_in_one_way_only(text: str):
    assert score(f"<answer>{text}</answer>") == 0


def test_without_a_closed_tag_there_is_no_answer():
    assert score("912") == 0
    assert score("<answer>912") == 0
    assert score("</answer>912<answer>") == 0


def test_an_integer_reference_is_as_good_as_its_text():
    assert score("<answer>-7</answer>", -7) == 1
    assert score("<answer>0</answer>", 0) == 1


@pytest.mark.parametrize("answer", [None, "", "012", "1.5", 1.5, True, ["912"], "nan"])
def test_a_bad_reference_is_an_error_and_not_a_zero(answer: object):
    with pytest.raises(ValueError, match="needs an integer"):
        score("<answer>1</answer>", answer)
