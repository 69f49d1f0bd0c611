import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.prompts import AdamW, AdditionTraces, HeldOut, Schedule, SftStage
from data.records import Batch, Sequence, StepReport
from trainers.sft import run_sft_stage, stage_steps

pytestmark = pytest.mark.unit

STAGE = SftStage(
    traces=AdditionTraces(),
    steps=4,
    sequences_per_step=3,
    optimizer=AdamW(learning_rate=0.1),
    schedule=Schedule(type="linear"),
)


class Rows:
    """Row i has a response of i mod 3 + 1 tokens, each of them i."""

    def __init__(self, rows: int | None = None) -> None:
        self.next = 0
        self.rows = rows
        self.taken = threading.Event()

    def take(self):
        self.next += 1
        if self.next > 3:
            self.taken.set()
        i = self.next - 1
        return np.array([1, 2], dtype=np.int32), np.full(i % 3 + 1, i, dtype=np.int32)

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def restore(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class Learner:
    def __init__(self) -> None:
        self.begun: list[object] = []
        self.batches: list[Batch] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.wait_for: threading.Event | None = None
        self.measured: list[Batch] = []

    async def loss(self, batch: Batch) -> float:
        self.measured.append(batch)
        return float(sum(s.loss_weights.sum() for s in batch.sequences)) * (10 + len(self.batches))

    async def begin(self, optimizer: object) -> None:
        self.begun.append(optimizer)

    async def train(self, batch: Batch) -> StepReport:
        if self.wait_for is not None:
            assert await asyncio.to_thread(self.wait_for.wait, 3), "the next batch was not built during the step"
        self.batches.append(batch)
        metrics = {"train/loss": 1.0 / len(self.batches), "train/grad_norm": 1.0}
        return StepReport(len(self.batches), False, metrics, 0.0)

    async def save(self, folder: Path, *, export: bool) -> None: ...

    async def load(self, folder: Path) -> None: ...

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.logged.append((step, dict(metrics)))

    def log_samples(self, step: int, rows: object) -> None: ...


async def test_a_stage_trains_on_the_token_mean_of_each_step():
    learner, rows = Learner(), Rows()
    report = await run_sft_stage(STAGE, rows, learner, learner, tracker_step=100)
    assert learner.begun == [STAGE.optimizer]
    assert [b.step for b in learner.batches] == [0, 1, 2, 3]
    for batch in learner.batches:
        assert batch.objective == "cross_entropy"
        weights = np.concatenate([s.loss_weights for s in batch.sequences])
        assert len(weights) == 6
        assert weights == pytest.approx(1 / 6)
    assert [int(s.response_ids[0]) for b in learner.batches for s in b.sequences] == list(range(12))
    assert [b.learning_rate_share for b in learner.batches] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert [(step, metrics["sft/loss"]) for step, metrics in learner.logged] == [
        (101, 1),
        (102, 1 / 2),
        (103, 1 / 3),
        (104, 1 / 4),
    ]
    assert (report.steps_done, report.version, report.tokens) == (4, 4, 24)
    assert (report.first_loss, report.last_loss) == (1.0, 0.25)
    assert rows.next == 12


async def test_the_next_batch_is_built_while_the_learner_trains():
    learner, rows = Learner(), Rows()
    learner.wait_for = rows.taken
    async with asyncio.timeout(5):
        await run_sft_stage(STAGE, rows, learner, learner)


async def test_a_stop_and_a_resume_train_on_each_row_once():
    learner, rows = Learner(), Rows()
    cursors: list[tuple[int, dict[str, Any]]] = []

    async def after_step(done: int, cursor: dict[str, Any], report: StepReport) -> None:
        cursors.append((done, cursor))

    stopped = await run_sft_stage(
        STAGE, rows, learner, learner, stop_requested=lambda: len(learner.batches) == 2, after_step=after_step
    )
    assert stopped.steps_done == 2
    assert cursors == [(1, {"next": 3}), (2, {"next": 6})]
    resumed = Rows()
    resumed.restore(cursors[-1][1])
    await run_sft_stage(STAGE, resumed, learner, learner, first_step=2)
    assert len(learner.begun) == 1
    assert [int(s.response_ids[0]) for b in learner.batches for s in b.sequences] == list(range(12))


async def test_the_learners_own_error_comes_through():
    class Broken(Learner):
        async def train(self, batch: Batch) -> StepReport:
            raise ConnectionError("rank 0 is gone")

    broken = Broken()
    with pytest.raises(ConnectionError, match="rank 0 is gone"):
        await run_sft_stage(STAGE, Rows(), broken, broken)


def test_epochs_become_steps_of_all_rows():
    by_epochs = STAGE.model_copy(update={"steps": None, "epochs": 2.0})
    assert stage_steps(by_epochs, rows=10) == 7  # 20 pairs, 3 per step
    assert stage_steps(by_epochs, rows=1) == 1
    assert stage_steps(STAGE, rows=10) == 4
    with pytest.raises(ValueError, match="no rows to pass over"):
        stage_steps(by_epochs, rows=None)


async def test_a_stage_of_epochs_takes_the_rows_of_its_source():
    learner, rows = Learner(), Rows(rows=9)
    by_epochs = STAGE.model_copy(update={"steps": None, "epochs": 1.0})
    report = await run_sft_stage(by_epochs, rows, learner, learner)
    assert (report.steps_done, rows.next) == (3, 9)
    assert learner.batches[-1].learning_rate_share == pytest.approx(0.0), "the schedule does not know the end"


async def test_the_held_out_loss_is_a_mean_over_all_tokens_measured_at_the_start_the_interval_and_the_end():
    learner = Learner()
    stage = STAGE.model_copy(update={"held_out": HeldOut(share=0.1, every_steps=3)})
    pairs = [(np.array([1], dtype=np.int32), np.full(n, n, dtype=np.int32)) for n in (1, 2, 3, 4)]
    report = await run_sft_stage(stage, Rows(), learner, learner, tracker_step=100, held_out=pairs)
    assert [len(batch.sequences) for batch in learner.measured] == [3, 1] * 3
    assert all(s.loss_weights == pytest.approx(1 / 10) for batch in learner.measured for s in batch.sequences)
    assert report.held_out_losses == ((0, pytest.approx(10)), (3, pytest.approx(13)), (4, pytest.approx(14)))
    logged = [
        (step, metrics["sft/held_out_loss"]) for step, metrics in learner.logged if "sft/held_out_loss" in metrics
    ]
    assert logged == [(100, pytest.approx(10)), (103, pytest.approx(13)), (104, pytest.approx(14))]


async def test_enriched_batches_are_what_is_trained_and_measured():
    async def enrich(batch: Batch) -> Batch:
        rows = tuple(Sequence(s.prompt_ids, s.response_ids, s.loss_weights, advantage=7.0) for s in batch.sequences)
        return Batch(batch.step, rows, batch.objective, batch.learning_rate_share, temperature=2.0)

    learner = Learner()
    pairs = [(np.array([1], dtype=np.int32), np.array([2], dtype=np.int32))]
    await run_sft_stage(STAGE, Rows(), learner, learner, held_out=pairs, enrich=enrich)
    assert {batch.temperature for batch in [*learner.batches, *learner.measured]} == {2.0}
    assert [batch.step for batch in learner.batches] == [0, 1, 2, 3]
