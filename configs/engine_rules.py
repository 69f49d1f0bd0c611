"""The rules of engines, ranks and GPUs; rules.py collects them and says what a rule is."""

from collections.abc import Iterator

from configs.derived import starts_engines
from configs.engines import Rollout
from configs.policy import ScratchPolicy
from configs.prompts import Muon
from configs.run import AnyRun, GrpoRun, RewardModelRun, StarRun, stages_of

Problems = Iterator[str]

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes for which vLLM's CPU attention has kernels."""

ENGINE_OPTIONS_WE_SET = {
    "model": "policy.path",
    "dtype": "policy.dtype",
    "max_model_len": "policy.max_model_len",
    "tensor_parallel_size": "rollout.tensor_parallel",
    "max_num_seqs": "rollout.max_sequences",
    "enforce_eager": "rollout.eager",
    "enable_prefix_caching": "rollout.prefix_caching",
    "gpu_memory_utilization": "rollout.gpu_memory_utilization",
    "kv_cache_memory_bytes": "rollout.kv_cache_gib",
    "weight_transfer_config": "weight_transfer.backend",
    "logprobs_mode": None,  # training relies on it, so there is nothing to choose
    "skip_tokenizer_init": None,
}
DEEPSPEED_KEYS_WE_SET = {
    "train_batch_size": "prompts_per_step and rollout.group_size",
    "train_micro_batch_size_per_gpu": "learner.tokens_per_microbatch",
    "gradient_accumulation_steps": "learner.tokens_per_microbatch",
    "gradient_clipping": "learner.gradient_clip",
    "optimizer": "optimizer",
    "scheduler": "schedule",
    "bf16": "policy.dtype",
    "fp16": "policy.dtype",
}


def scratch_heads_fit(run: AnyRun) -> Problems:
    """Query heads divide evenly over key-value heads and engine processes; the head size has a kernel."""
    policy = run.policy
    if not isinstance(policy, ScratchPolicy):
        return
    if policy.heads % policy.kv_heads:
        yield (
            f"policy.kv_heads = {policy.kv_heads}: it must divide policy.heads {policy.heads}; "
            f"use one of {', '.join(str(n) for n in range(1, policy.heads + 1) if policy.heads % n == 0)}"
        )
    if policy.head_size % 2:
        yield f"policy.head_size = {policy.head_size}: rotary positions turn pairs of numbers; use an even number"
    if not starts_engines(run) or not run.rollout:
        return
    if policy.heads % run.rollout.tensor_parallel:
        yield (
            f"rollout.tensor_parallel = {run.rollout.tensor_parallel}: it must divide policy.heads {policy.heads}; "
            "use a divisor"
        )
    if not run.rollout.gpus_per_worker and policy.head_size not in CPU_HEAD_SIZES:
        yield (
            f"policy.head_size = {policy.head_size}: vLLM's CPU attention has kernels for "
            f"{', '.join(map(str, CPU_HEAD_SIZES))} only; use one of these"
        )


def gpu_counts_are_whole(run: AnyRun) -> Problems:
    """Ranks and engine processes have one whole GPU each or none, except that `ipc` shares one."""
    if starts_engines(run) and run.weight_transfer.backend == "ipc":
        return
    rank = run.learner.gpus_per_rank
    if rank not in (0, 1):
        yield f"learner.gpus_per_rank = {rank:g}: a rank drives one GPU or none; use 1, or 0 on a CPU"
    if starts_engines(run) and run.rollout and run.rollout.gpus_per_worker not in (0, run.rollout.tensor_parallel):
        yield (
            f"rollout.gpus_per_worker = {run.rollout.gpus_per_worker:g}: an engine of tensor_parallel "
            f"{run.rollout.tensor_parallel} drives as many GPUs; use {run.rollout.tensor_parallel}, or 0 on a CPU"
        )


