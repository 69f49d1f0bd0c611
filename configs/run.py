"""A run: what a config file describes. One class per `method`; loading and cross-field rules are in their own files."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from configs.algorithm import Algorithm
from configs.distill import Distillation
from configs.endpoint import TeacherEndpoint
from configs.engines import Cluster, Learner, Reference, Rollout, WeightTransfer
from configs.policy import Policy
from configs.prompts import MixtureTraces, Optimizer, PlainTraces, Prompts, Schedule, SftStage, Traces
from configs.rejection import Rejection
from configs.reward_model import Examples, StepLabelling
from configs.rewards import Rewards
from configs.star import Star
from configs.strict import Section


class Evaluation(Section):
    """Held-out evaluation, by the rollout fleet."""

    prompts: Prompts
    """Held-out problems, in a fixed order."""
    problems: PositiveInt = 512
    """How many problems are tried."""
    samples: PositiveInt = 1
    """Completions per problem; pass@k is reported for powers of two up to it."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Sampling temperature; 0 is greedy."""
    every_steps: NonNegativeInt = 0
    """Also evaluate after so many steps; 0: only before and after."""


class Checkpoints(Section):
    """When the run is saved, and how much is kept."""

    every_steps: NonNegativeInt = 0
    """Save after so many steps; 0: only at the end and on Ctrl-C."""
    keep_last: PositiveInt = 2
    """Complete checkpoints that are kept; older ones are deleted after a new one is whole."""
    export: bool = True
    """Write the policy as a Hugging Face folder into each checkpoint."""


class Tracking(Section):
    """MLflow and the files beside it."""

    mlflow_uri: str | None = None
    """Tracking server; None: an SQLite file in the runs folder."""
    experiment: str = "rayzero"
    """MLflow experiment."""
    sample_rows: NonNegativeInt = 8
    """Completions shown per step in MLflow's table of samples."""
    system_metrics_every_s: PositiveFloat = 10.0
    """Interval of CPU, memory and GPU readings, in seconds."""
    artifact_limit_mib: PositiveInt = 64
    """Checkpoints up to this size are uploaded; of larger ones the path is logged."""


class CommonRun(Section):
    """What every method has."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run, and of its folder."""
    runs_folder: str = "runs"
    """Folder that holds the runs."""
    seed: NonNegativeInt = 0
    """Seed of data order, initial weights and sampling."""
    policy: Policy
    """The model that is trained."""
    learner: Learner = Learner()
    """The DeepSpeed ranks that train it."""
    checkpoints: Checkpoints = Checkpoints()
    """When the run is saved."""
    tracking: Tracking = Tracking()
    """MLflow."""
    cluster: Cluster = Cluster()
    """The Ray cluster."""


class SftRun(CommonRun):
    """Supervised fine-tuning."""

    method: Literal["sft"]
    """Supervised fine-tuning."""
    stages: Annotated[tuple[SftStage, ...], Field(min_length=1)]
    """Supervised stages, one after the other."""
    rollout: Rollout | None = None
    """Engines for the evaluation; needed when `evaluation` is set."""
    rewards: Rewards | None = None
    """Rewards for the evaluation; needed when `evaluation` is set."""
    evaluation: Evaluation | None = None
    """Held-out evaluation before and after; None: none."""
    weight_transfer: WeightTransfer = WeightTransfer()
    """How new weights reach the engines of the evaluation."""


class GrpoRun(CommonRun):
    """Asynchronous GRPO, after an optional cold start."""

    method: Literal["grpo"]
    """Group relative policy optimization."""
    cold_start: tuple[SftStage, ...] = ()
    """Supervised stages before the reinforcement learning."""
    prompts: Prompts
    """Training problems, shuffled and endless."""
    prompts_per_step: PositiveInt
    """Groups per optimizer step; times `rollout.group_size` gives the sequences."""
    steps: PositiveInt
    """Optimizer steps."""
    optimizer: Optimizer
    """Starts fresh after the cold start."""
    schedule: Schedule = Schedule()
    """Learning rate over the steps."""
    rollout: Rollout
    """Sampling and engines."""
    rewards: Rewards
    """Rubric and service."""
    algorithm: Algorithm = Algorithm()
    """Advantages, loss, off-policy correction."""
    reference: Reference = Reference()
    """The frozen reference model; started only when `algorithm.kl` needs it."""
    weight_transfer: WeightTransfer = WeightTransfer()
    """How new weights reach the rollout workers."""
    evaluation: Evaluation | None = None
    """Held-out evaluation before, during and after; None: none."""


class StarRun(CommonRun):
    """STaR, rejection-sampling fine-tuning or expert iteration, after an optional cold start."""

    method: Literal["star"]
    """Self-taught reasoning on verified samples."""
    cold_start: tuple[SftStage, ...] = ()
    """Supervised stages before the first iteration; they must show hinted examples when hints are used."""
    prompts: Prompts
    """Training problems, shuffled and endless."""
    star: Star
    """The iterations."""
    rollout: Rollout
    """Sampling and engines; `group_size` is the number of rationales sampled per problem."""
    rewards: Rewards
    """Rubric and service; the first part decides what is correct."""
    weight_transfer: WeightTransfer = WeightTransfer()
    """How new weights reach the rollout workers."""
    evaluation: Evaluation | None = None
    """Held-out evaluation before the first iteration and after each; None: none."""


