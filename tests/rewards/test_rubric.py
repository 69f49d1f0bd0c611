import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from configs.rewards import RewardPart, Rewards
from data.records import Completion, Group, Prompt
from rewards.rubric import Rubric
from rewards.sample import InfrastructureError, Sample, Score

pytestmark = pytest.mark.unit
RIGHT = "<think>6+6=12</think><answer>912</answer>"
WRONG = "<think>6+6=12</think><answer>911</answer>"
SHAPELESS = "I say <answer>912</answer>"


def rubric(*parts: dict[str, Any], **fields: Any) -> Rubric:
    return Rubric(Rewards(parts=tuple(RewardPart(**part) for part in parts), **fields))


def sample(response: str, tokens: int = 10, reference: dict[str, Any] | None = None) -> Sample:
    return Sample("676+236:", response, reference or {"answer": "912"}, tokens, max_completion_tokens=100)


def group(*texts: str) -> Group:
    ids = np.zeros(4, np.int32)
    prompt = Prompt("addition:676+236", ids, "676+236:", {"answer": "912"})
    completions = tuple(Completion(ids, np.zeros(4, np.float32), ids, text, "stop") for text in texts)
    return Group(0, prompt, completions, "rollout-0", 0.1)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("my_rewards")
    monkeypatch.setitem(sys.modules, "my_rewards", module)
    return module


async def test_the_score_is_the_weighted_sum_and_the_first_part_decides_correctness():
    scored = rubric({"type": "exact_number"}, {"type": "format", "weight": 0.1})
    verdict = await scored.score_completion(sample(RIGHT))
    assert (verdict.outcome, verdict.score, verdict.correct) == ("ok", pytest.approx(1.1), True)
    assert verdict.parts == {"exact_number": 1.0, "format": 1.0}
    verdict = await scored.score_completion(sample(WRONG))
    assert (verdict.score, verdict.correct) == (pytest.approx(0.1), False)
    assert "911" in verdict.detail


@pytest.mark.parametrize(
    ("kind", "parts", "correct"),
    [
        ({"kind": "maths"}, {"exact_number": 1.0}, True),
        ({"kind": "general"}, {"repetition": 1.0, "format": 1.0}, True),
        ({}, {"exact_number": 1.0}, True),
    ],
)
async def test_a_part_scores_the_problems_it_is_for_and_the_first_of_them_decides(
    kind: dict[str, str], parts: dict[str, float], correct: bool
):
    scored = rubric(
        {"type": "exact_number", "only": {"kind": "!general"}},
        {"type": "repetition", "only": {"kind": "general"}},
        {"type": "format", "weight": 0.5, "only": {"kind": "general"}},
    )
    verdict = await scored.score_completion(sample(RIGHT, reference={"answer": "912"} | kind))
    assert (verdict.parts, verdict.correct) == (parts, correct)
    assert verdict.score == sum(value * (0.5 if name == "format" else 1.0) for name, value in parts.items())


async def test_a_problem_that_no_part_is_for_has_no_score():
    verdict = await rubric({"type": "format", "only": {"kind": "x"}}).score_completion(sample(RIGHT))
    assert (verdict.outcome, verdict.score) == ("verifier_error", None)
    assert "no part" in verdict.detail


async def test_a_gate_that_scores_zero_closes_the_whole_reward():
    parts = [{"type": "exact_number"}, {"type": "format", "weight": 0.1}]
    open_verdict = await rubric(*parts).score_completion(sample(SHAPELESS))
    assert open_verdict.score == 1.0
    closed = await rubric(parts[0], {**parts[1], "gate": True}).score_completion(sample(SHAPELESS))
    assert (closed.score, closed.correct) == (0.0, True)
    assert closed.parts == {"exact_number": 1.0, "format": 0.0}


async def test_the_overlong_penalty_is_added_and_shown():
    scored = rubric({"type": "exact_number"}, overlong_buffer_tokens=20)
    assert (await scored.score_completion(sample(RIGHT, tokens=80))).score == 1.0
    late = await scored.score_completion(sample(RIGHT, tokens=95))
    assert late.score == pytest.approx(0.25)
    assert late.parts["overlong"] == pytest.approx(-0.75)
    assert late.correct


async def test_options_reach_the_format_reward():
    scored = rubric({"type": "format", "options": {"prefix": "<think>"}})
    assert (await scored.score_completion(sample("a</think><answer>1</answer>"))).score == 1.0


async def test_an_error_of_a_reward_is_an_outcome_and_never_a_zero(plugins: ModuleType):
    def broken(sample: Sample) -> float:
        raise KeyError("no such column")

    vars(plugins)["broken"] = broken
    verdict = await rubric({"type": "plugin", "plugin": "my_rewards:broken"}).score_completion(sample(RIGHT))
    assert (verdict.outcome, verdict.score, verdict.correct) == ("verifier_error", None, False)
    assert "my_rewards:broken: KeyError" in verdict.detail
    verdict = await rubric({"type": "exact_number"}).score_completion(sample(RIGHT, reference={"answer": "x"}))
    assert verdict.outcome == "verifier_error"


