"""What is read out of the engine's answers, and the environment that its process gets."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vllm.logprobs import FlatLogprobs, Logprob

from actors.rollout_worker import EngineDied, _sampled_logprobs, _versions_per_token, answer_of, engine_environment
from configs.engines import Rollout

pytestmark = pytest.mark.unit


def flat(*positions: dict[int, float]) -> FlatLogprobs:
    """The engine's own container."""
    logprobs = FlatLogprobs()
    for position in positions:
        logprobs.append({token: Logprob(value, rank=None) for token, value in position.items()})
    return logprobs


def ids(*tokens: int) -> Any:
    return np.array(tokens, dtype=np.int32)


def test_each_token_has_the_logprob_that_the_sampler_reported():
    logprobs = _sampled_logprobs(ids(5, 6, 5), flat({5: -0.5}, {6: -1.5}, {5: -2.5}))
    assert logprobs.dtype == np.float32
    assert logprobs.tolist() == [-0.5, -1.5, -2.5]


def test_the_sampled_token_is_found_by_its_id_wherever_it_stands():
    several = flat({9: -0.1, 5: -3.0}, {6: -1.5}, {1: -0.2, 2: -0.3, 7: -4.0})
    assert _sampled_logprobs(ids(5, 6, 7), several).tolist() == [-3.0, -1.5, -4.0]


def test_a_position_without_the_sampled_token_is_an_error():
    with pytest.raises(KeyError):
        _sampled_logprobs(ids(5, 6), flat({5: -0.5}, {7: -1.0}))


@pytest.mark.parametrize("positions", [1, 3])
def test_another_number_of_logprobs_than_of_tokens_is_an_error(positions: int):
    with pytest.raises(RuntimeError, match=f"gave {positions} logprobs for 2 tokens"):
        _sampled_logprobs(ids(5, 6), flat(*[{5: -0.5}] * positions))


def test_no_tokens_have_no_logprobs():
    assert _sampled_logprobs(ids(), flat()).shape == (0,)


def span(version: int, start: int, end: int) -> SimpleNamespace:
    return SimpleNamespace(version=str(version), start=start, end=end)


def test_tokens_have_the_version_of_their_span():
    versions = _versions_per_token(6, [span(3, 0, 2), span(4, 2, 5), span(7, 5, 6)])
    assert versions.dtype == np.int32
    assert versions.tolist() == [3, 3, 4, 4, 4, 7]


@pytest.mark.parametrize("spans", [None, [], [span(3, 0, 2)], [span(3, 1, 4)], [span(3, 0, 1), span(4, 2, 4)]])
def test_spans_that_leave_a_token_out_are_an_error(spans: Any):
    with pytest.raises(RuntimeError, match="do not cover 4 tokens"):
        _versions_per_token(4, spans)


def test_no_tokens_need_no_span():
    assert _versions_per_token(0, None).shape == (0,)


def test_an_engine_on_cpus_sees_no_gpu_and_a_single_one_runs_inside_its_actor():
    rollout = Rollout(group_size=2, max_completion_tokens=4, cpus_per_worker=2.5)
    environment = engine_environment(rollout, "host")
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    two = rollout.model_copy(update={"tensor_parallel": 2})
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in engine_environment(two, "host")


def test_an_engine_on_a_gpu_keeps_the_devices_that_ray_gives_it():
    rollout = Rollout(group_size=2, max_completion_tokens=4, gpus_per_worker=1, cpus_per_worker=0.5)
    environment = engine_environment(rollout, "nccl")
    assert "CUDA_VISIBLE_DEVICES" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"
    assert "VLLM_ALLOW_INSECURE_SERIALIZATION" not in environment
    assert engine_environment(rollout, "ipc")["VLLM_ALLOW_INSECURE_SERIALIZATION"] == "1"


async def test_a_call_that_a_dead_engine_leaves_unanswered_fails_at_once():
    dies, cancelled = asyncio.Event(), asyncio.Event()

    async def unanswered() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    alive = asyncio.ensure_future(dies.wait())
    call = asyncio.ensure_future(answer_of(unanswered(), alive))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    dies.set()
    with pytest.raises(EngineDied):
        await asyncio.wait_for(call, 5)
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_the_answer_and_the_error_of_a_live_engine_come_through():
    async def answers() -> int:
        return 7

    async def fails() -> int:
        raise ValueError("refused")

    alive = asyncio.ensure_future(asyncio.Event().wait())
    assert await answer_of(answers(), alive) == 7  # type: ignore[arg-type]
    assert await answer_of(answers(), None) == 7
    with pytest.raises(ValueError, match="refused"):
        await answer_of(fails(), alive)  # type: ignore[arg-type]
    assert not alive.done(), "the engine's own task is left alone"
    alive.cancel()
