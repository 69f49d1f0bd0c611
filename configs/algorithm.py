"""The maths of GRPO: advantages, loss, aggregation, KL and off-policy correction."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from configs.strict import Section


class PpoClip(Section):
    """Clipped surrogate with an asymmetric range (PPO, arXiv 1707.06347; clip-higher, DAPO, arXiv 2503.14476)."""

    type: Literal["ppo_clip"] = "ppo_clip"
    clip_low: PositiveFloat = 0.2
    """Lower bound of the ratio is 1 - clip_low."""
    clip_high: PositiveFloat = 0.2
    """Upper bound of the ratio is 1 + clip_high."""


class Gspo(Section):
    """Sequence-level ratio with clipping (GSPO, arXiv 2507.18071)."""

    type: Literal["gspo"] = "gspo"
    clip_low: PositiveFloat = 3e-4
    """Lower bound of the sequence ratio is 1 - clip_low."""
    clip_high: PositiveFloat = 4e-4
    """Upper bound of the sequence ratio is 1 + clip_high."""


class Cispo(Section):
    """Clipped importance weight as a constant factor of log-likelihood (CISPO, arXiv 2506.13585)."""

    type: Literal["cispo"] = "cispo"
    clip_low: PositiveFloat = 1.0
    """Lower bound of the detached ratio is 1 - clip_low."""
    clip_high: PositiveFloat = 0.28
    """Upper bound of the detached ratio is 1 + clip_high."""


Loss = Annotated[PpoClip | Gspo | Cispo, Field(discriminator="type")]


def _ppo_clip_unless_named(value: Any) -> Any:
    """So that `loss: {clip_high: 0.28}` alone changes the default loss, as in every other section."""
    return {"type": "ppo_clip", **cast(dict[str, Any], value)} if isinstance(value, dict) else value


class OffPolicy(Section):
    """Correction for the gap between the sampler and the learner, per token or per sequence."""

    type: Literal["truncated", "icepop", "sequence_mask", "none"] = "truncated"
    """`truncated`: the loss ratio is to the learner's own logprobs, times min(learner/behaviour, maximum) (decoupled
    PPO, arXiv 2505.24298, with truncated importance sampling). `icepop`: tokens whose weight leaves [minimum, maximum]
    are masked. `sequence_mask`: whole sequences whose geometric mean weight leaves the range are masked. `none`: the
    loss ratio is to the behaviour logprobs, with no weight."""
    minimum: NonNegativeFloat = 0.5
    """Smallest weight that `icepop` and `sequence_mask` accept."""
    maximum: PositiveFloat = 2.0
    """Largest weight: the cap of `truncated`, the upper edge of the other two."""


class Kl(Section):
    """Penalty for leaving the reference model, added to the loss per token (estimators: Schulman 2020)."""

    type: Literal["none", "k1", "k2", "k3"] = "none"
    """Estimator. `none` needs no reference model."""
    coefficient: NonNegativeFloat = 0.0
    """Factor of the penalty in the loss."""


class Staleness(Section):
    """How old the tokens may be that train the policy."""

    max_staleness: NonNegativeInt = 2
    """Largest learner version minus token version that contributes gradient. 0 makes the loop synchronous."""
    stale_tokens: Literal["mask", "wait", "drop"] = "mask"
    """`mask`: older tokens get no gradient. `wait`: the learner waits while a group in flight would become too old.
    `drop`: groups with an older token are dropped."""


class Filters(Section):
    """Which scored groups train."""

    zero_variance: Literal["keep", "drop", "refill"] = "keep"
    """Groups whose rewards are all equal: keep them, drop them, or drop them and sample others instead (DAPO)."""
    max_refills_per_step: NonNegativeInt = 64
    """At most so many groups are sampled in place of dropped ones in one step; then the step trains on what it has."""
    min_valid_completions: PositiveInt = 2
    """A group with fewer scored completions (after infrastructure errors) is rejected."""


class Algorithm(Section):
    """Everything between rewards and gradient."""

    advantage: Literal["grpo", "dr_grpo", "rloo", "reinforce_pp_baseline", "maxrl", "reverse_kl"] = "grpo"
    """Estimator of the advantage from the rewards of a group. `reverse_kl` takes no reward: the advantage of a token is
    its logprob under the reference model minus the one it was sampled with (on-policy distillation)."""
    loss: Annotated[Loss, BeforeValidator(_ppo_clip_unless_named)] = PpoClip()
    """Policy loss per token."""
    aggregation: Literal["token_mean", "sequence_mean", "constant_length"] = "token_mean"
    """Denominator of the step's loss, computed over the whole step: all trained tokens; each sequence by its own length
    and then the sequences; or `max_completion_tokens` times the sequences (Dr. GRPO, arXiv 2503.20783)."""
    off_policy: OffPolicy = OffPolicy()
    """Correction for stale or mismatched samples."""
    kl: Kl = Kl()
    """Penalty towards the reference model."""
    staleness: Staleness = Staleness()
    """Bound on the age of tokens."""
    filters: Filters = Filters()
    """Which groups train."""
    max_nonfinite_steps: PositiveInt = 3
    """The run fails after so many skipped non-finite steps in a row."""

    @property
    def needs_reference(self) -> bool:
        """Whether a reference model has to score the completions."""
        return self.kl.type != "none" or self.advantage == "reverse_kl"
