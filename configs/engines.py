"""Rollout fleet, learner group, reference model, weight transfer and the Ray cluster they run on."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from configs.strict import Section


class Rollout(Section):
    """Sampling, and the vLLM engines that do it."""

    workers: PositiveInt = 1
    """Rollout workers (one vLLM engine each) at the start; `rayzero scale` changes it."""
    tensor_parallel: PositiveInt = 1
    """GPUs (or CPU processes) per engine."""
    gpus_per_worker: NonNegativeFloat = 0
    """GPUs that Ray reserves for each worker: `tensor_parallel`, 0 on a CPU, or with `ipc` a share of one."""
    cpus_per_worker: NonNegativeFloat = 1
    """CPUs that Ray reserves for each worker."""
    node_labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the Ray nodes that may hold a worker: a value, `!value`, `in(a, b)` or `!in(a, b)` for each label."""
    group_size: PositiveInt
    """Completions per prompt."""
    max_completion_tokens: PositiveInt
    """Longest completion, in tokens."""
    temperature: PositiveFloat = 1.0
    """Sampling temperature; the learner divides its logits by it."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; training refuses anything but 1, because the learner cannot renormalise what was cut."""
    top_k: NonNegativeInt = 0
    """Top-k sampling; training refuses anything but 0 (off)."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Min-p sampling; training refuses anything but 0 (off)."""
    max_sequences: PositiveInt = 256
    """Sequences that one engine decodes at once."""
    kv_cache_gib: PositiveFloat | None = None
    """Size of the KV cache in GiB; None lets vLLM measure it (GPUs)."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of GPU memory that vLLM takes."""
    prefix_caching: bool = True
    """Reuse of the prompt's KV cache between the completions of a group."""
    eager: bool = False
    """Skip CUDA graphs and compilation; faster to start, slower to run."""
    engine_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """More arguments of vLLM's `AsyncEngineArgs`, as they are."""
    start_timeout_s: PositiveFloat = 600.0
    """Deadline for an engine to be ready, in seconds."""
    group_timeout_s: PositiveFloat = 600.0
    """Deadline for one group to be sampled, in seconds; then it is tried on another worker."""
    max_attempts: PositiveInt = 3
    """How many workers a group is tried on before it counts as failed."""


class Learner(Section):
    """The DeepSpeed ranks that train the policy."""

    ranks: PositiveInt = 1
    """DeepSpeed processes."""
    gpus_per_rank: NonNegativeFloat = 0
    """GPUs that Ray reserves for each rank: 1, 0 on a CPU, or with `ipc` a share of one."""
    cpus_per_rank: NonNegativeFloat = 1
    """CPUs that Ray reserves for each rank."""
    node_labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the Ray nodes that may hold a rank: a value, `!value`, `in(a, b)` or `!in(a, b)` for each label."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """DeepSpeed ZeRO stage."""
    offload: Literal["none", "optimizer", "optimizer_and_parameters"] = "none"
    """What is kept in host memory between uses."""
    tokens_per_microbatch: PositiveInt = 8192
    """Most tokens (prompt and completion) in one forward pass of one rank."""
    gradient_clip: NonNegativeFloat = 1.0
    """Largest norm of the gradient; 0 is off."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass."""
    logits_chunk_tokens: PositiveInt = 4096
    """Log-probabilities are computed from logits of so many tokens at a time."""
    threads: PositiveInt | None = None
    """Threads of torch per rank on a CPU; None: one per reserved CPU."""
    deepspeed: dict[str, Any] = Field(default_factory=dict[str, Any])
    """More keys of DeepSpeed's JSON config, merged over ours."""
    start_timeout_s: PositiveFloat = 600.0
    """Deadline for the group to be ready, in seconds."""
    step_timeout_s: PositiveFloat = 1800.0
    """Deadline for one optimizer step, in seconds."""


class Reference(Section):
    """The frozen reference model of the KL penalty, or of the `reverse_kl` advantage."""

    path: str | None = None
    """Its Hugging Face folder; null: the policy that the run starts with, before any cold start."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Number format of its forward pass; null: that of the policy."""

    ranks: PositiveInt = 1
    """Processes; above 1 the weights are sharded with ZeRO-3."""
    gpus_per_rank: NonNegativeFloat = 0
    """GPUs that Ray reserves for each rank."""
    cpus_per_rank: NonNegativeFloat = 1
    """CPUs that Ray reserves for each rank."""
    node_labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the Ray nodes that may hold a rank: a value, `!value`, `in(a, b)` or `!in(a, b)` for each label."""
    tokens_per_microbatch: PositiveInt = 16384
    """Most tokens in one forward pass of one rank."""
    timeout_s: PositiveFloat = 600.0
    """Deadline for the logprobs of one batch, in seconds."""


class WeightTransfer(Section):
    """How new weights reach the rollout workers."""

    backend: Literal["host", "nccl", "ipc"] = "host"
    """`host`: shared memory on one node, the Ray object store across nodes. `nccl`: broadcast between GPUs. `ipc`: CUDA
    handles, learner and engine on the same GPU."""
    probe_every: NonNegativeInt = 10
    """Every so many versions the engine's logprobs of a fixed prompt are compared with the learner's; 0 is never."""
    probe_tolerance: PositiveFloat = 0.05
    """Largest difference of the probe in nats; above it the run fails. Use 1e-3 or less in float32."""
    timeout_s: PositiveFloat = 300.0
    """Deadline for one update of all workers, in seconds."""


class Cluster(Section):
    """The Ray cluster."""

    address: Literal["local", "auto"] = "local"
    """`local`: start Ray on this machine. `auto`: join the cluster of this node or job (submitted jobs always do)."""
    wait_for_resources_s: NonNegativeFloat = 0
    """For a cluster that runs already: how long to wait, in seconds, until its nodes hold the run. Its autoscaler is
    asked for them, when it has one. 0: what is missing at the start ends the run at once."""
    cpus: PositiveInt | None = None
    """For `local`: CPUs that Ray may hand out; None takes the machine's."""
    object_store_mib: PositiveInt = 256
    """For `local`: size of Ray's object store."""
    dashboard: bool = False
    """For `local`: start Ray's dashboard, on the loopback address."""
