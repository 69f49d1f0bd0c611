import pytest

from configs.prompts import Schedule
from trainers.schedule import learning_rate_share

pytestmark = pytest.mark.unit


def shares(schedule: Schedule, steps: int) -> list[float]:
    return [learning_rate_share(schedule, step, steps) for step in range(steps)]


def test_warm_up_rises_to_the_peak_right_after_it():
    assert shares(Schedule(type="constant", warmup_steps=3), 5) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_linear_falls_from_the_peak_to_the_final_share_at_the_last_step():
    assert shares(Schedule(type="linear", final_share=0.2), 5) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_halfway_in_the_middle():
    assert shares(Schedule(type="cosine", warmup_steps=1), 6) == pytest.approx(
        [0.5, 1.0, 0.853553, 0.5, 0.146447, 0.0], abs=1e-6
    )


def test_a_stage_shorter_than_its_warm_up_only_rises():
    assert shares(Schedule(type="cosine", warmup_steps=9), 3) == pytest.approx([0.1, 0.2, 0.3])


def test_a_single_step_is_at_the_peak():
    assert shares(Schedule(type="cosine"), 1) == [1.0]


@pytest.mark.parametrize("step", [-1, 5])
def test_a_step_outside_the_stage_is_refused(step: int):
    with pytest.raises(ValueError, match="outside a stage of 5 steps"):
        learning_rate_share(Schedule(), step, 5)
