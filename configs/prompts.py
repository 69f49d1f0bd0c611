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
    """Prompt and response pairs from a Parquet or JSONL file."""

    type: Literal["rows"] = "rows"
    path: str
    """A `.parquet` or `.jsonl` file."""
    prompt_column: str = "prompt"
    """Column with the prompt: a string, or a list of {role, content} messages."""
    response_column: str = "response"
    """Column with the response; the loss is on it alone."""
    system_prompt: str | None = None
    """A system message put before the prompt; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the tokenizer's chat template. `raw`: the text as it is."""


Traces = Annotated[AdditionTraces | CountdownTraces | ProgramTraces | RowTraces, Field(discriminator="type")]


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


class SftStage(Section):
    """One supervised stage: cross-entropy on the response tokens."""

    traces: Traces
    """Where prompt and response pairs come from."""
    steps: PositiveInt
    """Optimizer steps."""
    sequences_per_step: PositiveInt
    """Prompt and response pairs per optimizer step, over all ranks."""
    optimizer: Optimizer
    """A stage starts with a fresh optimizer state."""
    schedule: Schedule = Schedule(type="cosine", warmup_steps=20)
    """Learning rate over the stage."""
