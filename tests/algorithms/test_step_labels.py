import pytest

from algorithms.step_labels import StepLabel, first_wrong_step
from algorithms.step_scores import aggregate

pytestmark = pytest.mark.unit


def test_the_soft_label_is_the_share_and_the_hard_one_whether_any_is_right():
    assert (StepLabel(0, 8).soft, StepLabel(0, 8).hard) == (0.0, 0)
    assert (StepLabel(1, 8).soft, StepLabel(1, 8).hard) == (0.125, 1)
    assert (StepLabel(8, 8).soft, StepLabel(8, 8).hard) == (1.0, 1)


def test_without_a_verdict_there_is_no_label():
    assert (StepLabel(0, 0).soft, StepLabel(0, 0).hard) == (None, None)
    with pytest.raises(ValueError, match="impossible"):
        StepLabel(3, 2)


def test_the_first_wrong_step_is_the_first_hard_zero():
    assert first_wrong_step([1, 1, 0, 1, 0]) == 2
    assert first_wrong_step([1, None, 0]) == 2
    assert first_wrong_step([1, None, 1]) is None


def test_steps_are_summed_up_by_their_weakest_their_product_or_their_last():
    scores = [0.9, 0.2, 0.5]
    assert aggregate(scores, "min") == 0.2
    assert aggregate(scores, "product") == pytest.approx(0.09)
    assert aggregate(scores, "last") == 0.5
    with pytest.raises(ValueError, match="without steps"):
        aggregate([], "min")
