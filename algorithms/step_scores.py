"""The score of a solution from those of its steps, each the probability that the solution is right so far."""

import math
from collections.abc import Sequence
from typing import Literal

Aggregation = Literal["min", "product", "last"]


def aggregate(step_scores: Sequence[float], how: Aggregation) -> float:
    """One number in [0, 1]: the weakest step, all steps together, or the last one.

    `min` and `product` are those of arXiv 2305.20050 (appendix F) and 2312.08935; `last` is that of a model which has
    seen the whole solution when it scores the last step. Raises ValueError without steps.
    """
    if not step_scores:
        raise ValueError("a solution without steps has no score; score at least its last token")
    match how:
        case "min":
            return min(step_scores)
        case "product":
            return math.prod(step_scores)
        case "last":
            return step_scores[-1]
