"""Verdicts per second of the math reward, beside math-verify called in process on the same answers.

Both sides get responses with a boxed answer, as in training: most answers are numbers, some take algebra, and some
come more than once in a group. The baseline parses the reference and the response and compares them with its own
defaults, without timeouts, in one process; ours has all its isolation, on one verifier process. The reward is
measured twice: every answer new, and with the repeats of a group (16 samples, of which a quarter differ). Both begin
each round warm from other problems: what the algebra remembers of the round before would make no answer new.
"""

import asyncio
import contextlib
import io
import logging
import time
from collections.abc import Callable, Sequence

from math_verify import parse, verify
from sympy.core.cache import clear_cache

from benchmarks.rows import Row
from rewards.math import MathReward

GROUP = 16
DISTINCT = 4
ROUNDS = 3
PROBLEMS = 60


def problems(count: int, first: int = 2) -> list[tuple[str, list[str]]]:
    """(reference, [DISTINCT] answers): two thirds numbers, the others fractions, roots, polynomials and intervals."""
    forms: tuple[Callable[[int], tuple[str, list[str]]], ...] = (
        lambda n: (f"{n}", [f"{n}", f"{n + 1}", f"{n}.0", f"{n - 1}"]),
        lambda n: (f"{n}", [f"x = {n}", f"{n}\\text{{ cm}}", f"{2 * n}", f"\\frac{{{2 * n}}}{{2}}"]),
        lambda n: (f"\\frac{{{n}}}{{7}}", [f"{n}/7", f"\\frac{{{2 * n}}}{{14}}", f"{n}", f"\\dfrac{{7}}{{{n}}}"]),
        lambda n: (f"{n}", [f"{n}%", f"{n}.5", f"-{n}", f"{n},000"]),
        lambda n: (f"{n}\\sqrt{{2}}", [f"\\sqrt{{{2 * n * n}}}", f"{n}\\sqrt{{3}}", f"{n}", f"\\sqrt{{2}}\\cdot {n}"]),
        lambda n: (f"x^2-{n}x", [f"x(x-{n})", f"x^2+{n}x", f"-{n}x+x^2", f"(x-{n})^2"]),
    )
    return [forms[index % len(forms)](first + index) for index in range(count)]


def _responses(answers: Sequence[str], repeats: int) -> list[str]:
    return [f"Some steps lead to the result, {i}. So it is $\\boxed{{{a}}}$." for i in range(repeats) for a in answers]


def _peer_per_s(work: Sequence[tuple[str, str]]) -> float:
    started = time.perf_counter()
    for gold, response in work:
        verify(parse(f"${gold}$", parsing_timeout=0), parse(response, parsing_timeout=0), timeout_seconds=0)
    return len(work) / (time.perf_counter() - started)


async def _reward_per_s(work: Sequence[tuple[str, str]]) -> float:
    # Its processes compare a few pairs before they say that they are ready (rewards/verifier_worker.py).
    reward = MathReward(timeout_s=5.0, workers=1)
    await reward.start()
    try:
        started = time.perf_counter()
        for start in range(0, len(work), GROUP):  # a group is scored side by side, as the rubric does
            await asyncio.gather(*(reward.verify(gold, text) for gold, text in work[start : start + GROUP]))
        return len(work) / (time.perf_counter() - started)
    finally:
        await reward.close()


def measure(quick: bool) -> list[Row]:
    """Fastest of the rounds on each side, one after the other."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    tasks, others = problems(12 if quick else PROBLEMS), problems(12, first=1000)
    rows: list[Row] = []
    for what, repeats in (("every answer new", 1), ("groups of 16 with 4 answers", GROUP // DISTINCT)):
        work = [(gold, text) for gold, answers in tasks for text in _responses(answers, repeats)]
        peer = 0.0
        with contextlib.redirect_stderr(io.StringIO()):
            for _ in range(1 if quick else ROUNDS):
                clear_cache()
                _peer_per_s([(gold, text) for gold, answers in others for text in _responses(answers, 1)])
                peer = max(peer, _peer_per_s(work))
        ours = max(asyncio.run(_reward_per_s(work)) for _ in range(1 if quick else ROUNDS))
        rows.append(
            Row(f"math reward, {what}", ours, "verdicts/s", "math-verify in process, no isolation", peer, target=1.0)
        )
    return rows
