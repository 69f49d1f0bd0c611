"""Loss weights: the denominator of a step's loss, spread over its tokens before the step is cut up.

Computed once over the whole step, so that the loss is a plain sum of weight times token loss, whatever the layout of
micro-batches and ranks. A sequence without a trained token (all stale, or without a reward) does not count as one.

Shapes: T tokens of a completion.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


def loss_weights(kind: str, masks: Sequence[BoolArray], *, max_completion_tokens: int) -> list[FloatArray]:
    """Weight [T] of each token's loss; 0 where the mask [T] is False. With no trained token at all, all weights are 0.

    With n the number of sequences that have a trained token and |m_i| the trained tokens of sequence i:
    `token_mean`: 1 / sum_i |m_i| (DAPO, arXiv 2503.14476).
    `sequence_mean`: 1 / (|m_i| n) (GRPO, arXiv 2402.03300).
    `constant_length`: 1 / (max_completion_tokens n) (Dr. GRPO, arXiv 2503.20783).
    Raises ValueError for another kind.
    """
    lengths = [int(mask_T.sum()) for mask_T in masks]
    sequences = sum(length > 0 for length in lengths)
    if kind == "token_mean":
        denominators = [sum(lengths)] * len(masks)
    elif kind == "sequence_mean":
        denominators = [length * sequences for length in lengths]
    elif kind == "constant_length":
        denominators = [max_completion_tokens * sequences] * len(masks)
    else:
        raise ValueError(f"aggregation {kind!r} is unknown; use token_mean, sequence_mean or constant_length")
    # Where the denominator is 0 the mask is all False, so any other divisor gives the same zeros.
    return [
        np.asarray(mask_T / max(denominator, 1), dtype=np.float32)
        for mask_T, denominator in zip(masks, denominators, strict=True)
    ]
