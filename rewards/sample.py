"""What a reward sees and what it says.

A reward is a callable `(Sample) -> Score`, one per file. It raises ValueError when the reference is unusable and
InfrastructureError when the machinery failed; whatever the policy wrote is never an error, only a low score.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.records import FinishReason, Int32Array


class InfrastructureError(RuntimeError):
    """The verifier could not run (not the policy's doing). Retried, then masked; never a score of 0."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion with what is needed to judge it."""

    prompt: str  # the rendered prompt; its end tells which template text is already open
    response: str  # decoded completion
    reference: Mapping[str, Any]  # of the problem, such as {"answer": "912"}; never shown to the policy
    response_tokens: int = 0  # length of the completion
    max_completion_tokens: int = 0  # the limit it was sampled under
    finish_reason: FinishReason = "stop"  # "length": cut at the limit
    prompt_ids: Int32Array | None = field(default=None, compare=False)  # [P] as the engine got them; None: text alone
    response_ids: Int32Array | None = field(default=None, compare=False)  # [T] as they were sampled; None: text alone


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict in [0, 1] with its reason in a few words. Raises ValueError for any other value."""

    value: float
    detail: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and 0.0 <= self.value <= 1.0):
            raise ValueError(f"score {self.value!r}: a reward is a finite number in [0, 1]; scale or clip it")


Reward = Callable[[Sample], Score]
