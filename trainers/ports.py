"""What a loop needs of the world. Ray actors satisfy these structurally; tests use in-memory fakes."""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.prompts import Optimizer
from data.records import (
    Batch,
    FloatArray,
    Group,
    GroupRequest,
    Int32Array,
    Prompt,
    ScoredGroup,
    Sequence,
    StepReport,
    SyncReport,
    TopTokens,
)


class RolloutFailed(RuntimeError):
    """A group could not be sampled: every attempt on every worker failed. The message has the last cause."""

    rollout_failed = True


class RewardFailed(RuntimeError):
    """A group could not be scored within its deadline and retries."""

    reward_failed = True


def is_group_failure(error: Exception) -> bool:
    """Whether the error costs one group (it is recorded and another is sampled) and not the run.

    Actors do not import this file, so their errors are known by an attribute.
    """
    return bool(getattr(error, "rollout_failed", False) or getattr(error, "reward_failed", False))


class PromptStream(Protocol):
    """Training prompts: endless, seeded, with a cursor that goes into checkpoints as JSON."""

    def take(self) -> Prompt: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class HintingPrompts(PromptStream, Protocol):
    """Training prompts that can show their answer."""

    def hinted(self, prompt: Prompt) -> Prompt:
        """The same problem with its answer in the prompt."""
        ...


class PairStream(Protocol):
    """Pairs of prompt and response, without end."""

    def take(self) -> tuple[Int32Array, Int32Array]:
        """The next (prompt_ids [P], response_ids [T]); the response ends in eos."""
        ...


class TraceStream(Protocol):
    """Supervised rows: endless, seeded, with a cursor."""

    @property
    def rows(self) -> int | None:
        """Rows of one epoch; None for a generator."""
        ...

    def take(self) -> tuple[Int32Array, Int32Array]:
        """The next (prompt_ids [P], response_ids [T]); the response ends in eos."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class RolloutSink(Protocol):
    """Keeps every scored group; `data.store.RolloutStore` is one. Called from a thread."""

    def write(
        self,
        step: int,
        groups: Seq[ScoredGroup],
        *,
        advantages: Mapping[int, NDArray[np.float64] | None],
        kind: Literal["train", "eval"],
    ) -> object: ...


class RolloutFleet(Protocol):
    """Samples groups on whatever workers are alive."""

    async def generate(self, request: GroupRequest) -> Group:
        """Raises RolloutFailed (from actors, an error whose `rollout_failed` attribute is true).

        Keeps its own deadline. When the call is cancelled the request is aborted, and the call returns at once.
        """
        ...


class RewardService(Protocol):
    """Scores groups on arrival."""

    async def score(self, group: Group) -> ScoredGroup:
        """Raises RewardFailed (from actors, an error whose `reward_failed` attribute is true). Deadline as above."""
        ...


class Learner(Protocol):
    """The learner group, seen as one object."""

    async def begin(self, optimizer: Optimizer) -> None:
        """Start a stage: fresh optimizer state, same weights."""
        ...

    async def train(self, batch: Batch) -> StepReport:
        """One optimizer step."""
        ...

    async def loss(self, batch: Batch) -> float:
        """The step's loss under the present weights, which stay as they are."""
        ...

    async def save(self, folder: Path, *, export: bool) -> None:
        """Write state (and a Hugging Face folder `policy/` when `export`) into an existing folder."""
        ...

    async def load(self, folder: Path) -> None:
        """Restore what `save` wrote: weights, optimizer, version."""
        ...


class RestartingLearner(Protocol):
    """A learner that can go back to other weights, for loops that fine-tune again and again."""

    async def begin(self, optimizer: Optimizer, *, model: Path | None = None, version: int = 0) -> None:
        """Start a stage: fresh optimizer state, the weights of the folder `model`, or the same weights when None.

        `version`: where the count of optimizer steps goes on.
        """
        ...

    async def train(self, batch: Batch) -> StepReport: ...

    async def export(self, folder: Path) -> None:
        """Write the weights as a Hugging Face folder, which `begin` takes as `model`."""
        ...

    async def save(self, folder: Path, *, export: bool) -> None: ...

    async def load(self, folder: Path) -> None: ...


class ScoringLearner(Protocol):
    """A learner of a model that scores."""

    async def begin(self, optimizer: Optimizer) -> None: ...

    async def train(self, batch: Batch) -> StepReport: ...

    async def scores(self, sequences: Seq[Sequence]) -> list[FloatArray]:
        """[T] of each response: the score, a logit, of the prefix that ends with each token."""
        ...


class Publisher(Protocol):
    """Brings the learner's weights to every rollout worker."""

    async def publish(self, version: int) -> SyncReport: ...


class ReferenceModel(Protocol):
    """The frozen reference of the KL penalty."""

    async def logprobs(self, sequences: Seq[Sequence], temperature: float) -> list[FloatArray]:
        """[T] logprobs of each response."""
        ...


class Teacher(Protocol):
    """A frozen model whose token distribution a student follows."""

    async def top_tokens(self, sequences: Seq[Sequence], top_k: int, temperature: float) -> list[TopTokens]:
        """The likeliest tokens at each position of each response."""
        ...


class Tracker(Protocol):
    """Takes plain values and never blocks or raises."""

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def log_samples(self, step: int, rows: Seq[Mapping[str, Any]]) -> None: ...


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How the run of a pipeline's stage ended."""

    status: Literal["finished", "stopped"]
    figures: Mapping[str, Any]  # the run's summary


class StageRunner(Protocol):
    """Runs the stages of a pipeline, which are whole runs. Raises what a run raises."""

    def claim(self, name: str, *, resume: bool) -> bool:
        """Make the stage's folder ready: empty, or when `resume` as its newest checkpoint needs it, if it has one.

        Returns whether it goes on from a checkpoint.
        """
        ...

    def run(self, name: str) -> StageOutcome:
        """Run the stage whose folder was claimed last, to its end or until a signal stops it."""
        ...
