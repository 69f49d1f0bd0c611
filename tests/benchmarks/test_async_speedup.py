"""Both sides of the comparison do the same work."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import async_speedup
from data.records import Group, GroupRequest, Prompt, Sampling

pytestmark = pytest.mark.unit


def make_request(group_id: int) -> GroupRequest:
    prompt = Prompt(
        "p", np.array([1, 2], np.int32), "10=8,2,1:", {"numbers": [8, 1, 2], "target": 10, "order": "given"}
    )
    return GroupRequest(group_id, prompt, 2, Sampling(1.0, 10_000), 7)


class EchoFleet:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[GroupRequest] = []

    async def generate(self, request: GroupRequest) -> Group:
        self.asked.append(request)
        return Group(request.group_id, request.prompt, (), "", 0.0)


async def test_a_group_has_the_same_limit_in_every_run_and_lengths_have_a_long_tail() -> None:
    limits: list[list[int]] = []
    for _ in range(2):
        fleet = EchoFleet()
        for group_id in range(400):
            await async_speedup.LongTailed(fleet).generate(make_request(group_id))
        limits.append([request.sampling.max_completion_tokens for request in fleet.asked])
    assert limits[0] == limits[1]
    assert max(limits[0]) == async_speedup.LONGEST
    assert np.median(limits[0]) == pytest.approx(async_speedup.MEDIAN, rel=0.2)
    assert np.mean(limits[0]) > 1.2 * np.median(limits[0])


def test_the_two_runs_of_the_speedup_differ_only_in_their_bound(tmp_path: Path) -> None:
    trees = [async_speedup.make_run(tmp_path, bound, 10).model_dump() for bound in (0, 2)]
    trees[1]["name"] = trees[0]["name"]
    assert trees[0] != trees[1]
    trees[1]["algorithm"]["staleness"]["max_staleness"] = 0
    assert trees[0] == trees[1]


def test_samples_per_second_leaves_out_the_first_and_the_last_steps() -> None:
    slow, fast = 100.0, 2.0
    durations = [slow] * async_speedup.WARM_UP + [fast] * 5 + [slow] * async_speedup.TAIL
    times = async_speedup.Times(ends=np.cumsum(durations).tolist())
    assert times.samples_per_s == async_speedup.PROMPTS_PER_STEP * async_speedup.GROUP_SIZE / fast
