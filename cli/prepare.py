"""What can be refused is refused here, before Ray starts: data, policy, resources, the run's folder."""

import fcntl
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from cli.cluster import joins, local_cpus, local_gpus
from cli.reward_models import check_reward_models
from configs.distill import HardDistillation, RecordedTeacher
from configs.distill_parts import parts_of, student_run, teacher_run
from configs.errors import ConfigError
from configs.load import dump_run
from configs.pipeline import AnyConfig
from configs.policy import FolderPolicy
from configs.prompts import SftStage
from configs.resource_rules import Node, check_resources
from configs.run import AnyRun, DistillRun, GrpoRun, RejectionRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from data.mixture import Pair, PairSource, held_out_pairs, open_traces
from data.prompt_source import PromptSource
from data.recorded_teacher import RecordedAnswers
from data.records import Prompt
from data.scored_examples import ExampleSet, read_examples
from data.solutions import Solution, read_solutions
from data.vocabulary import build_tokenizer
from telemetry.versions import collect_versions
from trainers.checkpoints import newest_complete


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that nothing is known to speak against."""

    run: AnyRun
    folder: Path
    model: Path  # Hugging Face folder of the initial policy
    tokenizer: Any
    prompts: PromptSource | None  # of GRPO and STaR
    evaluation_prompts: list[Prompt]
    traces: list[PairSource]  # one per supervised stage
    held_out: list[list[Pair]]  # of each supervised stage; empty where nothing is held out
    resume_from: Path | None  # newest complete checkpoint
    lock: IO[str]  # held while the run goes on
    examples: ExampleSet | None = None  # of a reward model
    solutions: list[Solution] | None = None  # whose steps are to be labelled
    recorded: RecordedAnswers | None = None  # of a teacher that a student is distilled from


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run reads and generates."""

    tokenizer: Any
    prompts: PromptSource | None
    evaluation_prompts: list[Prompt]
    traces: list[PairSource]
    held_out: list[list[Pair]]
    examples: ExampleSet | None
    solutions: list[Solution] | None
    recorded: RecordedAnswers | None = None


def prepare(run: AnyRun, *, resume: bool, overwrite: bool) -> Prepared:
    """Check everything and make the run's folder. Raises ConfigError or data.errors' DataError, both ValueErrors."""
    check_machine(run)
    data = read_data(run)
    check_reward_models(run, data.tokenizer)
    folder = Path(run.runs_folder).absolute() / run.name
    resume_from, lock = claim_folder(run, folder, resume=resume, overwrite=overwrite)
    model = Path(run.policy.path).absolute() if isinstance(run.policy, FolderPolicy) else folder / "initial_policy"
    return Prepared(
        run=run,
        folder=folder,
        model=model,
        tokenizer=data.tokenizer,
        prompts=data.prompts,
        evaluation_prompts=data.evaluation_prompts,
        traces=data.traces,
        held_out=data.held_out,
        resume_from=resume_from,
        lock=lock,
        examples=data.examples,
        solutions=data.solutions,
        recorded=data.recorded,
    )


def check_machine(run: AnyRun) -> None:
    """Raises ConfigError for a run that this machine cannot hold. A cluster that is joined is looked at later."""
    if not joins(run.cluster):
        check_resources(run, [Node(local_cpus(run.cluster), local_gpus())])


def read_data(run: AnyRun) -> RunData:
    """Tokenizer, prompts and traces. Raises ConfigError or DataError."""
    if isinstance(run, DistillRun):
        return read_distillation(run)
    tokenizer = load_tokenizer(run)
    limit = run.policy.max_model_len
    rollout = run.rollout
    prompts = None
    if isinstance(run, GrpoRun | StarRun | RejectionRun):
        limit -= run.rollout.max_completion_tokens
        prompts = PromptSource(run.prompts, tokenizer, run.seed, max_prompt_tokens=limit)
    if prompts is not None and isinstance(run, StarRun) and run.star.rationalization is not None:
        prompts.check_hints()
    evaluation_prompts: list[Prompt] = []
    if run.evaluation is not None and rollout is not None:
        held_out = PromptSource(
            run.evaluation.prompts,
            tokenizer,
            0,  # the same problems whatever the run's seed
            max_prompt_tokens=run.policy.max_model_len - rollout.max_completion_tokens,
        )
        evaluation_prompts = held_out.first(run.evaluation.problems)
    traces, apart = open_stages(supervised_stages(run), tokenizer, run.seed, run.policy.max_model_len)
    examples = None
    if isinstance(run, RewardModelRun):
        examples = read_examples(run.examples, tokenizer, max_tokens=limit, held_out_share=run.held_out_share)
    solutions = None
    if isinstance(run, StepLabelsRun):
        completion = run.rollout.max_completion_tokens
        solutions = read_solutions(
            run.step_labels,
            tokenizer,
            seed=run.seed,
            max_prompt_tokens=limit - completion,
            max_completion_tokens=completion,
        )
    return RunData(tokenizer, prompts, evaluation_prompts, traces, apart, examples, solutions)


