import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.records import GroupRequest, Sampling
from tests.trainers.builders import scored_group
from trainers.rollout_buffer import Changes, RolloutBuffer

pytestmark = pytest.mark.unit


def request(group_id: int) -> GroupRequest:
    return GroupRequest(group_id, scored_group(group_id, [1.0]).group.prompt, 1, Sampling(1.0, 8), group_id)


def make_buffer(*, staleness: int = 1, steps: int = 10, hold: bool = False) -> RolloutBuffer:
    return RolloutBuffer(Changes(), prompts_per_step=2, max_staleness=staleness, steps=steps, hold_for_old=hold)


def admit_all(buffer: RolloutBuffer, next_id: int) -> int:
    while buffer.room > 0:
        buffer.admit(request(next_id))
        next_id += 1
    return next_id


def add(buffer: RolloutBuffer, *group_ids: int) -> None:
    for group_id in group_ids:
        buffer.add(scored_group(group_id, [1.0]))


def test_a_slot_is_free_only_when_the_step_is_published():
    buffer = make_buffer()
    assert admit_all(buffer, 0) == 4
    add(buffer, 2, 0)
    taken = buffer.take()
    assert [scored.group.group_id for scored in taken] == [0, 2]
    assert buffer.room == 0
    buffer.publish_step(taken)
    assert buffer.room == 2


def test_a_failed_group_frees_its_slot_at_once():
    buffer = make_buffer()
    admit_all(buffer, 0)
    buffer.release(3)
    assert buffer.room == 1
    add(buffer, 1)
    buffer.release(1)
    assert buffer.room == 2


def test_no_more_is_admitted_than_the_remaining_steps_can_train():
    buffer = make_buffer(staleness=5, steps=2)
    assert admit_all(buffer, 0) == 4
    add(buffer, 0, 1)
    buffer.publish_step(buffer.take())
    assert buffer.room == 0
    buffer.release(2)
    assert buffer.room == 1


def test_the_lowest_ids_are_taken_first():
    buffer = make_buffer()
    admit_all(buffer, 0)
    add(buffer, 3, 1, 2)
    assert [scored.group.group_id for scored in buffer.take()] == [1, 2]
    with pytest.raises(RuntimeError, match="1 of 2 groups"):
        buffer.take()


def test_holding_waits_for_a_group_that_would_be_too_old_at_the_next_step():
    buffer = make_buffer(hold=True)
    admit_all(buffer, 0)
    add(buffer, 1, 2)
    assert buffer.has_batch  # step 0: group 0 may still train at step 1, one version old
    buffer.publish_step(buffer.take())
    admit_all(buffer, 4)
    add(buffer, 3, 4)
    assert not buffer.has_batch  # step 1: without group 0, it would train at step 2
    add(buffer, 0)
    assert buffer.has_batch
    assert [scored.group.group_id for scored in buffer.take()] == [0, 3]


def test_a_group_is_admitted_once():
    buffer = make_buffer()
    buffer.admit(request(0))
    with pytest.raises(RuntimeError, match="twice"):
        buffer.admit(request(0))


def test_what_is_chosen_but_not_published_is_still_buffered():
    buffer = make_buffer()
    admit_all(buffer, 0)
    add(buffer, 0, 1, 3)
    buffer.take()
    assert [scored.group.group_id for scored in buffer.buffered] == [0, 1, 3]
    assert [scored.group.group_id for scored in buffer.ready] == [3]
    assert [r.group_id for r in buffer.in_flight] == [2]
    assert buffer.abandon() == 4


@given(st.lists(st.integers(0, 5), max_size=120), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_order_of_events_lets_a_group_get_older_than_the_bound_when_holding(events: list[int], staleness: int):
    """Any mix of arrivals, failures and steps: held is bounded, and with `wait` no group trains too old."""
    buffer = make_buffer(staleness=staleness, steps=40, hold=True)
    admitted_at: dict[int, int] = {}
    next_id, training = 0, []
    for event in events:
        while buffer.room > 0:
            buffer.admit(request(next_id))
            admitted_at[next_id] = buffer.steps_published
            next_id += 1
        flying = [r.group_id for r in buffer.in_flight]
        if event <= 2 and flying:
            add(buffer, flying[event % len(flying)])
        elif event == 3 and flying:
            buffer.release(flying[-1])
        elif training:
            buffer.publish_step(training)
            training = []
        if not training and buffer.has_batch:
            step = buffer.steps_taken
            training = buffer.take()
            assert all(step - admitted_at[scored.group.group_id] <= staleness for scored in training)
        assert buffer.num_in_flight + buffer.num_buffered <= 2 * (staleness + 1)


async def test_waiters_wake_on_notice_and_survive_a_cancelled_one():
    changes, state = Changes(), {"open": False}
    first = asyncio.create_task(changes.until(lambda: state["open"]))
    second = asyncio.create_task(changes.until(lambda: state["open"]))
    await asyncio.sleep(0)
    changes.notify()
    await asyncio.sleep(0)
    assert not first.done()
    first.cancel()
    state["open"] = True
    changes.notify()
    async with asyncio.timeout(1):
        await second
    assert first.cancelled() or first.cancelling()
