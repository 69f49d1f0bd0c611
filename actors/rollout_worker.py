"""One vLLM engine behind a Ray actor: token ids in, token ids with logprobs and weight versions out.

Generation runs in the actor's default concurrency group; control calls (weights, health, scale) in their own, so that
they never queue behind a generation. Both end up on the one event loop that owns the engine.
"""

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray

from actors.log_file import write_log_file
from configs.engines import Rollout
from data.records import Completion, Group, GroupRequest

T = TypeVar("T")

STARTING, PAUSED, SERVING = "starting", "paused", "serving"


class EngineDied(RuntimeError):
    """The actor lives and its engine does not."""


@ray.remote(max_restarts=0, concurrency_groups={"control": 16}, max_concurrency=4096)  # pyright: ignore[reportCallIssue]
class RolloutWorker:
    """Engine states: starting -> (start_weight_update) paused -> (finish_weight_update) serving -> paused -> ...

    An engine refuses to generate until the first weight update has been finished.
    """

    def __init__(self, name: str, model: str, max_model_len: int, dtype: str, rollout: Rollout, backend: str) -> None:
        write_log_file()
        self._name = name
        self._model = model
        self._max_model_len = max_model_len
        self._dtype = dtype
        self._rollout = rollout
        self._backend = backend
        self._version = -1
        self._state = STARTING
        self._paused_at = 0.0
        self._update_open = False
        self._blob_path = Path(f"/dev/shm/rayzero-{os.getpid()}-{name}.safetensors")

    async def start(self) -> dict[str, Any]:
        """Start the engine; returns where it runs. Must be called before anything else."""
        # Every vLLM process checks this and ends with us (actors/engine_plugin.py).
        os.environ["RAYZERO_ENGINE_OWNER_PID"] = str(os.getpid())
        from transformers import AutoTokenizer, GenerationConfig
        from vllm.v1.engine.async_llm import AsyncLLM

        self._loop = asyncio.get_running_loop()
        self._tokenizer = AutoTokenizer.from_pretrained(self._model)
        eos = {self._tokenizer.eos_token_id}
        if (Path(self._model) / "generation_config.json").exists():
            configured = GenerationConfig.from_pretrained(self._model).eos_token_id
            eos |= set(configured) if isinstance(configured, list) else {configured}
        self._stop_token_ids = sorted(token for token in eos if token is not None)
        self._engine = AsyncLLM.from_engine_args(self._engine_args())
        await self._engine.check_health()
        return {"node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}

    def _engine_args(self) -> Any:
        from vllm.config.weight_transfer import WeightTransferConfig
        from vllm.engine.arg_utils import AsyncEngineArgs

        rollout = self._rollout
        on_cpu = not rollout.gpus_per_worker
        settings: dict[str, Any] = {
            "model": self._model,
            "skip_tokenizer_init": True,
            "dtype": self._dtype,
            "max_model_len": self._max_model_len,
            "max_num_seqs": rollout.max_sequences,
            "tensor_parallel_size": rollout.tensor_parallel,
            # In a Ray actor vLLM would otherwise place its processes by Ray; they belong to this actor.
            "distributed_executor_backend": "uni" if rollout.tensor_parallel == 1 else "mp",
            "enforce_eager": rollout.eager,
            "enable_prefix_caching": rollout.prefix_caching,
            "gpu_memory_utilization": rollout.gpu_memory_utilization,
            "logprobs_mode": "processed_logprobs",
            "weight_transfer_config": WeightTransferConfig(backend=self._backend),
            "disable_log_stats": True,
        }
        if rollout.kv_cache_gib is not None:
            settings["kv_cache_memory_bytes"] = int(rollout.kv_cache_gib * 2**30)
        if on_cpu:
            settings |= cpu_engine_settings(self._max_model_len)
        return AsyncEngineArgs(**{**settings, **rollout.engine_options})

    # ---------------------------------------------------------------------------------------------------- generation

    async def generate(self, request: GroupRequest) -> Group:
        """Sample one group. Raises RuntimeError while no weights have been received."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if self._state == STARTING:
            raise RuntimeError(f"rollout worker {self._name} has received no weights yet")
        start = time.perf_counter()
        params = SamplingParams(
            n=request.group_size,
            temperature=request.sampling.temperature,
            max_tokens=min(request.sampling.max_completion_tokens, self._max_model_len - len(request.prompt.token_ids)),
            stop_token_ids=self._stop_token_ids,
            logprobs=0,  # of the sampled token alone
            flat_logprobs=True,
            seed=request.seed,  # vLLM gives sample i the seed plus i
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
        )
        # The salt keeps a prompt's cached keys and values from being used again under newer weights.
        prompt = {"prompt_token_ids": request.prompt.token_ids.tolist(), "cache_salt": str(self._version)}
        request_id = f"{request.group_id}-{time.monotonic_ns()}"
        result = None
        async for output in self._engine.generate(prompt, params, request_id):  # type: ignore[arg-type]
            result = output
        if result is None or not result.finished or len(result.outputs) != request.group_size:
            raise RuntimeError(f"the engine of {self._name} did not finish group {request.group_id}")
        return Group(
            group_id=request.group_id,
            prompt=request.prompt,
            completions=tuple(self._completion(output) for output in result.outputs),
            worker=self._name,
            generate_s=time.perf_counter() - start,
        )

    def _completion(self, output: Any) -> Completion:
        token_ids = np.asarray(output.token_ids, dtype=np.int32)
        if output.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"the engine of {self._name} ended a completion with {output.finish_reason!r}")
        return Completion(
            token_ids=token_ids,
            logprobs=_sampled_logprobs(token_ids, output.logprobs),
            versions=_versions_per_token(len(token_ids), output.weight_versions),
            text=self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True),
            finish_reason=output.finish_reason,
        )

    @ray.method(concurrency_group="control")
    async def prompt_logprobs(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """[P-1] logprobs of every token after the first, at temperature 1."""
        from vllm import SamplingParams

        async def ask() -> NDArray[np.float32]:
            params = SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
            prompt = {"prompt_token_ids": token_ids.tolist(), "cache_salt": f"probe-{self._version}"}
            result = None
            async for output in self._engine.generate(prompt, params, f"probe-{time.monotonic_ns()}"):  # type: ignore[arg-type]
                result = output
            if result is None or result.prompt_logprobs is None:
                raise RuntimeError(f"the engine of {self._name} gave no prompt logprobs")
            pairs = zip(token_ids[1:].tolist(), result.prompt_logprobs[1:], strict=True)
            return np.array([entry[token].logprob for token, entry in pairs if entry is not None], dtype=np.float32)

        return await self._on_engine_loop(ask())

    # ------------------------------------------------------------------------------------------------- weight updates

    @ray.method(concurrency_group="control")
    async def init_weight_transfer(self, init_info: dict[str, Any]) -> None:
        """First step of the protocol; again whenever the group of workers changes."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        await self._on_engine_loop(self._engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info)))

    @ray.method(concurrency_group="control")
    async def start_weight_update(self) -> None:
        """Freeze requests where they are and open an update. An update left open by a dead sender is undone first."""

        async def start() -> None:
            if self._update_open:
                await self._engine.finish_weight_update()  # nothing was loaded: the old tensors are put back
                self._update_open = False
            self._paused_at = time.perf_counter()
            await self._engine.pause_generation(mode="keep", clear_cache=False)
            self._state = PAUSED
            await self._engine.start_weight_update()
            self._update_open = True

        await self._on_engine_loop(start())

    @ray.method(concurrency_group="control")
    async def update_weights(self, update_info: dict[str, Any], blob: NDArray[np.uint8] | None = None) -> None:
        """Load one chunk. `blob` is the content of a host update's file when the sender is on another node."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        async def update() -> None:
            info = update_info
            if blob is not None:
                blob.tofile(self._blob_path)
                info = {**update_info, "path": str(self._blob_path)}
            try:
                await self._engine.update_weights(WeightTransferUpdateRequest(info))
            except BaseException:
                self._update_open = False  # vLLM closes a session whose update raised
                raise

        await self._on_engine_loop(update())

    @ray.method(concurrency_group="control")
    async def finish_weight_update(self, version: int) -> float:
        """Publish the version and go on sampling. Returns how long sampling stood still, in seconds."""

        async def finish() -> float:
            await self._engine.finish_weight_update(weight_version=str(version))
            self._update_open = False
            self._version = version
            await self._engine.resume_generation()
            self._state = SERVING
            return time.perf_counter() - self._paused_at

        return await self._on_engine_loop(finish())

    @ray.method(concurrency_group="control")
    async def serve_folder_weights(self, version: int) -> None:
        """Serve the weights that the engine was started with: evaluation of a model folder, with no learner."""

        async def serve() -> None:
            await self._engine.update_weight_version(str(version))
            self._version = version
            self._state = SERVING

        await self._on_engine_loop(serve())

    # --------------------------------------------------------------------------------------------------------- health

    @ray.method(concurrency_group="control")
    async def version(self) -> int:
        """Version of the weights being served, -1 before the first update. Raises when the engine is dead."""
        await self._on_engine_loop(self._engine.check_health())
        return self._version

    @ray.method(concurrency_group="control")
    async def stop(self) -> None:
        """End the engine's processes."""

        async def shut_down() -> None:
            self._engine.shutdown()
            self._blob_path.unlink(missing_ok=True)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(shut_down(), self._loop))

    async def _on_engine_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """The engine's answer. Raises EngineDied when there will be none."""
        answer = answer_of(work, self._engine.output_handler)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer, self._loop))


