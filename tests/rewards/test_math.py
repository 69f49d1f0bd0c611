import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rewards.math import MathReward, gold_choice, gold_text, too_large
from rewards.sample import Sample

TIMEOUT_S = 0.4  # of processor time; the clock allows a multiple
# On a machine with nothing else to do; the clock of a busy one is no measure of the verifier.
WITHIN_S = 5.0 * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
pytestmark = [pytest.mark.unit, pytest.mark.asyncio(loop_scope="module")]
PEER_CASES = Path(__file__).resolve().parents[3] / "shared" / "peer-suites" / "math.jsonl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[MathReward]:
    reward = MathReward(timeout_s=TIMEOUT_S, workers=1)
    await reward.start()
    yield reward
    await reward.close()


@pytest.mark.parametrize("gold", ["12", "$12$", r"\boxed{12}", r"$\boxed{12}$", " 12 ", 12, 12.0])
async def test_the_gold_may_come_in_any_dress(verifier: MathReward, gold: object):
    assert (await verifier.verify(gold, r"so \boxed{12}")).value == 1
    assert (await verifier.verify(gold, r"so \boxed{13}")).value == 0


async def test_gold_and_answer_are_not_exchanged(verifier: MathReward):
    assert (await verifier.verify("2x + z = 1", r"\boxed{1}")).value == 0
    assert (await verifier.verify("1", r"\boxed{2x + z = 1}")).value == 1


async def test_a_sample_is_scored_by_its_reference_and_the_end_of_its_prompt(verifier: MathReward):
    assert (await verifier(Sample("1+1=", r"\boxed{2}", {"answer": "2"}))).value == 1
    thought = Sample("1+1= <think>\n", r"\boxed{2}", {"answer": "2"})
    assert (await verifier(thought)).detail == "no final answer"


async def test_a_choice_is_judged_by_its_letter(verifier: MathReward):
    for response in (
        r"\boxed{D}",
        r"\boxed{\text{(D)}}",
        r"\boxed{(D) Alina}",
        "I think it is D",
        "<answer>d</answer>",
    ):
        expected = 0 if "d</a" in response else 1  # a small letter is a symbol
        assert (await verifier.verify("(D) Alina", response)).value == expected, response
    assert (await verifier.verify("(D) Alina", r"\boxed{C}")).value == 0


@pytest.mark.parametrize("gold", [None, True, [], {}, "", "  "])
async def test_a_bad_reference_is_an_error_and_not_a_zero(verifier: MathReward, gold: object):
    with pytest.raises(ValueError, match="gold answer"):
        await verifier.verify(gold, r"\boxed{1}")


@pytest.mark.parametrize(
    "answer",
    [
        r"9^{9^{9^9}}",
        r"(3^{99999})!",
        r"(x+y+z)^{3000}",
        "1e999999999",
        "2^{-10000000}",
        "999999999!",
        "5!!!!",
        "9" * 100_000,
        "(" * 5_000 + ")" * 5_000,
        "(" * 39 + "1" + ")" * 39 + "+1",
        "x" * 1_500,
        r"\frac{1}{" * 30 + "x" + "}" * 30,
        "NaN",
        "٥",
        r"\infty",
        "__import__('os').system('true')",
        "\x00\ud7ff",
        "{" * 30,
    ],
)
async def test_a_hostile_answer_scores_zero_within_bounds(verifier: MathReward, answer: str):
    started = time.perf_counter()
    assert (await verifier.verify("5", rf"\boxed{{{answer}}}")).value == 0
    assert time.perf_counter() - started < WITHIN_S
    assert (await verifier.verify("a^2-b^2", r"\boxed{(a-b)(a+b)}")).value == 1


async def test_a_timeout_is_the_answers_doing_and_is_paid_once(verifier: MathReward):
    bomb = r"\boxed{7^{7^{7^{77}}}}"
    first = await verifier.verify("5", bomb)
    assert first.value == 0
    assert "verifier timed out" in first.detail
    started = time.perf_counter()
    assert await verifier.verify("5", bomb) == first
    assert time.perf_counter() - started < 0.1


async def test_equal_answers_at_once_share_one_comparison(verifier: MathReward):
    started = time.perf_counter()
    scores = await asyncio.gather(*(verifier.verify("5", r"\boxed{8^{8^{8^{88}}}}") for _ in range(8)))
    assert {score.value for score in scores} == {0.0}
    assert time.perf_counter() - started < WITHIN_S


async def test_agreement_with_the_cases_of_peers_is_above_97_percent():
    if not PEER_CASES.exists():
        pytest.skip(f"the peers' cases are not on this machine ({PEER_CASES})")
    rows = [json.loads(line) for line in PEER_CASES.read_text().splitlines()]
    responses = [row["pred"] if row["kind"] == "response" else rf"\boxed{{{row['pred']}}}" for row in rows]
    patient = MathReward(timeout_s=5.0, workers=1)
    await patient.start()
    try:
        scores = [await patient.verify(row["gold"], response) for row, response in zip(rows, responses, strict=True)]
    finally:
        await patient.close()
    wrong = [
        (row["source"], row["gold"], score.detail)
        for row, score in zip(rows, scores, strict=True)
        if (score.value == 1) != row["expected"]
    ]
    assert len(wrong) < 0.03 * len(rows), wrong


async def test_size_caps_name_what_is_too_large():
    assert too_large(r"\frac{1}{2}") is None
    assert too_large("2^{2025}") is None
    assert "longer" in (too_large("x+" * 2000) or "")
    assert "nested" in (too_large("(" * 50) or "")
    assert "digits" in (too_large("1" * 1500) or "")
    assert "exponent" in (too_large("1e-99999999") or "")


async def test_references():
    assert gold_text(r"thus \boxed{3}") == "3"
    assert gold_text("48 / 2 = 24.\n#### 24") == "24"
    assert gold_choice("(C) Paris") == ("C", "Paris")
    assert gold_choice(r"\text{C}") == ("C", "")
    assert gold_choice("C = 3") is None
    assert gold_choice("42") is None