def read_distillation(run: DistillRun) -> RunData:
    """What the parts of a distillation read; the rows between the halves of a hard one are not there yet."""
    distill = run.distill
    tokenizer = load_tokenizer(run)
    if not isinstance(distill.teacher, RecordedTeacher):
        check_same_tokenizer(run.name, distill.teacher.path, tokenizer)
    if not isinstance(distill, HardDistillation):
        return read_data(parts_of(run)[0].run)
    student = student_run(run, "").model_copy(update={"stages": ()})
    teacher = teacher_run(run)
    prompts = None if teacher is None else read_data(teacher).prompts
    recorded = None
    if isinstance(distill.teacher, RecordedTeacher):
        recorded = RecordedAnswers(distill.teacher, tokenizer, max_tokens=run.policy.max_model_len)
    return replace(read_data(student), prompts=prompts, recorded=recorded)


def check_same_tokenizer(name: str, teacher: str, tokenizer: Any) -> None:
    """Raises ConfigError unless the teacher's folder has the student's tokenizer, token by token."""
    from transformers import AutoTokenizer

    try:
        theirs = AutoTokenizer.from_pretrained(teacher, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(name, [f"distill.teacher.path: {teacher!r} has no readable tokenizer ({error})"]) from error
    if theirs.get_vocab() != tokenizer.get_vocab() or theirs.eos_token_id != tokenizer.eos_token_id:
        problem = (
            f"distill.teacher.path = {teacher}: its tokenizer ({len(theirs)} tokens) is not the student's "
            f"({len(tokenizer)}), so token ids and distributions do not carry over; choose a teacher of the same "
            "family, or distil from recorded text (`distill.type: hard`, `teacher.type: rows`)"
        )
        raise ConfigError(name, [problem])


def open_stages(
    stages: Sequence[SftStage], tokenizer: Any, seed: int, max_tokens: int
) -> tuple[list[PairSource], list[list[Pair]]]:
    """Of each stage what it trains on, and the pairs whose loss is measured. Raises DataError."""
    traces: list[PairSource] = []
    held_out: list[list[Pair]] = []
    for index, stage in enumerate(stages):
        apart = stage.held_out
        share = apart.share or 0.0 if apart else 0.0
        source = open_traces(stage.traces, tokenizer, seed + index, max_tokens=max_tokens, held_out_share=share)
        own = open_traces(apart.traces, tokenizer, 0, max_tokens=max_tokens) if apart and apart.traces else None
        traces.append(source)
        held_out.append(held_out_pairs(source, own, apart.sequences) if apart else [])
    return traces, held_out


def unclaim_folder(prepared: Prepared) -> None:
    """Leave the folder as if this run had never been: for what is refused after all. One with checkpoints stays."""
    if prepared.resume_from is None:
        for name in ("config.yaml", "versions.json"):
            (prepared.folder / name).unlink(missing_ok=True)


def supervised_stages(run: AnyRun) -> Sequence[SftStage]:
    """The SFT stages, or those of the cold start."""
    return run.stages if isinstance(run, SftRun) else run.cold_start


def load_tokenizer(run: AnyRun) -> Any:
    """The policy's tokenizer. Raises ConfigError when the folder has none."""
    if not isinstance(run.policy, FolderPolicy):
        return build_tokenizer(run.policy.vocabulary)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(run.policy.path, local_files_only=True)
    except (OSError, ValueError) as error:
        problem = (
            f"policy.path: {run.policy.path!r} has no tokenizer that transformers can read ({error}). Put the "
            "tokenizer's files beside the weights"
        )
        raise ConfigError(run.name, [problem]) from error


def claim_folder(run: AnyRun, folder: Path, *, resume: bool, overwrite: bool) -> tuple[Path | None, IO[str]]:
    """Make the folder this run's own: empty, or to be resumed. Two processes cannot hold one folder."""
    occupied, lock = occupy_folder(run, folder, shared=resume or overwrite)
    checkpoint = newest_complete(folder / "checkpoints", check_hashes=True) if resume else None
    if resume and occupied and checkpoint is None and not overwrite:
        problem = f"--resume: {folder} holds no complete checkpoint. Begin again with --overwrite"
        raise ConfigError(run.name, [problem])
    if checkpoint is None:
        empty_folder(folder)
    (folder / "config.yaml").write_text(dump_run(run), encoding="utf-8")
    (folder / "versions.json").write_text(json.dumps(collect_versions(), indent=2) + "\n", encoding="utf-8")
    return checkpoint, lock


def occupy_folder(run: AnyConfig, folder: Path, *, shared: bool) -> tuple[bool, IO[str]]:
    """Lock the folder for this process; returns whether a run was in it, which only `shared` allows, and the lock.

    Raises ConfigError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"runs_folder = {run.runs_folder}: {folder} cannot be made ({error.strerror}). Choose another folder"
        raise ConfigError(run.name, [problem]) from error
    occupied = any(path.name != ".lock" for path in folder.iterdir())
    if occupied and not shared:
        problem = (
            f"name: the folder {folder} holds another run. Choose another `name`, go on with that run (--resume), or "
            "delete it first (--overwrite)"
        )
        raise ConfigError(run.name, [problem])
    if occupied and not (folder / "config.yaml").exists():
        raise ConfigError(run.name, [f"name: {folder} is not a run's folder and is left alone. Choose another `name`"])
    lock = open(folder / ".lock", "w")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        problem = f"name: another process is running in {folder}. Choose another `name`, or stop that process"
        raise ConfigError(run.name, [problem]) from None
    return occupied, lock


def empty_folder(folder: Path) -> None:
    """Delete what a run left, but for the lock; last of all its config, by which the folder is known as a run's."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.yaml"):
        if path.name == ".lock":
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
