"""What follows from a config: sizes per step, parameters, memory, CPUs and GPUs. Pure, but for headers of weights.

Memory is in bytes unless a name says GiB. Estimates leave out activations, CUDA contexts and fragmentation.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.distill import SoftDistillation
from configs.distill_parts import parts_of
from configs.policy import VOCABULARY_SIZE, ScratchPolicy
from configs.reward_model import PairRows
from configs.rewards import reward_models
from configs.run import (
    AnyRun,
    DistillRun,
    GrpoRun,
    RejectionRun,
    RewardModelRun,
    SftRun,
    StarRun,
    StepLabelsRun,
    stages_of,
)

BYTES = {"float32": 4, "bfloat16": 2}
OPTIMIZER_BYTES = 12  # per parameter: float32 master weight and Adam's two moments
GIB = 2**30

Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one part of the run asks of Ray."""

    part: str
    processes: int
    cpus: float  # of each process
    gpus: float  # of each process
    labels: Mapping[str, str] = field(default_factory=dict[str, str])  # selectors of the nodes that may hold it


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a policy that memory depends on. None where a folder does not tell."""

    parameters: int | None
    kv_values_per_token: int | None  # numbers that the KV cache holds for one token, over all layers
    origin: str  # how the numbers were found


def starts_engines(run: AnyRun) -> bool:
    """Whether the run has rollout workers and rewards: supervised fine-tuning only to evaluate, the others always."""
    wanted = not isinstance(run, SftRun) or run.evaluation is not None
    return wanted and run.rollout is not None and (run.rewards is not None or isinstance(run, RejectionRun))


def demands(run: AnyRun) -> tuple[Demand, ...]:
    """CPUs and GPUs that each part reserves with Ray, and on which nodes; of a distillation in its largest phase."""
    if isinstance(run, DistillRun):
        phases = [demands(part.run) + _teacher_demand(run) for part in parts_of(run)]
        return max(phases, key=lambda phase: [sum(d.processes * n for d, n in _sizes(phase, kind)) for kind in (1, 0)])
    learner = run.learner
    parts = [Demand("learner", learner.ranks, learner.cpus_per_rank, learner.gpus_per_rank, learner.node_labels)]
    if isinstance(run, StepLabelsRun | RejectionRun):
        parts = []
    taught = isinstance(run, RejectionRun) and run.teacher is not None  # by engines that are somewhere else
    if starts_engines(run) and not taught and (rollout := run.rollout):
        cpus, gpus = rollout.cpus_per_worker, rollout.gpus_per_worker
        parts.append(Demand("rollout", rollout.workers, cpus, gpus, rollout.node_labels))
    if starts_engines(run) and (rewards := run.rewards):
        parts.append(Demand("rewards", rewards.actors, rewards.cpus_per_actor, 0, rewards.node_labels))
        models = {options.path: options for options in reward_models(rewards)}
        parts += [Demand("reward model", 1, options.cpus, options.gpus) for options in models.values()]
    if isinstance(run, GrpoRun) and run.algorithm.needs_reference:
        reference = run.reference
        cpus, gpus = reference.cpus_per_rank, reference.gpus_per_rank
        parts.append(Demand("reference", reference.ranks, cpus, gpus, reference.node_labels))
    return tuple(parts)


def _sizes(phase: tuple[Demand, ...], gpus: int) -> list[tuple[Demand, float]]:
    return [(demand, demand.gpus if gpus else demand.cpus) for demand in phase]


def _teacher_demand(run: DistillRun) -> tuple[Demand, ...]:
    """The scoring teacher of a soft distillation; the others' teachers are in their parts."""
    if not isinstance(run.distill, SoftDistillation):
        return ()
    teacher = run.distill.teacher
    return (Demand("teacher", teacher.ranks, teacher.cpus_per_rank, teacher.gpus_per_rank, teacher.node_labels),)


def demanded_cpus(run: AnyRun) -> float:
    """CPUs that the whole run reserves with Ray."""
    return sum(demand.processes * demand.cpus for demand in demands(run))


def demanded_gpus(run: AnyRun) -> float:
    """GPUs that the whole run reserves with Ray."""
    return sum(demand.processes * demand.gpus for demand in demands(run))


def scratch_parameters(policy: ScratchPolicy) -> int:
    """Exact count of a Qwen3 decoder: attention without biases, norms of queries and keys, a gated feed-forward."""
    attention = 2 * policy.hidden_size * policy.head_size * (policy.heads + policy.kv_heads)
    head_norms = 2 * policy.head_size
    feed_forward = 3 * policy.hidden_size * policy.mlp_size
    layer = attention + head_norms + feed_forward + 2 * policy.hidden_size
    embeddings = VOCABULARY_SIZE[policy.vocabulary] * policy.hidden_size * (1 if policy.tied_embeddings else 2)
    return policy.layers * layer + embeddings + policy.hidden_size