class RewardModelRun(CommonRun):
    """A model that scores solutions: whole ones, step by step, or by preference; `examples` say which."""

    method: Literal["reward_model"]
    """The policy's decoder with a head that gives one score; `policy` is where its weights begin."""
    examples: Examples
    """What it learns from."""
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the problems that is kept for the evaluation, with all their solutions."""
    epochs: PositiveFloat = 1.0
    """Passes over the training examples; the optimizer steps follow from their number."""
    examples_per_step: PositiveInt
    """Solutions, or pairs, per optimizer step, over all ranks."""
    optimizer: Optimizer
    """Of the decoder and of the head."""
    schedule: Schedule = Schedule(type="cosine", warmup_steps=20)
    """Learning rate over the steps."""
    evaluate_every_steps: NonNegativeInt = 0
    """Also evaluate after so many steps; 0: only before and after."""

    rollout: ClassVar[None] = None
    rewards: ClassVar[None] = None
    evaluation: ClassVar[None] = None
    cold_start: ClassVar[tuple[SftStage, ...]] = ()
    weight_transfer: ClassVar[WeightTransfer] = WeightTransfer()


class StepLabelsRun(CommonRun):
    """Labels for the steps of solutions, by completing them again and again; nothing is trained."""

    method: Literal["step_labels"]
    """Monte-Carlo labels; `policy` is what completes the steps, and is a folder."""
    step_labels: StepLabelling
    """What is labelled."""
    rollout: Rollout
    """Sampling and engines; `group_size` is the number of completions from each step."""
    rewards: Rewards
    """The first part decides whether a completion is right."""

    evaluation: ClassVar[None] = None
    cold_start: ClassVar[tuple[SftStage, ...]] = ()
    weight_transfer: ClassVar[WeightTransfer] = WeightTransfer()


class RejectionRun(CommonRun):
    """Rejection sampling: a data set of a model's own verified completions; nothing is trained."""

    method: Literal["rejection"]
    """Sample, verify, keep what is right; `policy` is what samples."""
    prompts: Prompts
    """Problems, shuffled."""
    rejection: Rejection
    """What is sampled, and what is kept."""
    rollout: Rollout
    """Sampling and engines; `group_size` is the number of completions sampled per problem."""
    rewards: Rewards | None = None
    """Rubric and service; may be left out with `rejection.accept: all`."""
    teacher: TeacherEndpoint | None = None
    """A model behind an OpenAI-compatible endpoint that samples in place of engines; `policy` is then the student,
    whose tokenizer encodes what the teacher writes. null: `policy` samples."""

    evaluation: ClassVar[None] = None
    cold_start: ClassVar[tuple[SftStage, ...]] = ()
    weight_transfer: ClassVar[WeightTransfer] = WeightTransfer()


class DistillRun(CommonRun):
    """Distillation: `policy` is the student."""

    method: Literal["distill"]
    """A student learns from a teacher."""
    distill: Distillation
    """What is learned, and from whom."""
    rollout: Rollout | None = None
    """The student's engines, for the evaluation and for `on_policy`."""
    rewards: Rewards | None = None
    """Judge the teacher's answers and the evaluation; with `on_policy` they are watched and not trained on."""
    weight_transfer: WeightTransfer = WeightTransfer()
    """How new weights reach the student's engines."""
    evaluation: Evaluation | None = None
    """Held-out evaluation of the student; None: none."""

    cold_start: ClassVar[tuple[SftStage, ...]] = ()


AnyRun = GrpoRun | SftRun | StarRun | RewardModelRun | StepLabelsRun | RejectionRun | DistillRun


def stages_of(run: AnyRun) -> list[tuple[str, SftStage]]:
    """The supervised stages, each with the key that it stands under."""
    name, stages = ("stages", run.stages) if isinstance(run, SftRun) else ("cold_start", run.cold_start)
    return [(f"{name}.{index}", stage) for index, stage in enumerate(stages)]


def sources_of(run: AnyRun) -> list[tuple[str, Prompts | PlainTraces]]:
    """Everything that the run reads or generates, each with the key that it stands under; mixtures part by part."""
    sources: list[tuple[str, Prompts | PlainTraces]] = []
    for name, stage in stages_of(run):
        sources += _parts(f"{name}.traces", stage.traces)
        if stage.held_out and stage.held_out.traces:
            sources += _parts(f"{name}.held_out.traces", stage.held_out.traces)
    if isinstance(run, GrpoRun | StarRun | RejectionRun):
        sources.append(("prompts", run.prompts))
    if run.evaluation:
        sources.append(("evaluation.prompts", run.evaluation.prompts))
    return sources


def plain_parts(traces: Traces) -> tuple[PlainTraces, ...]:
    """The sources of a mixture, or the one source."""
    return tuple(part.traces for part in traces.sources) if isinstance(traces, MixtureTraces) else (traces,)


def _parts(place: str, traces: Traces) -> list[tuple[str, PlainTraces]]:
    if isinstance(traces, MixtureTraces):
        return [(f"{place}.sources.{index}.traces", part.traces) for index, part in enumerate(traces.sources)]
    return [(place, traces)]