async def test_an_infrastructure_error_has_its_own_outcome(plugins: ModuleType):
    def unreachable(sample: Sample) -> Score:
        raise InfrastructureError("sandbox gone")

    vars(plugins)["unreachable"] = unreachable
    verdict = await rubric({"type": "plugin", "plugin": "my_rewards:unreachable"}).score_completion(sample(RIGHT))
    assert (verdict.outcome, verdict.score) == ("infra_error", None)
    assert "sandbox gone" in verdict.detail


async def test_a_plugin_is_a_part_like_any_other(plugins: ModuleType):
    vars(plugins)["brevity"] = lambda sample, limit: 1 - sample.response_tokens / limit
    part = {"type": "plugin", "plugin": "my_rewards:brevity", "weight": 0.5, "options": {"limit": 40}}
    verdict = await rubric({"type": "exact_number"}, part).score_completion(sample(RIGHT))
    assert verdict.score == pytest.approx(1.0 + 0.5 * 0.75)
    assert verdict.parts["my_rewards:brevity"] == 0.75


async def test_the_cosine_of_the_length_is_told_whether_the_first_part_was_right():
    scored = rubric({"type": "exact_number", "weight": 0.0}, {"type": "cosine_length"})
    right, wrong = [await scored.score_completion(sample(text, tokens=0)) for text in (RIGHT, WRONG)]
    assert (right.score, right.correct) == (1.0, True)
    assert (wrong.score, wrong.correct) == (0.0, False)
    assert right.parts == {"exact_number": 1.0, "cosine_length": 1.0}


async def test_every_record_has_the_score_of_every_part_even_when_a_gate_is_closed():
    kinds = ["exact_number", "format", "language", "repetition", "cosine_length"]
    scored = rubric(*({"type": kind, "gate": kind == "format"} for kind in kinds))
    verdict = await scored.score_completion(sample(SHAPELESS, tokens=0))
    assert verdict.parts == {
        "exact_number": 1.0,
        "format": 0.0,
        "language": 1.0,
        "repetition": 1.0,
        "cosine_length": 1.0,
    }
    assert (verdict.score, verdict.correct) == (0.0, True)


async def test_two_parts_of_one_type_keep_their_own_scores():
    verdict = await rubric(
        {"type": "format"}, {"type": "format", "options": {"prefix": "<think>"}, "weight": 2.0}
    ).score_completion(sample("a</think><answer>1</answer>"))
    assert verdict.parts == {"format": 0.0, "format#2": 1.0}
    assert verdict.score == 2.0


async def test_a_group_has_one_verdict_per_completion_in_order():
    verdicts = await rubric({"type": "exact_number"}).score_group(group(RIGHT, WRONG, RIGHT), 100)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 1.0]


async def test_math_is_scored_in_its_processes():
    scored = rubric({"type": "math"}, verifier_timeout_s=2.0, actors=2)
    await scored.start()
    try:
        verdicts = await scored.score_group(group(r"\boxed{912}", r"\boxed{30^2+12}", r"\boxed{x}"), 100)
    finally:
        await scored.close()
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0, 0.0]


async def test_a_verifier_that_cannot_run_is_an_infrastructure_error(monkeypatch: pytest.MonkeyPatch):
    scored = rubric({"type": "math"}, verifier_timeout_s=1.0, actors=2)
    await scored.start()
    try:
        monkeypatch.setenv("PYTHONHOME", "/nonexistent")
        assert scored._math is not None
        for verifier in scored._math._pool._verifiers:
            await verifier.stop()
        verdict = await scored.score_completion(sample(r"\boxed{30^2+12}"))
    finally:
        await scored.close()
    assert (verdict.outcome, verdict.score) == ("infra_error", None)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "format", "options": {"prefx": "x"}}, "no option 'prefx'; did you mean `prefix`"),
        ({"type": "format", "options": {"prefix": 3}}, "prefix = 3: reward `format`"),
        ({"type": "repetition", "options": {"ngram_words": 0}}, "ngram_words = 0"),
        ({"type": "language", "options": {"language": "xx"}}, "language = 'xx'"),
        ({"type": "cosine_length"}, "cannot be the first part"),
        ({"type": "countdown", "options": {"order": "given"}}, "no option 'order'"),
        ({"type": "plugin"}, "needs plugin"),
        ({"type": "plugin", "plugin": "nowhere_at_all:f"}, "cannot import"),
    ],
)
def test_a_part_that_cannot_be_built_is_refused_at_once(part: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        rubric(part)


async def test_pure_rewards_of_a_group_take_milliseconds():
    scored = rubric({"type": "exact_number"}, {"type": "format", "weight": 0.1})
    completions = group(*[RIGHT, WRONG] * 64)
    times: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        await scored.score_group(completions, 100)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.005
