"""Policy loss and cross-entropy over the response tokens of a packed micro-batch.

The step's loss is the sum of weight times token loss over all micro-batches and ranks; the weights carry the step's
denominator (algorithms/aggregation.py), so nothing here divides by a count. A token of weight 0 gives exactly no
gradient, whatever its logprobs are. Statistics are sums (or maxima), which micro-batches and ranks can merge.

Shapes: R response tokens of a packed micro-batch.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.kl import k3, kl_penalty
from algorithms.off_policy import bounded, correct, out_of_bounds, segment_mean
from configs.algorithm import Algorithm, Gspo, PpoClip


class LossOutput(NamedTuple):
    """The micro-batch's share of the step."""

    loss: Tensor  # scalar with gradient: sum of weight times token loss
    sums: dict[str, Tensor]  # detached float64 scalars; keys that begin with `max_` merge by maximum, others by sum


class _Surrogate(NamedTuple):
    objective_R: Tensor  # to be maximised, with gradient
    clipped_R: Tensor  # bool; the clip changed the token's gradient


def policy_loss(
    algorithm: Algorithm,
    *,
    logprobs_R: Tensor,
    behaviour_R: Tensor,
    advantages_R: Tensor,
    weights_R: Tensor,
    segment_R: Tensor,
    reference_R: Tensor | None = None,
) -> LossOutput:
    """Token loss = correction * (-surrogate + coefficient * KL); the result is its weighted sum.

    `logprobs_R` (with gradient) and `behaviour_R` are in nats at the sampling temperature; `segment_R` (int64,
    sorted) numbers the sequence of each token; `reference_R` is needed when `algorithm.kl` is on (ValueError).

    Each batch has one optimizer step, so the proximal policy of decoupled PPO (arXiv 2505.24298) is the learner's
    own, detached. `ppo_clip` takes its ratio to that (it is 1, and carries the gradient) and is multiplied by the
    correction's weight; with `off_policy: none` its ratio is to the behaviour policy. `gspo` and `cispo` exist to
    bound a ratio to the behaviour policy: theirs always is to it, and of the correction only the masks apply, since
    its weight would count the same ratio twice. The KL has the same factor as the surrogate: for `ppo_clip` that
    makes its mean the one under the learner's policy (arXiv 2512.02556), and a masked token gives no gradient at all.
    """
    if algorithm.kl.type != "none" and reference_R is None:
        raise ValueError(f"algorithm.kl is {algorithm.kl.type!r} but there are no reference logprobs; compute them")
    trained_R = weights_R != 0
    logprobs_R = _trained_only(logprobs_R, trained_R)
    behaviour_R = _trained_only(behaviour_R, trained_R)
    advantages_R = _trained_only(advantages_R, trained_R)
    learner_R = logprobs_R.detach()

    correction = correct(algorithm.off_policy, bounded(learner_R - behaviour_R), trained_R, segment_R)
    decoupled = algorithm.loss.type == "ppo_clip" and algorithm.off_policy.type != "none"
    factor_R = correction.weight_R if decoupled else correction.kept_R.to(learner_R.dtype)
    proximal_R = learner_R if decoupled else behaviour_R
    surrogate = _surrogate(algorithm, logprobs_R, proximal_R, advantages_R, trained_R, segment_R)

    token_loss_R = -surrogate.objective_R
    if reference_R is not None:
        reference_R = _trained_only(reference_R, trained_R)
        if algorithm.kl.type != "none":
            penalty_R = kl_penalty(algorithm.kl.type, logprobs_R, reference_R)
            token_loss_R = token_loss_R + algorithm.kl.coefficient * penalty_R
    loss = (weights_R.to(learner_R.dtype) * factor_R * token_loss_R).sum()

    clipped_R = surrogate.clipped_R | correction.capped_R if decoupled else surrogate.clipped_R
    sums = {
        "loss": loss.detach().double(),
        "tokens": _total(trained_R),
        "clipped_tokens": _total(clipped_R & correction.kept_R & trained_R),
        "masked_tokens": _total(~correction.kept_R & trained_R),
    }
    return LossOutput(loss, sums | _divergences(learner_R, behaviour_R, reference_R, trained_R))


def _divergences(
    learner_R: Tensor, behaviour_R: Tensor, reference_R: Tensor | None, trained_R: Tensor
) -> dict[str, Tensor]:
    """Statistics of how far the learner is from the policy that sampled and from the reference."""
    importance_R = torch.where(trained_R, bounded(learner_R - behaviour_R).double().exp(), 0.0)
    clamped_R = out_of_bounds(learner_R - behaviour_R)
    sums = {
        "mismatch_kl": _total(k3(behaviour_R, learner_R)),
        "importance": _total(importance_R),
        "importance_squared": _total(importance_R.square()),
        "max_ratio": importance_R.amax() if len(importance_R) else _total(importance_R),
    }
    if reference_R is not None:
        sums["kl_reference"] = _total(k3(learner_R, reference_R))
        clamped_R = clamped_R | out_of_bounds(learner_R - reference_R)
    return sums | {"clamped_tokens": _total(clamped_R)}


