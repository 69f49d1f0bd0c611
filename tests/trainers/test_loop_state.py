from pathlib import Path

import numpy as np
import pytest

from data.records import GroupRequest, Sampling
from tests.trainers.builders import scored_group
from trainers.loop_state import LoopState, Totals, read_state, write_state

pytestmark = pytest.mark.unit


def make_state(ready: int) -> LoopState:
    groups = tuple(scored_group(i, [1.0, None], versions=[[3, 4], [4, 4, 4]]) for i in range(ready))
    request = GroupRequest(9, scored_group(9, [1.0]).group.prompt, 4, Sampling(0.7, 32), 2**61 + 3)
    return LoopState(
        steps_done=5,
        version=4,
        next_group_id=10,
        refills=1,
        prompt_cursor={"epoch": 2, "index": 7},
        books={"admitted": 10, "trained": 9 - ready, "rejected": 0, "failed": 0, "aborted": 0},
        in_flight=(request,),
        ready=groups,
        totals=Totals(samples=12, loop_s=3.5, staleness_max=2),
        evaluations=({"step": 0.0, "eval/accuracy": 0.1},),
        tracker_run_id="abc",
    )


@pytest.mark.parametrize("ready", [0, 3])
def test_a_state_comes_back_as_it_was(tmp_path: Path, ready: int):
    state = make_state(ready)
    write_state(tmp_path, state)
    back = read_state(tmp_path)
    plain = (
        "steps_done",
        "version",
        "next_group_id",
        "refills",
        "prompt_cursor",
        "books",
        "totals",
        "evaluations",
        "tracker_run_id",
    )
    assert {k: getattr(back, k) for k in plain} == {k: getattr(state, k) for k in plain}
    request, expected = back.in_flight[0], state.in_flight[0]
    assert (request.group_id, request.seed, request.sampling) == (9, 2**61 + 3, Sampling(0.7, 32))
    assert request.prompt.token_ids.tolist() == expected.prompt.token_ids.tolist()
    assert request.prompt.token_ids.dtype == np.int32
    assert request.prompt.reference == expected.prompt.reference
    for scored, original in zip(back.ready, state.ready, strict=True):
        assert scored.group.group_id == original.group.group_id
        assert scored.verdicts == original.verdicts
        for c, o in zip(scored.group.completions, original.group.completions, strict=True):
            assert c.token_ids.tolist() == o.token_ids.tolist()
            assert c.versions.tolist() == o.versions.tolist()
            assert c.logprobs.tolist() == o.logprobs.tolist()


def test_a_buffer_that_lost_groups_is_refused(tmp_path: Path):
    write_state(tmp_path, make_state(3))
    text = (tmp_path / "loop.json").read_text()
    (tmp_path / "loop.json").write_text(text.replace('"num_ready": 3', '"num_ready": 4'))
    with pytest.raises(ValueError, match="holds 3 groups"):
        read_state(tmp_path)
