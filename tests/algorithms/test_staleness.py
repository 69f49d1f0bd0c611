"""The staleness bound: per token, and by admission."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.staleness import admission_room, fresh_mask

pytestmark = pytest.mark.unit


def test_a_token_is_fresh_up_to_the_bound() -> None:
    versions = np.array([3, 4, 5, 7, 9], dtype=np.int32)
    assert fresh_mask(versions, 7, 2).tolist() == [False, False, True, True, True]
    assert fresh_mask(versions, 7, 0).tolist() == [False, False, False, True, True]
    assert fresh_mask(np.array([], dtype=np.int32), 7, 0).shape == (0,)


def test_room_at_the_start_is_one_step_per_allowed_version() -> None:
    sizes = {"version": 0, "prompts_per_step": 4, "groups_trained": 0}
    assert admission_room(max_staleness=0, groups_held=0, **sizes) == 4
    assert admission_room(max_staleness=2, groups_held=0, **sizes) == 12
    assert admission_room(max_staleness=2, groups_held=12, **sizes) == 0
    assert admission_room(max_staleness=2, groups_held=15, **sizes) == 0


@settings(max_examples=50, deadline=None)
@given(max_staleness=st.integers(0, 3), per_step=st.integers(1, 4), choices=st.lists(st.booleans(), max_size=60))
def test_oldest_first_training_never_exceeds_the_bound(max_staleness: int, per_step: int, choices: list[bool]) -> None:
    """Admit or train in any order: the version at admission bounds the staleness at training."""
    held: list[int] = []  # version at which each held group was admitted
    version = trained = 0
    for admit in choices:
        room = admission_room(
            version=version,
            max_staleness=max_staleness,
            prompts_per_step=per_step,
            groups_trained=trained,
            groups_held=len(held),
        )
        if admit:
            held += [version] * room
        elif len(held) >= per_step:
            step, held = held[:per_step], held[per_step:]
            assert all(version - admitted <= max_staleness for admitted in step)
            version, trained = version + 1, trained + per_step
