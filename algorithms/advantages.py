"""Advantages: how much better a completion was than its group.

In: the rewards of each group, NaN where a completion has none (a verifier or the infrastructure failed). Out: one
advantage per completion; a completion without reward takes part in no statistic and gets 0. A group whose rewards are
all equal says nothing: its advantages are exactly 0, decided by equality and never by a small deviation.

Shapes: G completions of a group, V completions of it that have a reward.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

EPSILON = 1e-6


def grpo(rewards_V: Float64Array) -> Float64Array:
    """A_i = (r_i - mean(r)) / (std(r) + 1e-6), std over the group itself (divisor V). GRPO, arXiv 2402.03300."""
    return (rewards_V - rewards_V.mean()) / (rewards_V.std() + EPSILON)


def dr_grpo(rewards_V: Float64Array) -> Float64Array:
    """A_i = r_i - mean(r). Without the deviation, easy and hard problems weigh the same. Dr. GRPO, arXiv 2503.20783."""
    return rewards_V - rewards_V.mean()


def rloo(rewards_V: Float64Array) -> Float64Array:
    """A_i = r_i - mean of the other rewards: an unbiased baseline. RLOO, arXiv 2402.14740."""
    others_V = (rewards_V.sum() - rewards_V) / (len(rewards_V) - 1)
    return rewards_V - others_V


def maxrl(rewards_V: Float64Array) -> Float64Array:
    """A_i = (r_i - mean(r)) / mean(r), and 0 where the mean is not positive. MaxRL, arXiv 2602.02710.

    With rewards of 0 and 1, the mean over the group of A_i times the score (gradient of the log-probability) is the
    mean score of the correct completions minus that of all: an estimate of the gradient of log p(correct), truncated
    at order V of its expansion in pass@k. Made for rewards that are not negative.
    """
    mean = rewards_V.mean()
    return (rewards_V - mean) / mean if mean > 0 else np.zeros_like(rewards_V)


# REINFORCE++ with baseline, arXiv 2501.03262: A_i = (r_i - mean(r)) / (std over all groups of r - mean(r) + 1e-6).
# The group's part is that of dr_grpo; `compute_advantages` divides by the deviation of the whole batch.
_GROUP_ESTIMATORS: dict[str, Callable[[Float64Array], Float64Array]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp_baseline": dr_grpo,
    "maxrl": maxrl,
}


def compute_advantages(kind: str, rewards: Sequence[NDArray[np.floating]]) -> list[Float64Array]:
    """Advantages [G] of each group from its rewards [G] (NaN: none), in the order given.

    `kind` is one of `grpo`, `dr_grpo`, `rloo`, `reinforce_pp_baseline`, `maxrl`. Raises ValueError for another kind
    and for an infinite reward.
    """
    if kind not in _GROUP_ESTIMATORS:
        raise ValueError(f"advantage {kind!r} is unknown; use one of {', '.join(_GROUP_ESTIMATORS)}")
    advantages = [_of_group(_GROUP_ESTIMATORS[kind], np.asarray(rewards_G, dtype=np.float64)) for rewards_G in rewards]
    if kind == "reinforce_pp_baseline" and advantages:
        valid = np.concatenate([a[~np.isnan(r)] for a, r in zip(advantages, rewards, strict=True)])
        deviation = valid.std() if len(valid) else 0.0
        return [advantages_G / (deviation + EPSILON) for advantages_G in advantages]
    return advantages


def reverse_kl(
    behaviour: Sequence[NDArray[np.float32]], teacher: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """[T] advantages of the tokens of each completion: A_t = log p_teacher(y_t) - log p_behaviour(y_t).

    On-policy distillation (GKD with lambda 1, arXiv 2306.13649; MiniLLM, arXiv 2306.08543): sampled from the student,
    the mean of -A_t over its tokens is KL(student || teacher), and a policy gradient with A_t follows that divergence's
    gradient token by token, each token's own term alone (a discount of 0). Raises ValueError when a completion has no
    teacher's logprobs.
    """
    return [ours - theirs for theirs, ours in zip(behaviour, teacher, strict=True)]


def _of_group(estimator: Callable[[Float64Array], Float64Array], rewards_G: Float64Array) -> Float64Array:
    if np.isinf(rewards_G).any():
        raise ValueError(f"rewards {rewards_G.tolist()} are not finite; a reward without a value is NaN")
    valid_G = ~np.isnan(rewards_G)
    rewards_V = rewards_G[valid_G]
    advantages_G = np.zeros_like(rewards_G)
    if len(rewards_V) and (rewards_V != rewards_V[0]).any():
        advantages_G[valid_G] = estimator(rewards_V)
    return advantages_G
