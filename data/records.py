"""The records that flow from prompt to gradient. All are frozen; arrays are never written to after construction.

Prompt -> GroupRequest -> Group (of Completions) -> ScoredGroup (with Verdicts) -> Batch (of Sequences)

Shapes: P tokens of a prompt, T tokens of a completion, G completions of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.divergence import Divergence

Int32Array = NDArray[np.int32]
FloatArray = NDArray[np.float32]

Outcome = Literal["ok", "verifier_error", "infra_error", "ungraded"]  # ungraded: no reward was asked for
FinishReason = Literal["stop", "length"]
Objective = Literal["policy", "cross_entropy", "binary_cross_entropy", "bradley_terry", "distillation"]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One problem, rendered and tokenized once. Example: id "addition:676+236", text "676+236:"."""

    prompt_id: str  # names the problem; the same problem has the same id in every run
    token_ids: Int32Array  # [P], as the engine gets them (with bos where the tokenizer wants one)
    text: str  # for people and rewards; never encoded again
    reference: Mapping[str, Any]  # what rewards need, such as {"answer": "912"}; never shown to the policy


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are sampled. No top-p, top-k or min-p: the learner could not renormalise them."""

    temperature: float  # 0 is greedy (evaluation only)
    max_completion_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class GroupRequest:
    """Sample `group_size` completions of one prompt. Made by the loop at admission, consumed by the fleet."""

    group_id: int  # unique in the run, in order of admission
    prompt: Prompt
    group_size: int
    sampling: Sampling
    seed: int  # of the group; sample i uses seed + i


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What the policy wrote. The stop token, when there is one, is its last token."""

    token_ids: Int32Array  # [T]
    logprobs: (
        FloatArray  # [T] behaviour logprobs, of the distribution sampled from (after the temperature); NaN: unknown
    )
    versions: Int32Array  # [T] version of the weights that sampled each token; -1: not the policy's
    text: str  # decoded without special tokens that the tokenizer marks as such
    finish_reason: FinishReason  # "length": cut at max_completion_tokens


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """All completions of one request, in order of sample index."""

    group_id: int
    prompt: Prompt
    completions: tuple[Completion, ...]  # [G]
    worker: str  # name of the rollout worker
    generate_s: float  # from the request's arrival at the worker to its last token

    @property
    def oldest_version(self) -> int:
        """Version of the oldest token of the group."""
        return min(int(c.versions.min()) for c in self.completions if len(c.versions))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rubric says of one completion."""

    outcome: Outcome
    score: float | None  # weighted sum of the parts; None unless outcome is "ok"
    correct: bool  # the rubric's first part gave full score; False unless outcome is "ok"
    parts: Mapping[str, float] = field(default_factory=dict[str, float])  # score of each part before its weight
    detail: str = ""  # why, in a few words; the error's text when outcome is not "ok"
    run_s: float = 0.0  # time in the verifier


@dataclass(frozen=True, slots=True, eq=False)
class ScoredGroup:
    """A group with one verdict per completion. Made by the reward service, consumed by the batcher and the store."""

    group: Group
    verdicts: tuple[Verdict, ...]  # [G]
    queue_s: float  # wait before the first verifier ran
    reward_s: float  # from arrival at the service to the last verdict

    @property
    def rewards_G(self) -> NDArray[np.float64]:
        """[G] scores; NaN where there is none (infrastructure or verifier error)."""
        return np.array([np.nan if v.score is None else v.score for v in self.verdicts], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class TopTokens:
    """A teacher's likeliest K tokens at each position of a response, in falling order."""

    token_ids: Int32Array  # [T, K]
    logprobs: FloatArray  # [T, K + 1] at the divergence's temperature; the last is of all other tokens together


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """One prompt with its response, ready for the learner. Tokens of weight 0 contribute no gradient."""

    prompt_ids: Int32Array  # [P]
    response_ids: Int32Array  # [T]
    loss_weights: FloatArray  # [T] factor of each token's loss; the sum over the step carries the aggregation
    advantage: float | FloatArray = 0.0  # of every token, or [T] of each; of the policy objective alone
    behaviour_logprobs: FloatArray | None = None  # [T]; None for the cross-entropy objective
    reference_logprobs: FloatArray | None = None  # [T]; None without a KL penalty
    labels: FloatArray | None = None  # [T] in [0, 1] where the weight is not 0; None but for binary_cross_entropy
    teacher: TopTokens | None = None  # None but for distillation

    @property
    def num_tokens(self) -> int:
        """Prompt plus response, in tokens."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """The data of one optimizer step, over all ranks. The step's loss is the plain sum of weight times token loss."""

    step: int  # number of this optimizer step within its stage, from 0
    sequences: tuple[Sequence, ...]
    objective: Objective  # bradley_terry: sequences 2k and 2k + 1 are the chosen and the rejected one of pair k
    learning_rate_share: float  # of the optimizer's peak, from the schedule
    temperature: float = 1.0  # that the completions were sampled at; logits are divided by it
    divergence: Divergence | None = None  # None but for distillation; it has a temperature of its own


@dataclass(frozen=True, slots=True)
class StepReport:
    """What an optimizer step did."""

    version: int  # after the step; unchanged when the step was skipped
    skipped: bool  # the gradient was not finite and the weights were left as they were
    metrics: Mapping[str, float]  # see telemetry/metrics.py
    train_s: float


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a weight update did."""

    version: int
    workers: int  # that now hold the version
    sync_s: float  # from the call to the last worker's resumption
    pause_s: float  # longest time that one worker did not sample
    bytes_sent: int  # to each worker
    probe_error: float | None  # largest logprob difference in nats; None when no probe was made
