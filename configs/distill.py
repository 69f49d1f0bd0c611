"""Distillation: a student learns from a teacher's answers, from its token distribution, or from its judgement.

| type | sequences are written by | the student follows | papers |
|---|---|---|---|
| hard | the teacher | its tokens, those of right answers | R1 (arXiv 2501.12948, section 2.4), RFT (arXiv 2308.01825) |
| soft | whoever wrote `traces` | its distribution over tokens | Hinton (arXiv 1503.02531), GKD (arXiv 2306.13649) |
| on_policy | the student | its distribution, where the student goes | GKD, MiniLLM (arXiv 2306.08543) |
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from configs.algorithm import Loss, OffPolicy, PpoClip, Staleness
from configs.divergence import Divergence
from configs.engines import Reference, Rollout
from configs.prompts import Optimizer, Prompts, Schedule, SftStage, Supervision, Traces
from configs.rejection import Rejection
from configs.strict import Section


class ScoringTeacher(Reference):
    """A teacher that scores sequences; it shares the student's tokenizer."""

    path: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    """Its Hugging Face folder."""


class SamplingTeacher(Section):
    """A teacher that answers problems now, with engines of its own, before the student's processes start."""

    type: Literal["folder"] = "folder"
    path: str
    """Its Hugging Face folder; it shares the student's tokenizer, as its tokens are trained on as they are."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of its forward pass."""
    prompts: Prompts
    """Problems that it answers."""
    rollout: Rollout
    """Its sampling and engines; `group_size` is the number of answers per problem."""


class RecordedTeacher(Section):
    """Answers that a teacher gave before, whatever its tokenizer: rows of a Parquet or JSONL file."""

    type: Literal["rows"] = "rows"
    path: str
    """A `.parquet` or `.jsonl` file; rows with the same prompt are answers to one problem."""
    prompt_column: str = "prompt"
    """Column with the problem: a string, or a list of {role, content} messages."""
    response_column: str = "response"
    """Column with the answer; one that does not fit into policy.max_model_len counts as cut."""
    reference_columns: tuple[str, ...] = ()
    """Columns that the rewards need."""
    reference_json: str | None = None
    """In their place, one column with all that the rewards need as a JSON object, as rejection runs write it."""
    system_prompt: str | None = None
    """A system message put before the problem; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the student's chat template. `raw`: the text as it is."""


class HardDistillation(Section):
    """Supervised fine-tuning on a teacher's answers, those that the rewards call right."""

    type: Literal["hard"] = "hard"
    teacher: Annotated[SamplingTeacher | RecordedTeacher, Field(discriminator="type")]
    """Who answers."""
    rejection: Rejection
    """Which answers are kept; of a file, `problems` is at most the number of its prompts."""
    tuning: Supervision
    """The student's fine-tuning on them."""


class SoftDistillation(Section):
    """The student follows the teacher's token distribution on given sequences."""

    type: Literal["soft"] = "soft"
    teacher: ScoringTeacher
    """Whose distribution is followed."""
    traces: Traces
    """The sequences, such as the rows of a rejection run of the teacher."""
    divergence: Divergence = Divergence()
    """What is minimised."""
    tuning: Supervision
    """Steps, optimizer, held-out divergence."""


class OnPolicyDistillation(Section):
    """The student samples, and the teacher scores every token: reverse KL as the advantage of GRPO's loop."""

    type: Literal["on_policy"] = "on_policy"
    teacher: ScoringTeacher
    """Whose logprobs reward each token."""
    cold_start: tuple[SftStage, ...] = ()
    """Supervised stages before; a student that writes what the teacher never would learns little."""
    prompts: Prompts
    """Problems, shuffled and endless."""
    prompts_per_step: PositiveInt
    """Groups per optimizer step; times `rollout.group_size` gives the sequences."""
    steps: PositiveInt
    """Optimizer steps."""
    optimizer: Optimizer
    """Starts fresh after the cold start."""
    schedule: Schedule = Schedule()
    """Learning rate over the steps."""
    loss: Loss = PpoClip()
    """Policy loss per token."""
    aggregation: Literal["token_mean", "sequence_mean", "constant_length"] = "token_mean"
    """Denominator of the step's loss, as in `algorithm.aggregation`."""
    off_policy: OffPolicy = OffPolicy()
    """Correction for stale or mismatched samples."""
    staleness: Staleness = Staleness()
    """Bound on the age of tokens."""


Distillation = Annotated[HardDistillation | SoftDistillation | OnPolicyDistillation, Field(discriminator="type")]
