"""What a policy that games the grader would write, beside what any careful grader accepts: `adversarial_math.jsonl`."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rewards.math import MathReward
from rewards.sample import Sample, Score

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("adversarial_math.jsonl").read_text().splitlines()
]
WITHIN_S = 5.0
WORKERS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[MathReward]:
    reward = MathReward(timeout_s=2.0, workers=WORKERS)
    await reward.start()
    yield reward
    await reward.close()


@pytest.mark.parametrize("right", [True, False])
async def test_every_adversarial_case_is_judged_right_and_in_time(verifier: MathReward, right: bool):
    cases = [case for case in CASES if case["right"] is right]
    assert len(cases) >= 500
    turns = asyncio.Semaphore(WORKERS)  # so that no case waits for another and its time is its own

    async def judge(case: dict[str, Any]) -> tuple[Score, float]:
        async with turns:
            started = time.perf_counter()
            score = await verifier(Sample(case.get("prompt", ""), case["response"], {"answer": case["gold"]}))
            return score, time.perf_counter() - started

    judged = await asyncio.gather(*map(judge, cases))
    wrong = [
        (case["gold"], case["response"], score.detail)
        for case, (score, _) in zip(cases, judged, strict=True)
        if (score.value == 1.0) is not right
    ]
    assert wrong == []
    crowding = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
    assert max(seconds for _, seconds in judged) < WITHIN_S * crowding


async def test_an_answer_that_breaks_the_algebra_scores_zero(verifier: MathReward):
    score = await verifier.verify("30", r"\boxed{30 \bmod 31 + 1}")
    assert score.value == 0.0
    assert "TypeError" in score.detail


async def test_a_copy_of_the_question_is_no_answer_but_its_value_is(verifier: MathReward):
    for answer, value in [
        ("676+236", 0.0),
        ("676 + 236", 0.0),
        ("236+676", 0.0),
        (r"\left(236\right)+676", 0.0),
        ("676+236=912", 1.0),
        ("912", 1.0),
        ("900+12", 1.0),
    ]:
        sample = Sample("What is 676+236?", rf"\boxed{{{answer}}}", {"answer": "912"})
        assert (await verifier(sample)).value == value, answer


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\frac{1}{3}", r"\int_0^1 t^2 dt", False),
        (r"\frac{\pi}{4}", r"\int_0^1 \frac{1}{1+t^2} dt", False),
        ("55", r"\sum_{k=1}^{10} k", False),
        ("2", r"\lim_{x \to 1} (x+1)", False),
        (r"\sum_{k=1}^{n} k^2", r"\sum_{k=1}^{n} k^2", True),
        ("120", "5!", True),
    ],
)
async def test_what_is_left_to_be_taken_is_no_answer(verifier: MathReward, gold: str, answer: str, right: bool):
    assert ((await verifier.verify(gold, rf"\boxed{{{answer}}}")).value == 1.0) is right
