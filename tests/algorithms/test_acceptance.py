"""Which rationales STaR keeps: right, ended, new, not too many."""

from dataclasses import replace

import pytest

from algorithms.acceptance import accept, needs_hint
from data.rationales import Rationale
from data.records import ScoredGroup
from tests.trainers.builders import scored_group

pytestmark = pytest.mark.unit


def judge(scored: ScoredGroup, *, cap: int = 9, shortest: int = 0, hinted: bool = False) -> tuple[Rationale, ...]:
    return accept(scored.group.prompt, scored, hinted=hinted, cap=cap, shortest=shortest)


def fates(scored: ScoredGroup, *, cap: int = 9, shortest: int = 0) -> list[str]:
    return [rationale.fate for rationale in judge(scored, cap=cap, shortest=shortest)]


def test_only_right_answers_are_trained_and_none_is_lost():
    group = scored_group(0, [1.0, 0.0, None, 1.1], correct=[True, False, False, True])
    assert fates(group) == ["trained", "wrong", "no_verdict", "trained"]


def test_a_high_score_without_a_right_answer_is_wrong():
    assert fates(scored_group(0, [5.0, 0.2], correct=[False, True])) == ["wrong", "trained"]


def test_repeated_tokens_are_kept_once_and_the_cap_counts_different_ones():
    tokens = [[1, 2], [1, 2], [1, 3], [1, 4], [1, 2]]
    group = scored_group(0, [1.0] * 5, tokens=tokens, versions=[[0, 0]] * 5)
    assert fates(group, cap=2) == ["trained", "duplicate", "trained", "over_cap", "duplicate"]


def test_wrong_ones_take_no_place_under_the_cap():
    assert fates(scored_group(0, [0.0, 1.0, 0.0, 1.0, 1.0]), cap=2) == [
        "wrong",
        "trained",
        "wrong",
        "trained",
        "over_cap",
    ]


def test_a_right_answer_that_was_cut_off_would_teach_not_to_end():
    assert fates(scored_group(0, [1.0, 0.0], finish="length")) == ["cut", "wrong"]


def test_short_ones_are_left_out_where_a_length_is_asked_for():
    group = scored_group(0, [1.0, 1.0, 0.0], versions=[[0] * 2, [0] * 3, [0] * 2])
    assert fates(group, shortest=3) == ["too_short", "trained", "wrong"]


def test_a_rationale_knows_its_problem_without_hint_and_its_place():
    group = scored_group(7, [1.0])
    problem = scored_group(6, [1.0]).group.prompt
    (rationale,) = accept(problem, group, hinted=True, cap=1)
    assert rationale.problem is problem
    assert (rationale.hinted, rationale.group_id, rationale.sample) == (True, 7, 0)


@pytest.mark.parametrize(
    ("rewards", "needed"),
    [([0.0, 0.0], True), ([0.0, 1.0], False), ([None, 0.0], True), ([None, None], False)],
)
def test_a_hint_is_for_problems_that_the_policy_is_known_to_fail(rewards: list[float | None], needed: bool):
    assert needs_hint(judge(scored_group(0, rewards))) is needed


def test_keeping_all_asks_for_no_verdict_but_for_an_end_and_no_repetition():
    tokens = [[1, 2], [1, 3], [1, 2], []]
    group = scored_group(0, [0.0, None, 1.0, 1.0], tokens=tokens, versions=[[0, 0], [0, 0], [0, 0], []])
    kept = accept(group.group.prompt, group, hinted=False, cap=9, keep="all")
    assert [rationale.fate for rationale in kept] == ["trained", "trained", "duplicate", "cut"]
    cut = scored_group(0, [None], finish="length")
    assert [r.fate for r in accept(cut.group.prompt, cut, hinted=False, cap=9, keep="all")] == ["cut"]


def test_a_right_one_below_a_required_score_is_unfit_and_leaves_its_place_to_the_next():
    group = scored_group(0, [1.0, 1.0, 0.0], tokens=[[1], [2], [3]], versions=[[0], [0], [0]])
    verdicts = tuple(
        replace(verdict, parts={"format": score})
        for verdict, score in zip(group.verdicts, (0.5, 1.0, 1.0), strict=True)
    )
    judged = accept(group.group.prompt, replace(group, verdicts=verdicts), hinted=False, cap=1, require={"format": 1.0})
    assert [rationale.fate for rationale in judged] == ["unfit", "trained", "wrong"]
    assert [r.fate for r in accept(group.group.prompt, group, hinted=False, cap=1, require={"absent": 0.1})][:1] == [
        "unfit"
    ]
