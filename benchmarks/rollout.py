"""Rollout throughput: Fleet (Ray, one worker) against vLLM's AsyncLLM with the same engine arguments and requests.

Ours includes the way of every request and group through Ray, decoding and the arrays of a Group. Each request has its
seed and both sides the same weights, so both sample the same tokens.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import in_fresh_process, local_ray
from benchmarks.rows import Row
from configs.engines import Rollout
from configs.policy import ScratchPolicy
from data.records import GroupRequest, Prompt, Sampling

POLICY = ScratchPolicy(vocabulary="characters")
ROLLOUT = Rollout(group_size=8, max_completion_tokens=64, kv_cache_gib=1, eager=True)
TARGET = 0.9


def make_requests(groups: int, round_number: int) -> list[GroupRequest]:
    """Prompts of 9 tokens; no two rounds share a seed."""
    generator = np.random.default_rng(round_number)
    sampling = Sampling(ROLLOUT.temperature, ROLLOUT.max_completion_tokens)
    made: list[GroupRequest] = []
    for i in range(groups):
        number = round_number * groups + i
        prompt = Prompt(f"p{number}", generator.integers(7, 60, 9).astype(np.int32), "", {})
        made.append(GroupRequest(number, prompt, ROLLOUT.group_size, sampling, number * ROLLOUT.group_size))
    return made


def bare_tokens_per_s(folder: str, groups: int, rounds: int) -> float:
    """The fastest round of an engine that is asked directly, in a process of its own."""
    return asyncio.run(_ask_engine(folder, groups, rounds))


async def _ask_engine(folder: str, groups: int, rounds: int) -> float:
    from transformers import AutoTokenizer
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    from actors.rollout_worker import RolloutWorker

    # The worker's own class below Ray's wrapping: its engine arguments cannot drift from those of the other side.
    worker: Any = RolloutWorker.__ray_metadata__.modified_class  # type: ignore[attr-defined]
    arguments = worker("bare", folder, POLICY.max_model_len, POLICY.dtype, ROLLOUT, "host")._engine_args()
    engine = AsyncLLM.from_engine_args(arguments)
    stop = [AutoTokenizer.from_pretrained(folder).eos_token_id]

    async def sample(request: GroupRequest) -> int:
        params = SamplingParams(
            n=request.group_size,
            temperature=request.sampling.temperature,
            max_tokens=request.sampling.max_completion_tokens,
            stop_token_ids=stop,
            logprobs=0,
            flat_logprobs=True,
            seed=request.seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
        )
        prompt: Any = {"prompt_token_ids": request.prompt.token_ids.tolist()}
        tokens = 0
        async for output in engine.generate(prompt, params, str(request.group_id)):
            tokens = sum(len(completion.token_ids) for completion in output.outputs)
        return tokens

    try:
        return await _fastest(sample, groups, rounds)
    finally:
        engine.shutdown()


async def our_tokens_per_s(folder: Path, groups: int, rounds: int) -> float:
    """The fastest round through the fleet, as the loop sees it."""
    from actors.fleet import Fleet

    fleet = Fleet(
        model=str(folder),
        max_model_len=POLICY.max_model_len,
        dtype=POLICY.dtype,
        rollout=ROLLOUT,
        backend="host",
        run_folder=folder / "run",
    )

    async def sample(request: GroupRequest) -> int:
        return sum(len(completion.token_ids) for completion in (await fleet.generate(request)).completions)

    try:
        await fleet.start()
        await fleet.serve_folder_weights(0)
        return await _fastest(sample, groups, rounds)
    finally:
        await fleet.close()


async def _fastest(sample: Any, groups: int, rounds: int) -> float:
    """Tokens per second of the best round; the first warms up and does not count."""
    best = 0.0
    for round_number in range(rounds + 1):
        requests = make_requests(groups, round_number)
        start = time.perf_counter()
        tokens = sum(await asyncio.gather(*[sample(request) for request in requests]))
        if round_number:
            best = max(best, tokens / (time.perf_counter() - start))
    return best


def measure(quick: bool) -> list[Row]:
    """The demo's policy, groups of 8, all asked for at once."""
    from actors.rollout_worker import engine_environment
    from actors.scratch_policy import write_scratch_policy

    groups, rounds = (32, 2) if quick else (64, 4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_scratch_policy(POLICY, folder, seed=0)
        with local_ray():
            ours = asyncio.run(our_tokens_per_s(folder, groups, rounds))
        bare = in_fresh_process(bare_tokens_per_s, engine_environment(ROLLOUT, "host"), str(folder), groups, rounds)
    return [Row(f"rollout, demo policy, {groups} groups of 8", ours, "tokens/s", "bare AsyncLLM", bare, TARGET)]