def _total(values_R: Tensor) -> Tensor:
    return values_R.sum(dtype=torch.float64)


def cross_entropy_loss(logprobs_R: Tensor, weights_R: Tensor) -> LossOutput:
    """Loss = -sum of weight * logprob over the tokens of weight other than 0."""
    trained_R = weights_R != 0
    logprobs_R = _trained_only(logprobs_R, trained_R)
    loss = -(weights_R.to(logprobs_R.dtype) * logprobs_R).sum()
    return LossOutput(loss, {"loss": loss.detach().double(), "tokens": _total(trained_R)})


def merge_sums(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The statistics of several micro-batches as one: maxima of the keys `max_…`, sums of the others."""
    merged: dict[str, Tensor] = {}
    for sums in parts:
        for key, value in sums.items():
            if key not in merged:
                merged[key] = value
            else:
                merged[key] = torch.maximum(merged[key], value) if key.startswith("max_") else merged[key] + value
    return merged


def reduce_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a step from the merged statistics of all its micro-batches and ranks.

    Shares and means are over the trained tokens and are left out when there are none. `train/mismatch_kl` is
    KL(behaviour || learner) in nats per token, `train/ess` the effective sample size (sum w)^2 / (n sum w^2) of the
    untruncated importance weights w, `train/clip_share` the tokens whose gradient was changed by the loss's clip or
    by the cap of the importance weight. `train/accuracy`, of score models alone, is the share of predictions that
    are on the right side.
    """
    metrics = {"train/loss": sums["loss"], "train/tokens": sums["tokens"]}
    tokens = sums["tokens"]
    if sums.get("judged"):
        metrics["train/accuracy"] = sums["right"] / sums["judged"]
    if not tokens or "importance" not in sums:
        return metrics
    metrics["train/mismatch_kl"] = sums["mismatch_kl"] / tokens
    metrics["train/ess"] = min(1.0, sums["importance"] ** 2 / (tokens * sums["importance_squared"]))
    metrics["train/ratio_max"] = sums["max_ratio"]
    metrics["train/clip_share"] = sums["clipped_tokens"] / tokens
    metrics["train/correction_mask_share"] = sums["masked_tokens"] / tokens
    if "kl_reference" in sums:
        metrics["train/kl_reference"] = sums["kl_reference"] / tokens
    return metrics


def _trained_only(values_R: Tensor, trained_R: Tensor) -> Tensor:
    """Values in float32 or wider, 0 at tokens of weight 0: an infinite or NaN value there must not reach a product."""
    if values_R.dtype != torch.float64:
        values_R = values_R.float()
    return torch.where(trained_R, values_R, 0.0)


def _surrogate(
    algorithm: Algorithm,
    logprobs_R: Tensor,
    proximal_R: Tensor,
    advantages_R: Tensor,
    trained_R: Tensor,
    segment_R: Tensor,
) -> _Surrogate:
    """The objective of each token, with r = exp(logprobs - proximal).

    `ppo_clip` (arXiv 1707.06347, 2503.14476): min(r A, clip(r, 1 - low, 1 + high) A).
    `gspo` (arXiv 2507.18071, its token form): the same with r = sg(s) exp(logprob - sg(logprob)), where s is the
    geometric mean of the ratio over the trained tokens of the sequence; with one advantage per sequence its gradient
    is that of the sequence form.
    `cispo` (arXiv 2506.13585): sg(clip(r, 1 - low, 1 + high)) A logprob; no token loses its gradient.
    """
    loss = algorithm.loss
    lowest, highest = 1 - loss.clip_low, 1 + loss.clip_high
    log_ratio_R = bounded(logprobs_R - proximal_R)
    if isinstance(loss, PpoClip):
        ratio_R = log_ratio_R.exp()
    elif isinstance(loss, Gspo):
        log_mean_R = segment_mean(log_ratio_R.detach(), trained_R, segment_R)
        ratio_R = (log_mean_R + logprobs_R - logprobs_R.detach()).exp()
    else:
        ratio_R = log_ratio_R.detach().exp()
        clipped_ratio_R = ratio_R.clamp(lowest, highest)
        return _Surrogate(clipped_ratio_R * advantages_R * logprobs_R, clipped_ratio_R != ratio_R)
    objective_R = torch.minimum(ratio_R * advantages_R, ratio_R.clamp(lowest, highest) * advantages_R)
    clipped_R = ((ratio_R > highest) & (advantages_R > 0)) | ((ratio_R < lowest) & (advantages_R < 0))
    return _Surrogate(objective_R, clipped_R)
