"""Problems of `reasoning-gym`, judged by the package's own scorers in processes of their own.

Nine of the scorers give the answer to `eval` or to sympy's parser, which does the same. So they run in
`rewards/gym_worker.py`: one process for each answer, behind walls, and with an `eval` that knows arithmetic only.
An answer that makes a scorer raise, hang or run out of memory scores 0.
"""

import os
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from data.reasoning_gym import read_entry
from rewards.answer import last_tagged, outside_thinking
from rewards.countdown import countdown
from rewards.sample import Sample, Score
from rewards.verifier_pool import VerifierDied, VerifierPool, VerifierTimeout

MAX_ANSWER_CHARACTERS = 20_000
_COMPLEX = re.compile(r"[-+0-9.eij ()]{1,100}")
_PROBABILITY = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?|[0-9]{1,20} ?/ ?[0-9]{1,20}")


class ReasoningGymReward:
    """The reward with its processes. `start` before use, `close` after; both in the event loop of the calls."""

    def __init__(self, timeout_s: float, workers: int | None = None) -> None:
        self._pool = VerifierPool(
            workers or len(os.sched_getaffinity(0)), timeout_s, memory_mib=2048, module="rewards.gym_worker"
        )

    async def start(self) -> None:
        """Start the processes. Raises VerifierUnavailable: without the package, or where a wall does not hold."""
        await self._pool.start()

    async def close(self) -> None:
        """End the processes."""
        await self._pool.close()

    async def __call__(self, sample: Sample) -> Score:
        """Score the last `<answer>`. Raises ValueError (bad reference), RuntimeError or VerifierUnavailable."""
        reference = sample.reference
        task = _text(reference, "task")
        visible = outside_thinking(sample.response, sample.prompt.rstrip().endswith("<think>"))
        tagged = last_tagged(visible)
        if tagged is None:
            return Score(0.0, "no answer tag")
        answer = tagged.strip()
        if len(answer) > MAX_ANSWER_CHARACTERS:
            return Score(0.0, f"answer is longer than {MAX_ANSWER_CHARACTERS} characters")
        held = _held_tighter(task, answer, reference)
        if held is not None:
            return held
        try:
            options: Any = reference.get("options") or {}
            question = {"task": task, "options": options, "entry": _text(reference, "entry"), "answer": answer}
            reply = await self._pool.ask(question)
        except VerifierTimeout as error:
            return Score(0.0, f"the scorer timed out ({error})")
        except VerifierDied as error:
            return Score(0.0, f"the scorer broke on the answer ({error})")
        return Score(float(reply["score"]))


def _held_tighter(task: str, answer: str, reference: Mapping[str, Any]) -> Score | None:
    """The verdict on tasks whose scorers take what is no answer for a right one; None for all others.

    `pi/pi` and any four numbers make 24 and other targets, `nan` is as near as any complex number wants, `0` begins
    like every probability, and no text is False.
    """
    match task:
        case "countdown" | "puzzle24":
            metadata = read_entry(_text(reference, "entry"))["metadata"]
            numbers = {"numbers": metadata["numbers"], "target": metadata.get("target", 24)}
            return countdown(Sample("", f"<answer>{answer}</answer>", numbers))
        case "complex_arithmetic" if not _COMPLEX.fullmatch(answer):
            return Score(0.0, "not a complex number")
        case "game_of_life_halting":
            return Score(float(answer.lower() == _text(reference, "answer").lower()))
        case "coin_flip":
            right = Fraction(_text(reference, "answer"))
            try:
                given = Fraction(answer.replace(" ", "")) if _PROBABILITY.fullmatch(answer) else None
            except ZeroDivisionError:
                given = None
            near = given is not None and abs(given - right) <= min(Fraction(1, 10_000), right / 100)
            return Score(float(near))
        case _:
            return None


def _text(reference: Mapping[str, Any], key: str) -> str:
    value = reference.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is {value!r}; this reward scores problems of prompts of type reasoning_gym")
    return value
