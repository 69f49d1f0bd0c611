r"""Math answers: extract the one that counts, compare it exactly, and leave algebra to processes that can be killed.

Extraction (`rewards/answer.py`) and exact numbers (`rewards/exact.py`) are decided here, in microseconds; the rest goes
to the pool (`rewards/verifier_pool.py`). An answer that makes the verifier time out or run out of memory scores 0, for
that is the policy's doing; only a verifier that cannot run raises (VerifierUnavailable). Verdicts are cached.
"""

import asyncio
import os
import re
from collections import OrderedDict
from typing import Any

from rewards.answer import choice_letter, final_answer, last_boxed
from rewards.exact import MAX_DIGITS, compare, parse_number
from rewards.notation import plain, without_spaces
from rewards.sample import Sample, Score
from rewards.verifier_pool import VerifierDied, VerifierPool, VerifierTimeout

MAX_ANSWER_CHARACTERS = 2000
MAX_DEPTH = 40
CACHE_SIZE = 16384
MAX_RESTATED_CHARACTERS = 300
MAX_PROMPT_CHARACTERS = 8000
_LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")
_LARGE_EXPONENT = re.compile(r"(?:\^\s*\{?\s*[+-]?\s*|[0-9.][eE][+-]?)[0-9]{8}|[0-9]{6}\s*!|!\s*!\s*!")
_CHOICE = re.compile(r"\(?([A-J])\)?\.?|(?:\(([A-J])\)|([A-J])[.)])\s+(\S.*)", re.DOTALL)
_LIMITS = re.compile(r"\\(?:i{0,3}int|oint|sum|prod|lim)(?![A-Za-z])")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_TO_DO = re.compile(r"(?<=[\w)}\]])[-+*/^=!]|\\(?:times|cdot|div|frac|sqrt|binom|sum|int|lim)(?![A-Za-z])")


def gold_text(answer: object) -> str:
    r"""The reference answer as text, out of its `\boxed{}`. Raises ValueError unless it is a string or a number."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise ValueError(f"answer {answer!r}: the math reward needs the gold answer as a string or a number")
    text = str(answer)
    if not text.strip():
        raise ValueError("answer is empty: the math reward needs the gold answer")
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    return text.rpartition("\n#### ")[2]  # a solution of GSM8K ends so


def gold_choice(gold: str) -> tuple[str, str] | None:
    """(letter, text) of a multiple-choice reference: `C`, `(C)`, `(C) Paris`, `C. Paris`; None for any other."""
    match = _CHOICE.fullmatch(re.sub(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}", r"\1", gold.strip(" $")))
    if match is None:
        return None
    return next(group for group in match.groups()[:3] if group), (match.group(4) or "").strip()


def unsolved(prompt: str, answer: str, gold: str) -> bool:
    r"""Whether an answer with something left to do is made of the question, so that the grader would do the work.

    It stands there as it is (`676+236`, `\sqrt{50}`, `2x=10`), or a number is asked for and all of its numbers stand
    there (`236+676`). An integral, a sum, a product or a limit is left to do wherever it comes from.
    """
    if _LIMITS.search(answer) and not _LIMITS.search(gold):
        return True
    written = without_spaces(plain(answer))
    if len(written) > MAX_RESTATED_CHARACTERS or not _TO_DO.search(written) or parse_number(plain(answer)) is not None:
        return False
    question = without_spaces(plain(prompt[-MAX_PROMPT_CHARACTERS:]))
    before, after = r"(?<![\w^])" if written[0].isalnum() else "", r"(?![\w^])" if written[-1].isalnum() else ""
    if re.search(before + re.escape(written) + after, question) is not None:
        return True
    numbers = _NUMBER.findall(written)
    number_is_asked_for = parse_number(plain(gold)) is not None and "=" not in written
    return number_is_asked_for and len(numbers) > 1 and set(numbers) <= set(_NUMBER.findall(plain(prompt)))


def too_large(answer: str) -> str | None:
    """Why an answer is refused before it is parsed: length, depth, digits, exponents; None when it may be parsed."""
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return f"answer is longer than {MAX_ANSWER_CHARACTERS} characters"
    depth = deepest = 0
    for character in answer:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return f"answer is nested deeper than {MAX_DEPTH}"
    if _LONG_NUMBER.search(answer):
        return f"answer has a number of more than {MAX_DIGITS} digits"
    return "answer has too large an exponent or factorial" if _LARGE_EXPONENT.search(answer) else None


class MathReward:
    """The math reward with its pool. `start` before use, `close` after; both in the event loop of the calls."""

    def __init__(self, timeout_s: float, workers: int | None = None) -> None:
        self._pool = VerifierPool(workers or len(os.sched_getaffinity(0)), timeout_s)
        self._cache: OrderedDict[tuple[str, str], Score] = OrderedDict()
        self._running: dict[tuple[str, str], asyncio.Task[Score]] = {}

    async def start(self) -> None:
        """Start the verifier processes. Raises VerifierUnavailable."""
        await self._pool.start()

    async def close(self) -> None:
        """End the verifier processes and the comparisons that still run."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._pool.close()

    async def __call__(self, sample: Sample) -> Score:
        """Score a sample by `reference["answer"]`. Raises ValueError (bad reference) or VerifierUnavailable."""
        return await self.verify(sample.reference.get("answer"), sample.response, sample.prompt)

    async def verify(self, gold: Any, response: str, prompt: str = "") -> Score:
        """1 when the final answer of `response` equals `gold`. The prompt tells whether it ends inside `<think>`."""
        reference = gold_text(gold)
        choice = gold_choice(reference)
        thinking_open = prompt.rstrip().endswith("<think>")
        answer = final_answer(response, choice=choice is not None, thinking_open=thinking_open)
        if answer is None:
            return Score(0.0, "no final answer")
        if choice is not None:
            if choice_letter(answer.text) == choice[0]:
                return Score(1.0, f"{answer.source} answer is the choice")
            reference = choice[1] or reference
        score = await self._compare(reference.strip(), answer.text.strip())
        if (
            score.value == 1.0
            and compare(reference, answer.text) is not True
            and unsolved(prompt, answer.text, reference)
        ):
            return Score(0.0, f"{answer.source} answer leaves the question to be solved")
        return Score(score.value, f"{answer.source} answer {score.detail}")

    async def _compare(self, gold: str, answer: str) -> Score:
        if gold == answer:
            return Score(1.0, "is equal")
        refusal = too_large(answer)
        if refusal is not None:
            return Score(0.0, f"refused: {refusal}")
        decided = compare(gold, answer)
        if decided is not None:
            return Score(float(decided), "is equal" if decided else "is not equal")
        key = gold, answer
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        # Equal answers of a group share one comparison; a caller that gives up does not end it for the others.
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._compare_in_pool(gold, answer))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _compare_in_pool(self, gold: str, answer: str) -> Score:
        try:
            same = await self._pool.same(gold, answer)
            score = Score(float(same), "is equal" if same else "is not equal")
        except VerifierTimeout as error:
            score = Score(0.0, f"is undecided: verifier timed out ({error})")
        except VerifierDied as error:
            score = Score(0.0, f"is undecided: verifier ran out of bounds ({error})")
        self._cache[gold, answer] = score
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return score
