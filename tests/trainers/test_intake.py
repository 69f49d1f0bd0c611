import pytest

from configs.algorithm import Algorithm, Filters, Staleness
from data.records import GroupRequest, Sampling
from tests.trainers.builders import scored_group
from trainers.books import Books
from trainers.intake import Intake, TooManyFailures
from trainers.rollout_buffer import Changes, RolloutBuffer

pytestmark = pytest.mark.unit


def make_intake(**filters: object) -> tuple[Intake, RolloutBuffer, Books]:
    """Two prompts per step, four groups in flight."""
    algorithm = Algorithm(
        staleness=Staleness(max_staleness=1, stale_tokens="drop"), filters=Filters.model_validate(filters)
    )
    buffer = RolloutBuffer(Changes(), prompts_per_step=2, max_staleness=1, steps=10, hold_for_old=False)
    for group_id in range(4):
        prompt = scored_group(group_id, [1.0]).group.prompt
        buffer.admit(GroupRequest(group_id, prompt, 2, Sampling(1.0, 8), 0))
    books = Books(admitted=4)
    return Intake(algorithm, buffer, books, prompts_per_step=2), buffer, books


def test_only_groups_beyond_the_bound_are_dropped_as_too_old():
    intake, buffer, books = make_intake()
    for group_id, oldest in enumerate((3, 4, 5)):
        intake.arrived(scored_group(group_id, [1.0, 0.0], versions=[[oldest, 5], [5]]))
    assert intake.drop_too_old(version=5)
    assert [scored.group.group_id for scored in buffer.ready] == [1, 2]
    assert not intake.drop_too_old(version=5)
    books.check(in_flight=buffer.num_in_flight, buffered=buffer.num_buffered)


def test_what_leaves_is_reported_once_trained_dropped_and_rejected():
    intake, buffer, books = make_intake(zero_variance="drop")
    for group_id, rewards in enumerate([[1.0, 0.0], [1.0, 1.0], [None, None]]):
        intake.arrived(scored_group(group_id, rewards))
    groups = intake.choose()
    assert [scored.group.group_id for scored in groups.train] == [0]
    buffer.publish_step(groups.taken)
    assert [scored.group.group_id for scored in intake.close_step(groups)] == [0, 1, 2]
    assert (books.trained, books.rejected) == (1, 2)
    assert intake.read_flow() == (6, 18)
    assert intake.read_flow() == (0, 0)


def test_good_groups_between_failures_keep_the_run_going():
    intake, buffer, books = make_intake()
    prompt = scored_group(0, [1.0]).group.prompt

    def come_back(first_id: int, outcomes: list[bool]) -> None:
        for group_id, good in enumerate(outcomes, first_id):
            buffer.admit(GroupRequest(group_id, prompt, 2, Sampling(1.0, 8), 0))
            if good:
                intake.arrived(scored_group(group_id, [1.0, 0.0]))
            else:
                intake.failed(group_id, "worker died")

    come_back(100, [True, *[False] * 9] * 10)
    assert books.failed == 90
    with pytest.raises(TooManyFailures, match=r"more than 16 .*worker died"):
        come_back(200, [False] * 8)
