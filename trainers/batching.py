"""From scored groups to what the learner trains on. Pure, vectorised over the tokens of the whole step.

Legend: G completions of a group, T tokens of a completion, N tokens of all completions of the step, C completions.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from algorithms.advantages import compute_advantages, reverse_kl
from algorithms.aggregation import loss_weights
from algorithms.staleness import fresh_mask
from configs.algorithm import Algorithm
from data.records import FloatArray, ScoredGroup, Sequence

Judgement = Literal["trainable", "no_variance", "invalid"]


@dataclass(frozen=True, slots=True, eq=False)
class StepData:
    """What one optimizer step trains on, and how old it is."""

    sequences: tuple[Sequence, ...]  # completions with at least one trained token
    advantages: dict[int, NDArray[np.float64]]  # group_id -> [G]; 0 where the completion is masked out
    sampled_tokens: int  # of all completions of the groups
    trained_tokens: int  # that contribute gradient
    stale_tokens: int  # masked because they are too old; of valid completions
    staleness_mean: float  # learner version minus token version, over the trained tokens
    staleness_max: int
    trained_length_mean: float  # trained tokens per completion of the step, in tokens

    @property
    def has_signal(self) -> bool:
        """Whether any token can contribute gradient."""
        return bool(self.sequences)


def valid_mask(scored: ScoredGroup, *, graded: bool = True) -> NDArray[np.bool_]:
    """[G] completions that have at least one token and, where they are `graded`, a score."""
    lengths_G = np.array([len(c.token_ids) for c in scored.group.completions])
    return (np.isfinite(scored.rewards_G) | (not graded)) & (lengths_G > 0)


def judge(scored: ScoredGroup, min_valid_completions: int, *, graded: bool = True) -> Judgement:
    """Whether a group can teach: enough valid completions, and rewards that are not all (exactly) equal.

    Where nothing hangs on rewards, one completion with a token is enough.
    """
    valid_G = valid_mask(scored, graded=graded)
    if not graded:
        return "trainable" if valid_G.any() else "invalid"
    rewards_V = scored.rewards_G[valid_G]
    if len(rewards_V) < min_valid_completions or not len(rewards_V):
        return "invalid"
    return "no_variance" if bool((rewards_V == rewards_V[0]).all()) else "trainable"


def oldest_version(scored: ScoredGroup, *, graded: bool = True) -> int:
    """Version of the oldest token among the valid completions of a group that is not invalid."""
    valid_G = valid_mask(scored, graded=graded)
    return min(int(c.versions.min()) for c, valid in zip(scored.group.completions, valid_G, strict=True) if valid)


def unweighted_sequences(groups: Seq[ScoredGroup]) -> list[Sequence]:
    """[C] every completion as a sequence of weight zero: what the reference model needs."""
    return [
        Sequence(scored.group.prompt.token_ids, c.token_ids, np.zeros(len(c.token_ids), dtype=np.float32))
        for scored in groups
        for c in scored.group.completions
    ]


def build_step(
    groups: Seq[ScoredGroup],
    *,
    algorithm: Algorithm,
    version: int,
    max_completion_tokens: int,
    reference_logprobs: Seq[FloatArray] | None = None,
) -> StepData:
    """Advantages, masks and loss weights of a step, for the learner at `version`.

    A token is trained when its completion is valid and the token is at most `max_staleness` versions old, whatever
    `stale_tokens` says: this is the hard bound. Advantages come from all valid rewards of a group; the denominator of
    the loss from the trained tokens of the whole step. `reference_logprobs`: [C] arrays [T], in the order of
    `unweighted_sequences(groups)`.
    """
    completions = [c for scored in groups for c in scored.group.completions]
    prompts = [scored.group.prompt for scored in groups for _ in scored.group.completions]
    if not completions:
        return StepData((), {}, 0, 0, 0, 0.0, 0, 0.0)
    graded = algorithm.advantage != "reverse_kl"
    advantages, advantages_C = _advantages(algorithm.advantage, groups, reference_logprobs)
    valid_C = np.concatenate([valid_mask(scored, graded=graded) for scored in groups])
    lengths_C = np.array([len(c.token_ids) for c in completions])
    versions_N = np.concatenate([c.versions for c in completions])
    valid_N = np.repeat(valid_C, lengths_C)
    fresh_N = fresh_mask(versions_N, version, algorithm.staleness.max_staleness)
    trained_N = valid_N & fresh_N
    if np.isnan(np.concatenate([c.logprobs for c in completions])[trained_N]).any():
        workers = ", ".join(sorted({scored.group.worker for scored in groups}))
        raise ValueError(
            f"a completion sampled by {workers} has no behaviour logprobs (NaN): a policy gradient cannot weigh it; "
            "groups of a teacher behind an endpoint are for supervised training"
        )
    masks = np.split(trained_N, np.cumsum(lengths_C)[:-1])
    weights = loss_weights(algorithm.aggregation, masks, max_completion_tokens=max_completion_tokens)
    sequences = tuple(
        Sequence(
            prompt_ids=prompts[i].token_ids,
            response_ids=completions[i].token_ids,
            loss_weights=weights[i],
            advantage=advantages_C[i],
            behaviour_logprobs=completions[i].logprobs,
            reference_logprobs=None if reference_logprobs is None else reference_logprobs[i],
        )
        for i, mask in enumerate(masks)
        if mask.any()
    )
    ages_N = version - versions_N[trained_N]
    return StepData(
        sequences=sequences,
        advantages={scored.group.group_id: a for scored, a in zip(groups, advantages, strict=True)},
        sampled_tokens=int(lengths_C.sum()),
        trained_tokens=int(trained_N.sum()),
        stale_tokens=int((valid_N & ~fresh_N).sum()),
        staleness_mean=float(ages_N.mean()) if len(ages_N) else 0.0,
        staleness_max=int(ages_N.max()) if len(ages_N) else 0,
        trained_length_mean=float(trained_N.sum() / len(completions)),
    )


def _advantages(
    kind: str, groups: Seq[ScoredGroup], reference_logprobs: Seq[FloatArray] | None
) -> tuple[list[NDArray[np.float64]], list[float | FloatArray]]:
    """[G] of each group, for people, and [C] of each completion: one for all its tokens, or by `reverse_kl` [T]."""
    if kind != "reverse_kl":
        advantages = compute_advantages(kind, [scored.rewards_G for scored in groups])
        return advantages, [float(value) for values_G in advantages for value in values_G]
    behaviour = [c.logprobs for scored in groups for c in scored.group.completions]
    of_tokens = reverse_kl(behaviour, reference_logprobs or ())
    means_C = np.array([float(a.mean()) if len(a) else 0.0 for a in of_tokens])
    ends = np.cumsum([len(scored.group.completions) for scored in groups])[:-1]
    return np.split(means_C, ends), list(of_tokens)
