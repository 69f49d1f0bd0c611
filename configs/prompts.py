"""Where prompts and supervised rows come from. Generators are seeded and have splits that never overlap."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from configs.strict import Section

Split = Literal["train", "held_out"]


class AdditionPrompts(Section):
    """Column addition `676+236:`; held out are the problems with (7919·a + b) mod 11 = 0."""

    type: Literal["addition"] = "addition"
    digits: Annotated[int, Field(ge=1, le=9)] = 3
    """Number of digits of each summand."""
    split: Split = "train"
    """Which side of the split prompts are drawn from."""


class CountdownPrompts(Section):
    """Reach a target with the given numbers (TinyZero's task). Prompt `14=8,2,1:`."""

    type: Literal["countdown"] = "countdown"
    numbers: Annotated[int, Field(ge=2, le=4)] = 3
    """How many numbers a problem gives."""
    max_number: Annotated[int, Field(ge=2, le=99)] = 9
    """Largest given number; the smallest is 1."""
    max_value: Annotated[int, Field(ge=9, le=99)] = 99
    """Largest value of the target and of every intermediate result."""
    order: Literal["given", "any"] = "given"
    """`given`: numbers are used in the order shown. `any`: in any order (TinyZero's rule)."""
    split: Split = "train"
    """Which side of the split prompts are drawn from."""


class ProgramPrompts(Section):
    """Write a program: `+4*3-2:` asks for one that reads x and prints x with these steps done in order."""

    type: Literal["programs"] = "programs"
    steps: Annotated[int, Field(ge=2, le=6)] = 3
    """Number of steps of a problem."""
    split: Split = "train"
    """Which side of the split prompts are drawn from."""


class ReasoningGymPrompts(Section):
    """Problems of one task of the package `reasoning-gym`, an extra; held out are the questions by their hash."""

    type: Literal["reasoning_gym"] = "reasoning_gym"
    task: str
    """Name of the task in the package, such as `leg_counting`."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Settings of the task, such as `max_animals: 5`; without `seed` and `size`."""
    split: Split = "train"
    """Which side of the split prompts are drawn from."""
    system_prompt: str | None = None
    """A system message put before the problem, which should ask for the answer in `<answer>` tags; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the tokenizer's chat template. `raw`: the text as it is."""


class RowPrompts(Section):
    """Prompts from a Parquet or JSONL file. Each row is one problem; columns other than the prompt feed the rewards."""

    type: Literal["rows"] = "rows"
    path: str
    """A `.parquet` or `.jsonl` file."""
    prompt_column: str = "prompt"
    """Column with the problem: a string, or a list of {role, content} messages."""
    reference_columns: tuple[str, ...] = ("answer",)
    """Columns that the rewards need; each must be present in the first rows."""
    system_prompt: str | None = None
    """A system message put before the problem; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the tokenizer's chat template. `raw`: the text as it is."""
    hint: str | None = None
    """The problem with its answer shown, for STaR's hints: a text with `{problem}` and reference columns in braces,
    such as `{problem} (The answer is {answer}. Explain how to get there.)`; None: these problems have no hints."""


Prompts = Annotated[
    AdditionPrompts | CountdownPrompts | ProgramPrompts | ReasoningGymPrompts | RowPrompts, Field(discriminator="type")
]


class AdditionTraces(Section):
    """Answers to column addition written by a program, for the cold start."""

    type: Literal["addition"] = "addition"
    digits: Annotated[int, Field(ge=1, le=9)] = 3
    """Number of digits of each summand."""
    worked_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of answers that write out the carries; the others answer at once."""
    hinted_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of all examples whose prompt shows the answer, `676+236(912):`; their answers always write out the
    carries. For STaR's hints. The share of worked answers is then of the rest."""
    comma_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the columns of worked answers that end in a comma in place of a semicolon, drawn column by column: the
    small stand-in for thoughts that mix two languages."""


class CountdownTraces(Section):
    """Countdown searches written by a program, for the cold start."""

    type: Literal["countdown"] = "countdown"
    numbers: Annotated[int, Field(ge=2, le=4)] = 3
    """How many numbers a problem gives."""
    max_number: Annotated[int, Field(ge=2, le=99)] = 9
    """Largest given number; the smallest is 1."""
    max_value: Annotated[int, Field(ge=9, le=99)] = 99
    """Largest value of the target and of every intermediate result."""
    order: Literal["given", "any"] = "given"
    """`given`: numbers are used in the order shown. `any`: in any order (TinyZero's rule)."""
    careful_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of traces that search until they hit the target; the others stop at the first result."""
    hinted_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of all examples whose prompt shows the solution, `5=8,2,1[8-2-1]:`; their traces always search until they
    hit. For STaR's hints. The share of careful traces is then of the rest."""


class ProgramTraces(Section):
    """Programs written by a program, for the cold start."""

    type: Literal["programs"] = "programs"
    steps: Annotated[int, Field(ge=2, le=6)] = 3
    """Number of steps of a problem."""
    nested_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of programs that nest the steps in parentheses; the others leave the order to Python, mostly wrongly."""


class RowTraces(Section):
    """Prompt and response pairs from a Parquet or JSONL file, such as the `rows.parquet` of a rejection run.

    A column that holds lists of whole numbers holds token ids, which are used as they are: nothing is rendered,
    encoded or added, so responses that a model sampled are trained on token by token.
    """

    type: Literal["rows"] = "rows"
    path: str
    """A `.parquet` or `.jsonl` file."""
    prompt_column: str = "prompt"
    """Column with the prompt: a string, a list of {role, content} messages, or its token ids."""
    response_column: str = "response"
    """Column with the response, a string or its token ids (with eos); the loss is on it alone."""
    system_prompt: str | None = None
    """A system message put before the prompt; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the tokenizer's chat template. `raw`: the text as it is."""


PlainTraces = Annotated[AdditionTraces | CountdownTraces | ProgramTraces | RowTraces, Field(discriminator="type")]


class WeightedTraces(Section):
    """One source of a mixture."""

    weight: PositiveFloat
    """Its share of the pairs, relative to the other weights."""
    traces: PlainTraces
    """Where its pairs come from."""


class MixtureTraces(Section):
    """Several sources mixed by weight, such as 600 of reasoning to 200 of knowledge (arXiv 2501.12948, section 2.3.3).

    The next pair is of the source that is furthest behind its share, so the shares hold in every step. An epoch is as
    many pairs as all files have rows together; weights in proportion to the rows pass once over each.
    """

    type: Literal["mixture"] = "mixture"
    sources: Annotated[tuple[WeightedTraces, ...], Field(min_length=2)]
    """The sources."""


Traces = Annotated[
    AdditionTraces | CountdownTraces | ProgramTraces | RowTraces | MixtureTraces, Field(discriminator="type")
]


class AdamW(Section):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""

    type: Literal["adamw"] = "adamw"
    learning_rate: PositiveFloat
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two running means."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay per step, times the learning rate."""


class Muon(Section):
    """Muon for matrices inside the decoder layers, AdamW for embeddings, norms and the head."""

    type: Literal["muon"] = "muon"
    learning_rate: PositiveFloat
    """Peak learning rate of the matrices."""
    adam_learning_rate: PositiveFloat
    """Peak learning rate of everything else."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Momentum of the matrices' update."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's two running means."""
    eps: PositiveFloat = 1e-8
    """AdamW: added to the root of the second moment."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay per step, times the learning rate."""


Optimizer = Annotated[AdamW | Muon, Field(discriminator="type")]


class Schedule(Section):
    """Learning rate over the steps of a stage, as a share of the peak."""

    type: Literal["constant", "cosine", "linear"] = "constant"
    """Shape after the warm-up; cosine and linear end at `final_share`."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of linear rise from zero to the peak."""
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak at the last step of a cosine or linear schedule."""


class HeldOut(Section):
    """Pairs that are not trained on, and whose mean loss per token is measured: `sft/held_out_loss`."""

    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the prompts of `traces` that is kept from training, chosen by a hash of the prompt: all responses of a
    prompt are on one side. For sources that are files."""
    traces: Traces | None = None
    """A source of its own, in place of a share."""
    sequences: PositiveInt = 256
    """Pairs that are measured, at most."""
    every_steps: Annotated[int, Field(ge=0)] = 0
    """Measured after so many steps, and always before the first and after the last; 0: only then."""


class Supervision(Section):
    """How pairs of prompt and response are trained on: cross-entropy on the response tokens, packed and masked."""

    steps: PositiveInt | None = None
    """Optimizer steps; in their place `epochs` may be given."""
    epochs: PositiveFloat | None = None
    """Passes over all rows, for sources that are files; the steps follow from their number."""
    sequences_per_step: PositiveInt
    """Prompt and response pairs per optimizer step, over all ranks."""
    optimizer: Optimizer
    """A stage starts with a fresh optimizer state."""
    schedule: Schedule = Schedule(type="cosine", warmup_steps=20)
    """Learning rate over the stage."""
    held_out: HeldOut | None = None
    """Loss on pairs that are not trained on; null: not measured."""


class SftStage(Supervision):
    """One supervised stage."""

    traces: Traces
    """Where prompt and response pairs come from."""
