"""KL divergence from the reference, estimated token by token from sampled logprobs (Schulman 2020).

Tokens come from the policy; with d = log policy - log reference, each estimate's mean is KL(policy || reference),
or close to it (k2). `k3` also serves to monitor two policies that should agree.

Shapes: R response tokens of a packed micro-batch.
"""

from typing import Literal

from torch import Tensor

from algorithms.off_policy import bounded


def k3(logprobs_R: Tensor, other_R: Tensor) -> Tensor:
    """[R] exp(-d) - 1 + d with d = logprobs - other, within ±20: unbiased for tokens of `logprobs`, never negative."""
    log_ratio_R = bounded(other_R - logprobs_R)
    return log_ratio_R.expm1() - log_ratio_R


def kl_penalty(kind: Literal["k1", "k2", "k3"], logprobs_R: Tensor, reference_R: Tensor) -> Tensor:
    """[R] penalty with gradient to `logprobs_R`.

    `k1`: d. Its plain derivative has mean zero (it is the score), so the gradient is d times that of the logprob, as
    if the penalty were part of the reward; this is the gradient of the KL itself (arXiv 2510.01555).
    `k2`: d^2 / 2. The same gradient as `k1`, with a value of less variance.
    `k3`: exp(-d) - 1 + d, as in GRPO (arXiv 2402.03300). Its gradient is that of KL(reference || policy), near the
    reference the same.
    """
    difference_R = logprobs_R - reference_R
    if kind == "k1":
        return difference_R.detach() * (1 + logprobs_R - logprobs_R.detach())
    if kind == "k2":
        return difference_R.square() / 2
    return k3(logprobs_R, reference_R)
