"""Real DeepSpeed learners: Muon learns, a step that is not finite changes nothing, the reference agrees."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from configs.engines import Reference
from configs.prompts import AdamW, Muon
from data.records import Batch, Int32Array, Sequence

if TYPE_CHECKING:
    from tests.integration.conftest import Learners

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

PROBE = np.arange(8, 30, dtype=np.int32)


def ids(random: np.random.Generator, length: int) -> Int32Array:
    return random.integers(7, 60, length).astype(np.int32)


def supervised_batch(step: int) -> Batch:
    """Always the same rows, so the loss can only fall by learning; it is the mean over the tokens."""
    random = np.random.default_rng(5)
    lengths = [5 + i for i in range(7)]  # an odd number: the ranks get different shares
    weight = 1 / sum(lengths)
    rows = tuple(Sequence(ids(random, 6), ids(random, n), np.full(n, weight, dtype=np.float32)) for n in lengths)
    return Batch(step=step, sequences=rows, objective="cross_entropy", learning_rate_share=1.0)


def policy_batch(step: int) -> Batch:
    """A finite step of the policy loss."""
    rows = tuple(
        replace(row, advantage=float((-1) ** i), behaviour_logprobs=np.full(len(row.response_ids), -4, np.float32))
        for i, row in enumerate(supervised_batch(0).sequences)
    )
    return Batch(step=step, sequences=rows, objective="policy", learning_rate_share=1.0)


def with_row(batch: Batch, row: Sequence) -> Batch:
    """The third row in place of the batch's: one rank alone computes what is not finite."""
    rows = list(batch.sequences)
    rows[2] = row
    return replace(batch, sequences=tuple(rows))


@pytest.mark.parametrize("name", ["tied-zero0", "tied-zero2"])
def test_muon_lowers_a_supervised_loss(learners: "Learners", name: str) -> None:
    async def scenario() -> list[float]:
        learner = await learners.get(name)
        await learner.begin(Muon(learning_rate=2e-2, adam_learning_rate=1e-2))
        return [(await learner.train(supervised_batch(step))).metrics["train/loss"] for step in range(20)]

    losses = learners.run(scenario())
    assert losses[0] == pytest.approx(np.log(64), abs=1.0), "the policy did not begin as a random one"
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["tied-zero0", "tied-zero2", "tied-zero3"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_kept(learners: "Learners", name: str) -> None:
    """With a NaN advantage and with an infinite weight; the step after it trains as if it had not been."""
    third = policy_batch(0).sequences[2]
    broken = {
        1: replace(third, advantage=float("nan")),
        2: replace(third, loss_weights=np.full(len(third.response_ids), np.inf, dtype=np.float32)),
    }

    async def scenario() -> None:
        learner = await learners.get(name)
        await learner.begin(AdamW(learning_rate=1e-2))
        first = await learner.train(policy_batch(0))
        assert (first.version, first.skipped) == (1, False)
        before = await learner.prompt_logprobs(PROBE)
        for step, row in broken.items():
            report = await learner.train(with_row(policy_batch(step), row))
            assert (report.version, report.skipped) == (1, True)
            assert report.metrics["train/skipped_steps"] == step
            np.testing.assert_array_equal(await learner.prompt_logprobs(PROBE), before)
        after = await learner.train(policy_batch(3))
        assert (after.version, after.skipped) == (2, False)
        assert np.isfinite(after.metrics["train/grad_norm"])
        moved = await learner.prompt_logprobs(PROBE)
        assert np.isfinite(moved).all()
        assert np.abs(moved - before).max() > 1e-3

    learners.run(scenario())
    for step, row in broken.items():
        with np.load(learners.folder(name) / "dumps" / f"step_{step:06d}.npz") as dump:
            start = int(dump["response_lengths"][:2].sum())
            length = len(row.response_ids)
            np.testing.assert_array_equal(dump["response_ids"][start : start + length], row.response_ids)
            np.testing.assert_array_equal(dump["loss_weights"][start : start + length], row.loss_weights)
            np.testing.assert_array_equal(dump["advantages"][2], row.advantage)


def test_a_sharded_reference_computes_what_the_policy_computes(learners: "Learners", tmp_path: Path) -> None:
    """Two ranks that hold the exported policy in shards, against the learner that exported it."""
    from actors.reference_model import ReferenceModel

    rows = policy_batch(0).sequences

    async def scenario() -> None:
        learner = await learners.get("untied-zero3")
        await learner.begin(AdamW(learning_rate=1e-2))
        await learner.train(policy_batch(0))  # away from the initial weights, which a folder of the fixture holds
        await learner.save(tmp_path, export=True)
        reference = await ReferenceModel.start(
            model=str(tmp_path / "policy"),
            dtype="float32",
            reference=Reference(ranks=2, tokens_per_microbatch=64, cpus_per_rank=0.1),
            chunk_tokens=16,
            run_folder=tmp_path,
        )
        try:
            for temperature in (1.0, 0.7):
                expected = await learner.logprobs(rows, temperature)
                for got, wanted in zip(await reference.logprobs(rows, temperature), expected, strict=True):
                    np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=0)
            await learner.train(policy_batch(1))
            moved = await learner.logprobs(rows, 1.0)
            frozen = await reference.logprobs(rows, 1.0)
            assert max(np.abs(m - f).max() for m, f in zip(moved, frozen, strict=True)) > 1e-3
        finally:
            reference.kill()

    learners.run(scenario())
