from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from data.records import Completion, Group, Prompt, ScoredGroup, Verdict
from rewards.alarms import Alarm, RewardAlarms

pytestmark = pytest.mark.unit
GROUP = 8


def scored(
    problem: int,
    texts: Sequence[str],
    correct: bool | Sequence[bool] = False,
    tokens: int = 100,
    reference: dict[str, Any] | None = None,
    detail: str = "math: boxed answer is not equal",
) -> ScoredGroup:
    rights = [correct] * len(texts) if isinstance(correct, bool) else correct
    ids = np.zeros(tokens, np.int32)
    completions = tuple(Completion(ids, np.zeros(tokens, np.float32), ids, text, "stop") for text in texts)
    prompt = Prompt(f"p{problem}", ids[:1], "?", reference or {"answer": str(problem)})
    verdicts = tuple(Verdict("ok", float(right), right, {}, "math: is equal" if right else detail) for right in rights)
    return ScoredGroup(Group(problem, prompt, completions, "rollout-0", 0.1), verdicts, 0.0, 0.0)


def honest(problem: int, share: float = 0.25, tokens: int = 100) -> ScoredGroup:
    rights = [i < share * GROUP for i in range(GROUP)]
    texts = [rf"\boxed{{{problem if right else 1000 + 10 * problem + i}}}" for i, right in enumerate(rights)]
    return scored(problem, texts, rights, tokens)


def feed(alarms: RewardAlarms, groups: Sequence[ScoredGroup]) -> list[Alarm]:
    return [alarm for group in groups for alarm in alarms.observe(group)]


def test_an_honest_run_that_learns_slowly_raises_nothing():
    alarms = RewardAlarms()
    groups = [honest(i, share=min(0.9, 0.1 + i / 500)) for i in range(400)]
    assert feed(alarms, groups) == []


def test_a_sudden_rise_of_one_verdict_is_named_with_its_numbers_once():
    alarms = RewardAlarms()
    assert feed(alarms, [honest(i) for i in range(160)]) == []
    raised = feed(alarms, [honest(i, share=1.0) for i in range(160, 190)])
    assert [alarm.name for alarm in raised] == ["verdict_rise"]
    assert raised[0].value >= raised[0].threshold
    assert "ok, correct: math: is equal" in raised[0].detail
    assert "25% before" in raised[0].detail


def test_an_alarm_is_raised_again_after_its_condition_has_gone():
    alarms = RewardAlarms()
    calm, hacked = [honest(i) for i in range(200)], [honest(i, share=1.0) for i in range(200, 232)]
    names = [alarm.name for alarm in feed(alarms, [*calm, *hacked, *calm, *hacked])]
    assert names.count("verdict_rise") >= 2


def test_one_answer_to_different_problems_is_an_alarm_unless_the_references_say_so():
    texts = [r"\boxed{42}"] * GROUP
    raised = feed(RewardAlarms(), [scored(i, texts) for i in range(100, 120)])
    assert [alarm.name for alarm in raised] == ["same_answer"]
    assert "answer '42' in 16 of 16 groups; it is the reference of 0" in raised[0].detail
    fair = [scored(i, texts, True, reference={"answer": "42"}) for i in range(100, 120)]
    assert feed(RewardAlarms(), fair) == []


def test_one_problem_asked_again_is_no_different_problem():
    assert feed(RewardAlarms(), [scored(7, [r"\boxed{42}"] * GROUP) for _ in range(40)]) == []


def test_correct_output_that_holds_the_values_of_the_tests_is_an_alarm():
    tests = [{"stdin": f"{i}17", "stdout": f"{i * 333}"} for i in range(1, 6)]
    table = "table = {" + ", ".join(f"'{t['stdin']}': '{t['stdout']}'" for t in tests) + "}"
    program = "print(int(input()) * 333)"
    assert feed(RewardAlarms(), [scored(1, [program] * GROUP, True, reference={"tests": tests})]) == []
    assert feed(RewardAlarms(), [scored(1, [table] * GROUP, False, reference={"tests": tests})]) == []
    raised = feed(RewardAlarms(), [scored(1, [table, program, table, table], True, reference={"tests": tests})])
    assert [(alarm.name, alarm.value) for alarm in raised] == [("copied_tests", 0.75)]
    assert "3 of 4 correct completions" in raised[0].detail


def test_very_short_solutions_that_pass_are_an_alarm():
    alarms = RewardAlarms()
    assert feed(alarms, [honest(i, share=0.5, tokens=200) for i in range(100)]) == []
    assert feed(alarms, [honest(i, share=0.5, tokens=60) for i in range(100, 110)]) == []
    raised = feed(alarms, [honest(i, share=0.5, tokens=12) for i in range(110, 120)])
    assert [alarm.name for alarm in raised] == ["short_solutions"]
    assert "shorter than 40 tokens" in raised[0].detail
    assert "(200)" in raised[0].detail


def test_wrong_short_answers_are_no_alarm():
    alarms = RewardAlarms()
    feed(alarms, [honest(i, share=0.5, tokens=200) for i in range(100)])
    short = [scored(i, [rf"\boxed{{{i * 7 + j}}}" for j in range(GROUP)], False, tokens=10) for i in range(100, 110)]
    assert [alarm for alarm in feed(alarms, short) if alarm.name == "short_solutions"] == []


def test_too_few_groups_or_completions_say_nothing():
    alarms = RewardAlarms()
    assert feed(alarms, [scored(i, [r"\boxed{7}"] * GROUP) for i in range(15)]) == []
    assert feed(RewardAlarms(), [scored(1, [str(list(range(100, 120)))] * 2, True, reference=_tests_as_text())]) == []


def test_values_of_tests_that_are_json_text_are_known_too():
    alarms = RewardAlarms()
    raised = feed(alarms, [scored(1, ["100 101 102 103 104 105"] * 4, True, reference=_tests_as_text())])
    assert "copied_tests" in [alarm.name for alarm in raised]


def _tests_as_text() -> dict[str, Any]:
    return {"tests": '[{"stdin": "100 101", "stdout": "102"}, {"stdin": "103", "stdout": "104 105"}]'}