def shape_of(run: AnyRun) -> Shape:
    """Sizes of the policy: by formula from scratch, by the files' headers for a folder."""
    policy = run.policy
    if isinstance(policy, ScratchPolicy):
        return Shape(
            scratch_parameters(policy), 2 * policy.layers * policy.kv_heads * policy.head_size, "Qwen3 by formula"
        )
    folder = Path(policy.path)
    try:
        sizes = [safetensors_numbers(file) for file in sorted(folder.glob("*.safetensors"))]
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Shape(None, None, f"{folder} cannot be read here")
    try:
        heads = int(config["num_attention_heads"])
        head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
        kv_values = 2 * int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads", heads)) * head_size
    except (KeyError, TypeError, ValueError):
        kv_values = None  # not a plain decoder; vLLM sizes its cache itself
    return Shape(sum(sizes) if sizes else None, kv_values, f"headers of {len(sizes)} safetensors files")


def safetensors_numbers(file: Path) -> int:
    """How many numbers a safetensors file holds, by its header. Raises OSError or ValueError when broken."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError(f"{file} is no safetensors file: its header would be {length} bytes long")
        header: dict[str, dict[str, Any]] = json.loads(stream.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def learner_bytes(run: AnyRun, parameters: int) -> tuple[int, int]:
    """(GPU, host) bytes of one rank for weights, gradients and optimizer (ZeRO, arXiv 1910.02054, section 3).

    On a CPU both are the same memory.
    """
    learner, width = run.learner, BYTES[run.policy.dtype]
    optimizer = OPTIMIZER_BYTES * parameters // (learner.ranks if learner.zero_stage >= 1 else 1)
    gradients = width * parameters // (learner.ranks if learner.zero_stage >= 2 else 1)
    weights = width * parameters // (learner.ranks if learner.zero_stage >= 3 else 1)
    match learner.offload:
        case "none":
            return weights + gradients + optimizer, 0
        case "optimizer":
            return weights + gradients, optimizer
        case "optimizer_and_parameters":
            return gradients, weights + optimizer


def sequences_per_step(run: RewardModelRun) -> int:
    """Forward passes share so many sequences: a pair has two."""
    return run.examples_per_step * (2 if isinstance(run.examples, PairRows) else 1)


def full_microbatches(sequences: int, run: AnyRun) -> int:
    """Forward passes of one rank when each of the step's sequences is as long as the policy allows."""
    in_one = max(1, run.learner.tokens_per_microbatch // run.policy.max_model_len)
    return math.ceil(math.ceil(sequences / run.learner.ranks) / in_one)


def derived_table(run: AnyRun) -> list[Row]:
    """Rows of (quantity, value, how it came about), for people."""
    if isinstance(run, DistillRun):
        rows = [(part.place(row[0]), *row[1:]) for part in parts_of(run) for row in _step_rows(part.run)]
        return [*rows, *_policy_rows(run), *_resource_rows(run)]
    return [*_step_rows(run), *_policy_rows(run), *_resource_rows(run)]


def _step_rows(run: AnyRun) -> Iterator[Row]:
    for name, stage in stages_of(run):
        sequences = stage.sequences_per_step
        if stage.steps is None:
            yield f"{name}: epochs", f"{stage.epochs or 0:g}", f"of all rows, {sequences} sequences per step"
        else:
            yield f"{name}: sequences", f"{stage.steps * sequences:,}", f"{stage.steps:,} steps x {sequences} sequences"
        yield _microbatch_row(f"{name}: micro-batches per rank and step, at most", sequences, run)
    if isinstance(run, StarRun):
        yield from _iteration_rows(run)
    if isinstance(run, RejectionRun):
        yield from _rejection_rows(run)
    if isinstance(run, RewardModelRun):
        yield _microbatch_row("micro-batches per rank and step, at most", sequences_per_step(run), run)
    if not isinstance(run, GrpoRun):
        return
    rollout, staleness = run.rollout, run.algorithm.staleness
    sequences = run.prompts_per_step * rollout.group_size
    how = f"{run.prompts_per_step} prompts x {rollout.group_size} completions"
    yield "sequences per step", f"{sequences:,}", how
    yield "sequences of the run", f"{run.steps * sequences:,}", f"{run.steps} steps x {sequences:,} sequences"
    completion = rollout.max_completion_tokens
    yield "tokens sampled per step, at most", f"{sequences * completion:,}", f"{sequences:,} x {completion:,}"
    longest = run.policy.max_model_len
    yield "tokens trained per step, at most", f"{sequences * longest:,}", f"{sequences:,} x {longest:,} with the prompt"
    yield _microbatch_row("micro-batches per rank and step, at most", sequences, run)
    ahead = staleness.max_staleness + 1
    yield (
        "groups in flight, at most",
        f"{ahead * run.prompts_per_step:,}",
        f"(max_staleness {staleness.max_staleness} + 1) x {run.prompts_per_step} prompts",
    )
    engines = rollout.workers * rollout.max_sequences
    yield "sequences decoded at once, at most", f"{engines:,}", f"{rollout.workers} engines x {rollout.max_sequences}"


def _iteration_rows(run: StarRun) -> Iterator[Row]:
    star, samples = run.star, run.rollout.group_size
    sampled = star.problems_per_iteration * samples
    how = f"{star.problems_per_iteration:,} problems x {samples} samples"
    yield "samples per iteration, without hints", f"{sampled:,}", how
    if star.rationalization:
        more = star.problems_per_iteration * star.rationalization.samples
        how = f"{star.rationalization.samples} for each problem that no sample solved"
        yield "samples per iteration with hints, at most", f"{more:,}", how
    kept = star.problems_per_iteration * star.max_rationales_per_problem
    yield "rationales per iteration, at most", f"{kept:,}", f"{star.max_rationales_per_problem} of each problem"
    tuning = star.tuning
    steps = math.ceil(tuning.epochs * kept / tuning.sequences_per_step)
    how = f"{tuning.epochs:g} epochs of {kept:,} rationales, {tuning.sequences_per_step} per step"
    yield "optimizer steps per iteration, at most", f"{steps:,}", how
    yield _microbatch_row("micro-batches per rank and step, at most", tuning.sequences_per_step, run)


def _rejection_rows(run: RejectionRun) -> Iterator[Row]:
    rejection, samples = run.rejection, run.rollout.group_size
    how = f"{rejection.problems:,} problems x {samples} samples"
    yield "samples", f"{rejection.problems * samples:,}", how
    most = min(samples, rejection.max_rows_per_problem)
    yield "rows, at most", f"{rejection.problems * most:,}", f"{most} of each problem"
    how = f"of {min(rejection.chunk_problems, rejection.problems):,} problems, each with a save"
    yield "chunks", f"{math.ceil(rejection.problems / rejection.chunk_problems):,}", how


def _microbatch_row(name: str, sequences: int, run: AnyRun) -> Row:
    learner = run.learner
    how = (
        f"{math.ceil(sequences / learner.ranks):,} sequences per rank, "
        f"{learner.tokens_per_microbatch:,} // {run.policy.max_model_len:,} of full length in one"
    )
    return name, f"{full_microbatches(sequences, run):,}", how


def _policy_rows(run: AnyRun) -> Iterator[Row]:
    shape, learner = shape_of(run), run.learner
    if shape.parameters is None:
        yield "parameters", "unknown", shape.origin
        return
    yield "parameters", f"{shape.parameters:,}", shape.origin
    on_gpu, on_host = learner_bytes(run, shape.parameters)
    width = BYTES[run.policy.dtype]
    how = f"weights {width} + gradients {width} + optimizer {OPTIMIZER_BYTES} bytes per parameter"
    ranks = f"ZeRO-{learner.zero_stage} over {learner.ranks} rank{'s' if learner.ranks > 1 else ''}"
    yield "memory per learner rank", _gib(on_gpu), f"{how}, {ranks}; without activations"
    if on_host:
        yield "host memory per learner rank", _gib(on_host), f"offload: {learner.offload}"
    rollout = run.rollout
    if not starts_engines(run) or rollout is None:
        return
    weights = width * shape.parameters // rollout.tensor_parallel
    each = "per engine process" if rollout.tensor_parallel > 1 else "per engine"
    if rollout.kv_cache_gib is None:
        share = f"the KV cache takes what is left of {rollout.gpu_memory_utilization:.0%} of the memory"
        yield f"weights {each}", _gib(weights), share
        return
    cache = rollout.kv_cache_gib * GIB
    yield f"memory {each}", _gib(weights + cache), f"weights {_gib(weights)} + KV cache {_gib(cache)}"
    if shape.kv_values_per_token:
        per_token = math.ceil(shape.kv_values_per_token * width / rollout.tensor_parallel)
        how = f"{_gib(cache)} / {per_token:,} bytes per token"
        yield "tokens in the KV cache of an engine", f"{int(cache) // per_token:,}", how


def _resource_rows(run: AnyRun) -> Iterator[Row]:
    parts = demands(run)
    cpus = " + ".join(f"{d.part} {d.processes} x {d.cpus:g}" for d in parts)
    gpus = " + ".join(f"{d.part} {d.processes} x {d.gpus:g}" for d in parts if d.gpus)
    yield "CPUs reserved", f"{demanded_cpus(run):g}", cpus
    yield "GPUs reserved", f"{demanded_gpus(run):g}", gpus or "none"


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"
