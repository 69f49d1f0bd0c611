"""Off-policy correction: what a token's gradient is worth when another policy than the learner's sampled it.

The importance weight is learner over behaviour probability. Everything here is detached from the graph.

Shapes: R response tokens of a packed micro-batch; `segment_R` numbers the sequence of each token, in order.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from configs.algorithm import OffPolicy

# e^20 is far beyond any ratio that carries information, and its square still fits float32.
LOG_RATIO_LIMIT = 20.0


class Correction(NamedTuple):
    """How the correction treats each token."""

    weight_R: Tensor  # factor of the loss, for a loss whose own ratio is to the learner's logprobs; 0 where masked
    kept_R: Tensor  # bool; False where the correction masks the token
    capped_R: Tensor  # bool; True where the weight is the cap instead of the token's own


def bounded(log_ratio_R: Tensor) -> Tensor:
    """`log_ratio_R` within ±20, so that its exponential is finite. NaN stays NaN."""
    return log_ratio_R.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def out_of_bounds(log_ratio_R: Tensor) -> Tensor:
    """Bool [R]: the tokens that `bounded` changes."""
    return log_ratio_R.abs() > LOG_RATIO_LIMIT


def segment_mean(values_R: Tensor, trained_R: Tensor, segment_R: Tensor) -> Tensor:
    """[R] mean of the values over the trained tokens of the token's sequence; 0 where the sequence has none."""
    # Numbered anew from 0 without gaps: R places are enough, and no length has to come back from the device.
    index_R = torch.zeros_like(segment_R)
    index_R[1:] = (segment_R[1:] != segment_R[:-1]).cumsum(0)
    trained = trained_R.to(values_R.dtype)
    totals = torch.zeros_like(values_R).index_add_(0, index_R, values_R * trained)
    counts = torch.zeros_like(values_R).index_add_(0, index_R, trained)
    return (totals / counts.clamp(min=1)).index_select(0, index_R)


def correct(off_policy: OffPolicy, log_importance_R: Tensor, trained_R: Tensor, segment_R: Tensor) -> Correction:
    """The correction of each token from its log importance weight (bounded, detached; 0 where not trained).

    With w = learner / behaviour probability of the token:
    `truncated`: w capped at `maximum` (TIS, arXiv 2505.24298 and Yao et al. 2025).
    `icepop`: w where `minimum` <= w <= `maximum`, else masked (IcePop, arXiv 2510.18855).
    `sequence_mask`: all tokens of a sequence are masked when the geometric mean of w over its trained tokens leaves
    [`minimum`, `maximum`] (Liu et al. 2025, "When Speed Kills Stability"); the tokens of the others weigh as in
    `truncated`, because one token of a good sequence can still have an extreme weight.
    `none`: 1.
    """
    weight_R = log_importance_R.exp()
    everything_R = torch.ones_like(trained_R)
    if off_policy.type == "none":
        return Correction(torch.ones_like(weight_R), everything_R, ~everything_R)
    if off_policy.type == "icepop":
        kept_R = (weight_R >= off_policy.minimum) & (weight_R <= off_policy.maximum)
        return Correction(weight_R * kept_R, kept_R, ~everything_R)
    kept_R = everything_R
    if off_policy.type == "sequence_mask":
        mean_R = segment_mean(log_importance_R, trained_R, segment_R).exp()
        kept_R = (mean_R >= off_policy.minimum) & (mean_R <= off_policy.maximum)
    capped_R = kept_R & (weight_R > off_policy.maximum)
    return Correction(weight_R.clamp(max=off_policy.maximum) * kept_R, kept_R, capped_R)