async def answer_of(work: Coroutine[Any, Any, T], alive: "asyncio.Task[None] | None") -> T:
    """What `work` returns. Raises EngineDied when `alive` ends first: vLLM leaves calls to a dead core unanswered.

    `alive`: AsyncLLM's output handler, which ends when the engine core dies; None before vLLM has started it.
    """
    call = asyncio.ensure_future(work)
    try:
        await asyncio.wait([call] if alive is None else [call, alive], return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise EngineDied("the engine core died before it had answered")
        return call.result()
    finally:
        call.cancel()


def _sampled_logprobs(token_ids: NDArray[np.int32], flat: Any) -> NDArray[np.float32]:
    """[T] logprob of each sampled token, found by its id: the first entry of a position need not be the sampled one."""
    if len(flat) != len(token_ids):
        raise RuntimeError(f"the engine gave {len(flat)} logprobs for {len(token_ids)} tokens")
    if len(flat.token_ids) == len(token_ids) and np.array_equal(flat.token_ids, token_ids):
        return np.asarray(flat.logprobs, dtype=np.float32)
    return np.array([flat[i][token].logprob for i, token in enumerate(token_ids.tolist())], dtype=np.float32)


def _versions_per_token(num_tokens: int, spans: Any) -> NDArray[np.int32]:
    """[T] version of each token from vLLM's spans (version, start, end)."""
    versions_T = np.full(num_tokens, -1, dtype=np.int32)
    for span in spans or ():
        versions_T[span.start : span.end] = int(span.version)
    if num_tokens and versions_T.min() < 0:
        raise RuntimeError(f"the engine's weight versions {spans} do not cover {num_tokens} tokens")
    return versions_T


def cpu_engine_settings(max_model_len: int) -> dict[str, Any]:
    """Arguments of vLLM's engine that a CPU needs; the length is in tokens."""
    return {
        "block_size": 32,
        # A prefill that is split over two engine steps rewinds the request's random generator, which torch's CPU
        # generators cannot do ("CPU Generator does not use offset"): with seeds the engine would die.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, max_model_len),
    }


def engine_environment(rollout: Rollout, backend: str) -> dict[str, str]:
    """Environment of a rollout worker's process, set before vLLM is imported."""
    threads = max(1, int(rollout.cpus_per_worker))
    environment = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "OMP_NUM_THREADS": str(threads),
    }
    if not rollout.gpus_per_worker:
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "CUDA_VISIBLE_DEVICES": ""}
        if rollout.tensor_parallel == 1:
            # The engine core then runs the model in its own process: one process less to start and to talk to.
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if backend == "ipc":
        environment["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # CUDA handles travel pickled between our own processes
    return environment
