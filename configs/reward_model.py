"""What models that score are trained on, and how steps get their labels."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from configs.strict import Section

Separators = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class RolloutExamples(Section):
    """Outcome model: what a run sampled, labelled by its verdicts, right and wrong (V-STaR, arXiv 2402.06457)."""

    type: Literal["rollouts"] = "rollouts"
    path: str
    """Folder of a run. Its `rationales/` are read when it has them (STaR, those without a hint), else its training
    `rollouts/`."""


class _Rendered(Section):
    """Rows with a prompt."""

    path: str
    """A `.parquet` or `.jsonl` file."""
    prompt_column: str = "prompt"
    """Column with the prompt: a string, or a list of {role, content} messages."""
    system_prompt: str | None = None
    """A system message put before the prompt; None adds none."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: render with the tokenizer's chat template. `raw`: the text as it is."""


class LabelledRows(_Rendered):
    """Outcome model: rows with a prompt, a response and a label."""

    type: Literal["labelled"] = "labelled"
    response_column: str = "response"
    """Column with the response."""
    label_column: str = "label"
    """Column that says whether the response is right: true or false, or a number in [0, 1]."""


class PairRows(_Rendered):
    """Preference model: rows with a prompt and two responses, of which one was preferred."""

    type: Literal["pairs"] = "pairs"
    chosen_column: str = "chosen"
    """Column with the response that was preferred."""
    rejected_column: str = "rejected"
    """Column with the other one."""


class StepRows(_Rendered):
    """Process model: rows with a prompt, the steps of a solution and a label for each."""

    type: Literal["steps"] = "steps"
    steps_column: str = "steps"
    """Column with the list of the steps' texts, separators at their ends included; joined they are the response."""
    labels_column: str = "labels"
    """Column with the list of the steps' labels: true or false, a number in [0, 1], or null for a step without one."""
    separators: Separators = ("\n\n",)
    """Texts that end a step; where the model is served, solutions are split at them."""


class StepLabelExamples(Section):
    """Process model: what a run of `method: step_labels` wrote."""

    type: Literal["step_labels"] = "step_labels"
    path: str
    """Folder of that run, or its folder `step_labels`."""
    labels: Literal["hard", "soft"] = "hard"
    """`hard`: 1 when any completion of the step is right. `soft`: the share of them that are."""


Examples = Annotated[
    RolloutExamples | LabelledRows | PairRows | StepRows | StepLabelExamples, Field(discriminator="type")
]


class RolloutSolutions(Section):
    """Solutions that a run sampled in training."""

    type: Literal["rollouts"] = "rollouts"
    path: str
    """Folder of the run."""
    wrong_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of wrong solutions among those that are labelled; None: as they come."""


class RowSolutions(_Rendered):
    """Solutions from a file, with what the rewards need to judge their completions."""

    type: Literal["rows"] = "rows"
    response_column: str = "response"
    """Column with the solution."""
    reference_columns: tuple[str, ...] = ("answer",)
    """Columns that the rewards need."""


Solutions = Annotated[RolloutSolutions | RowSolutions, Field(discriminator="type")]


class StepLabelling(Section):
    """Monte-Carlo labels (Math-Shepherd, arXiv 2312.08935): how often is the right answer reached from each step?"""

    solutions: Solutions
    """What is labelled."""
    most_solutions: PositiveInt | None = None
    """How many solutions at most; None: all."""
    separators: Separators = ("\n\n",)
    """Texts that end a step."""
    min_steps: PositiveInt = 2
    """Solutions of fewer steps are left out: there is nothing to tell apart."""
    solutions_per_file: PositiveInt = 512
    """So many labelled solutions are written at a time."""


class RewardModelOptions(Section):
    """Of `reward_model`."""

    path: str
    """Folder that a run of `method: reward_model` wrote: `runs/NAME/checkpoints/final/reward_model`."""
    aggregation: Literal["min", "product", "last"] = "min"
    """How the steps of a process model become one score; models of whole solutions have one step."""
    cpus: NonNegativeFloat = 0
    """CPUs that Ray reserves for the process that serves the model; also its threads, at least one."""
    gpus: NonNegativeFloat = 0
    """GPUs that Ray reserves for it; 0: it runs on the CPU."""
    tokens_per_batch: PositiveInt = 16384
    """Most tokens, of prompts and responses, that are scored in one forward pass."""
