"""The learner does one thing after the other, each call with its own deadline; the data of a bad step is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.fleet_client import TransferPlan
from actors.learner_group import LearnerDied, LearnerGroup, dump_batch
from configs.engines import Learner
from configs.prompts import AdamW
from data.records import Batch, Sequence, StepReport
from tests.actors.standins import Reference

pytestmark = pytest.mark.unit


class Rank:
    """A rank that does one thing after the other, as an actor does. `plan[method]` says what."""

    def __init__(self, **plan: Callable[..., Awaitable[Any]]) -> None:
        self.plan = plan
        self.calls: list[str] = []
        self._one_at_a_time = asyncio.Lock()

    def __getattr__(self, method: str) -> Any:
        async def work(*args: Any) -> Any:
            async with self._one_at_a_time:
                return await self.plan[method](*args) if method in self.plan else None

        def remote(*args: Any) -> Reference:
            self.calls.append(method)
            return Reference(work(*args))

        return type("Method", (), {"remote": staticmethod(remote)})


def group(rank: Rank, folder: Path = Path("/nowhere")) -> LearnerGroup:
    return LearnerGroup([rank], Learner(tokens_per_microbatch=64), folder)


def row(prompt: int, response: int, behaviour: float | None = None, advantage: float = 0.0) -> Sequence:
    return Sequence(
        np.arange(prompt, dtype=np.int32),
        np.arange(response, dtype=np.int32) + 100,
        np.full(response, 0.5, dtype=np.float32),
        advantage,
        None if behaviour is None else np.full(response, behaviour, dtype=np.float32),
    )


BATCH = Batch(0, (row(2, 3),), "cross_entropy", 1.0)


async def takes(seconds: float, answer: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return answer


async def step_of_150_ms(*_: Any) -> StepReport:
    return await takes(0.15, StepReport(version=1, skipped=False, metrics={}, train_s=0.15))


async def test_the_deadline_of_a_weight_update_does_not_count_the_step_before_it():
    learner = group(Rank(train=step_of_150_ms, send_weights=lambda: takes(0, {"version": 1})))
    step = asyncio.create_task(learner.train(BATCH))
    await asyncio.sleep(0.01)
    assert await learner.send_weights(timeout_s=0.1) == {"version": 1}
    assert (await step).version == 1


CALLS: dict[str, Callable[[LearnerGroup], Any]] = {
    "begin": lambda learner: learner.begin(AdamW(learning_rate=1.0)),
    "save": lambda learner: learner.save(Path("/nowhere"), export=True),
    "load": lambda learner: learner.load(Path("/nowhere")),
    "rendezvous": lambda learner: learner.rendezvous(),
    "open": lambda learner: learner.open_transfer(TransferPlan("host", (), "", 1, "", 1.0)),
    "probe": lambda learner: learner.prompt_logprobs(np.arange(3, dtype=np.int32)),
    "logprobs": lambda learner: learner.logprobs([row(2, 3)], 1.0),
}


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_waits_for_its_turn(name: str):
    rank = Rank(train=step_of_150_ms)
    learner = group(rank)
    step = asyncio.create_task(learner.train(BATCH))
    await asyncio.sleep(0.01)
    other = asyncio.create_task(CALLS[name](learner))
    await asyncio.sleep(0.01)
    assert rank.calls == ["train"]
    await asyncio.gather(step, other)
    assert len(rank.calls) >= 2


async def test_a_cancelled_step_gives_the_turn_back():
    learner = group(Rank(train=lambda *_: takes(10)))
    step = asyncio.create_task(learner.train(BATCH))
    await asyncio.sleep(0.01)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    with pytest.raises(LearnerDied, match=r"did not send weights within 0\.05 s"):
        await learner.send_weights(timeout_s=0.05)


async def test_a_skipped_step_is_counted_and_its_data_kept(tmp_path: Path):
    async def skipped(*_: Any) -> StepReport:
        return StepReport(version=0, skipped=True, metrics={"loss": 1.0}, train_s=2.0)

    learner = group(Rank(train=skipped), tmp_path)
    await learner.train(Batch(4, (row(2, 3), row(1, 4)), "cross_entropy", 1.0))
    second = await learner.train(Batch(5, (row(2, 3), row(1, 4)), "cross_entropy", 1.0))
    assert second.metrics == {"loss": 1.0, "train/tokens_per_s": 5.0, "train/skipped_steps": 2.0}
    assert sorted(path.name for path in (tmp_path / "dumps").iterdir()) == ["step_000004.npz", "step_000005.npz"]


def test_a_dump_holds_every_sequence_flat_with_the_lengths_to_cut_it_by(tmp_path: Path):
    rows = (row(2, 3, behaviour=-0.5, advantage=1.0), row(4, 1, behaviour=-1.5, advantage=-2.0))
    with np.load(dump_batch(Batch(12, rows, "policy", 1.0), tmp_path / "dumps")) as data:
        prompts = np.split(data["prompt_ids"], np.cumsum(data["prompt_lengths"])[:-1])
        responses = np.split(data["response_ids"], np.cumsum(data["response_lengths"])[:-1])
        for sequence, prompt, response in zip(rows, prompts, responses, strict=True):
            np.testing.assert_array_equal(prompt, sequence.prompt_ids)
            np.testing.assert_array_equal(response, sequence.response_ids)
        assert data["advantages"].tolist() == [1.0, -2.0]
        assert data["behaviour_logprobs"].tolist() == [-0.5, -0.5, -0.5, -1.5]
        assert data["loss_weights"].tolist() == [0.5] * 4


def test_a_supervised_batch_has_no_behaviour_logprobs_to_dump(tmp_path: Path):
    with np.load(dump_batch(BATCH, tmp_path)) as data:
        assert data["behaviour_logprobs"].shape == (0,)


async def test_a_stage_can_begin_from_a_folder_with_a_count_that_goes_on(tmp_path: Path):
    given: list[tuple[Any, ...]] = []
    scratch: list[str] = []

    async def begin(*args: Any) -> None:
        scratch.append(args[1])
        given.append(args[2:])

    learner = group(Rank(begin=begin), tmp_path)
    await learner.begin(AdamW(learning_rate=1.0))
    await learner.begin(AdamW(learning_rate=1.0), model=Path("/base"), version=7)
    await learner.begin(AdamW(learning_rate=1.0))
    assert given == [(None, 0), ("/base", 7), (None, 0)]
    assert scratch[0] != scratch[1], "a stage would overwrite what it is read from"
    assert scratch[2] == scratch[0], "the weights of every stage would stay on the disk"