def transfer_backend_fits_the_gpus(run: AnyRun) -> Problems:
    """`nccl` needs GPUs on both sides; `ipc` needs one GPU, shared by one rank and one engine."""
    backend = run.weight_transfer.backend
    if not starts_engines(run) or not run.rollout or backend == "host":
        return
    worker, rank = run.rollout.gpus_per_worker, run.learner.gpus_per_rank
    if not worker or not rank:
        yield (
            f"weight_transfer.backend = {backend}: it moves weights between GPUs, but learner.gpus_per_rank is "
            f"{rank:g} and rollout.gpus_per_worker is {worker:g}; give both GPUs, or use `host`"
        )
    elif backend == "ipc":
        yield from _one_shared_gpu(run, run.rollout)


def _one_shared_gpu(run: AnyRun, rollout: Rollout) -> Problems:
    for key, value in (
        ("learner.ranks", run.learner.ranks),
        ("rollout.workers", rollout.workers),
        ("rollout.tensor_parallel", rollout.tensor_parallel),
    ):
        if value != 1:
            yield (
                f"{key} = {value}: `ipc` is for one rank and one engine on the same GPU, as Ray does not say which GPU "
                "a share is of; use 1, or weight_transfer.backend `nccl` with GPUs of their own"
            )
    worker, rank = rollout.gpus_per_worker, run.learner.gpus_per_rank
    if worker >= 1 or rank >= 1 or worker + rank > 1:
        yield (
            f"rollout.gpus_per_worker = {worker:g}: with `ipc` engine and learner share one GPU, so this and "
            f"learner.gpus_per_rank {rank:g} are fractions of together at most 1; use 0.5 and 0.5"
        )
    elif rollout.gpu_memory_utilization > worker:
        yield (
            f"rollout.gpu_memory_utilization = {rollout.gpu_memory_utilization:g}: the engine reserves only "
            f"gpus_per_worker {worker:g} of the GPU and would take the learner's memory; use {worker:g} or less"
        )


def zero_stage_fits(run: AnyRun) -> Problems:
    """Offload needs the ZeRO stage that shards what is offloaded; Muon needs whole matrices."""
    learner = run.learner
    needed = {"none": 0, "optimizer": 1, "optimizer_and_parameters": 3}[learner.offload]
    if learner.zero_stage < needed:
        yield (
            f"learner.offload = {learner.offload}: it needs learner.zero_stage {needed} or more, which is "
            f"{learner.zero_stage}; raise the stage or offload less"
        )
    optimizers = [(f"{name}.optimizer", stage.optimizer) for name, stage in stages_of(run)]
    optimizers += [("optimizer", run.optimizer)] if isinstance(run, GrpoRun) else []
    optimizers += [("star.tuning.optimizer", run.star.tuning.optimizer)] if isinstance(run, StarRun) else []
    optimizers += [("optimizer", run.optimizer)] if isinstance(run, RewardModelRun) else []
    for place, optimizer in optimizers:
        if isinstance(optimizer, Muon) and learner.zero_stage == 3:
            yield (
                f"{place}.type = muon: Muon orthogonalises whole matrices, and learner.zero_stage 3 leaves each rank a "
                "slice of them; use zero_stage 2 or less, or adamw"
            )


def options_do_not_override_ours(run: AnyRun) -> Problems:
    """Free engine and DeepSpeed options leave alone what the config sets itself."""
    engine = run.rollout.engine_options if run.rollout else {}
    for place, given, ours in (
        ("rollout.engine_options", engine, ENGINE_OPTIONS_WE_SET),
        ("learner.deepspeed", run.learner.deepspeed, DEEPSPEED_KEYS_WE_SET),
    ):
        for key in given.keys() & ours.keys():
            remedy = f"set {ours[key]} and remove this" if ours[key] else "remove it, training relies on our value"
            yield f"{place}.{key} = {given[key]}: it would override what the rest of the config says; {remedy}"
