import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from data.records import Group, GroupRequest, ScoredGroup, Verdict
from tests.trainers.builders import scored_group
from tests.trainers.fakes import make_prompt
from trainers.evaluation import EvaluationFailed, evaluate, group_seed
from trainers.ports import RolloutFailed

pytestmark = pytest.mark.unit


class Exam:
    """Problem i has `right[i]` correct completions; None fails, and -1 is sampled but never scored."""

    def __init__(self, right: Sequence[int | None]) -> None:
        self.right = right
        self.requests: list[GroupRequest] = []

    async def generate(self, request: GroupRequest) -> Group:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.right[-1 - request.group_id] is None:
            raise RolloutFailed("no worker is left")
        return scored_group(request.group_id, [0.0] * request.group_size).group

    async def score(self, group: Group) -> ScoredGroup:
        right = self.right[-1 - group.group_id]
        assert right is not None
        verdicts = [
            Verdict("infra_error", None, False, {}, "verifier gone")
            if right < 0
            else Verdict("ok", float(i < right), i < right, {"format": 0.5})
            for i in range(len(group.completions))
        ]
        return ScoredGroup(group, tuple(verdicts), 0.0, 0.0)


def run(exam: Exam, **changes: Any):
    settings: dict[str, Any] = {"samples": 4, "temperature": 1.0, "max_completion_tokens": 8, "seed": 3, "step": 5}
    prompts = [make_prompt(i) for i in range(len(exam.right))]
    return evaluate(exam, exam, prompts, **(settings | changes))


async def test_figures_of_an_evaluation():
    report = await run(Exam([4, 2, 1, 0]))
    assert report.accuracy == pytest.approx((4 + 2 + 1 + 0) / 16)
    assert report.accuracy_low < report.accuracy < report.accuracy_high
    # pass@2 of c right ones among 4: 1 - C(4-c, 2) / 6
    assert report.pass_at == pytest.approx({1: 7 / 16, 2: (1 + 5 / 6 + 1 / 2 + 0) / 4, 4: 3 / 4})
    assert (report.length_mean, report.format_share, report.problems) == (3.0, 0.5, 4)
    assert report.metrics()["eval/pass_at_4"] == pytest.approx(3 / 4)
    assert report.step == 5


async def test_the_interval_counts_problems_and_not_samples_of_one_problem():
    one = await run(Exam([1, 0] * 10), samples=1)
    many = await run(Exam([4, 0] * 10), samples=4)
    assert (many.accuracy_low, many.accuracy_high) == pytest.approx((one.accuracy_low, one.accuracy_high))


async def test_ids_are_negative_and_seeds_are_the_same_at_every_step():
    first, second = Exam([1, 1]), Exam([1, 1])
    await run(first, step=0)
    await run(second, step=9)
    assert [r.group_id for r in first.requests] == [-1, -2]
    assert [r.seed for r in first.requests] == [r.seed for r in second.requests]


async def test_a_few_failed_groups_are_counted_and_many_are_an_error():
    report = await run(Exam([4] * 19 + [None]))
    assert (report.failed_groups, report.problems, report.accuracy) == (1, 19, 1.0)
    with pytest.raises(EvaluationFailed, match=r"3 of 20 .*no worker is left"):
        await run(Exam([4] * 17 + [None] * 3))


async def test_a_few_unscored_completions_are_left_out_and_many_are_an_error():
    report = await run(Exam([4] * 19 + [-1]))
    assert (report.unscored, report.problems, report.accuracy) == (4, 19, 1.0)
    with pytest.raises(EvaluationFailed, match="verifier gone"):
        await run(Exam([4, 4, -1]))


async def test_no_prompts_is_a_user_mistake():
    with pytest.raises(ValueError, match="at least one prompt"):
        await run(Exam([]))


def test_group_seeds_leave_room_for_samples_and_differ():
    seeds = np.array([group_seed(0, i) for i in range(-500, 500)], dtype=np.int64)
    assert len(np.unique(seeds)) == 1000
    assert int(np.diff(np.sort(seeds)).min()) > 4096
    assert seeds.min() >= 0
    assert group_seed(0, 1) != group_seed(1, 1)
