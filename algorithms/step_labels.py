"""Monte-Carlo labels of steps (Math-Shepherd, arXiv 2312.08935, section 3.2): a step is as good as what follows it.

From the prefix that ends with a step the policy completes the solution N times. The soft label is the share of
completions that reach the right answer, the hard label is 1 when any does. Both speak of the policy that completes as
much as of the step: one that repairs a mistake makes it look right, one that cannot finish makes a good step look bad.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepLabel:
    """What the completions from one prefix came to."""

    right: int  # completions that reached the right answer
    completions: int  # completions with a verdict

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.completions:
            raise ValueError(f"{self.right} right of {self.completions} completions is impossible")

    @property
    def soft(self) -> float | None:
        """Share of the completions that are right; None without a verdict."""
        return self.right / self.completions if self.completions else None

    @property
    def hard(self) -> int | None:
        """1 when any completion is right, else 0; None without a verdict."""
        return int(self.right > 0) if self.completions else None


def first_wrong_step(hard_labels: Sequence[int | None]) -> int | None:
    """Index of the first step whose hard label is 0; None when there is none."""
    return next((index for index, label in enumerate(hard_labels) if label == 0), None)
