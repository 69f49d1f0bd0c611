"""Real DeepSpeed learners: a loss without an update, and a step that follows a teacher's distribution."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from configs.divergence import Divergence
from configs.prompts import AdamW
from data.records import Batch, Sequence, TopTokens

if TYPE_CHECKING:
    from tests.integration.conftest import Learners

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]


def batch() -> Batch:
    """An odd number of rows, so that ranks get different shares; the loss is the mean over the tokens."""
    random = np.random.default_rng(5)
    lengths = [5, 6, 7]
    weight = np.float32(1 / sum(lengths))
    draw = [(random.integers(7, 60, 6).astype(np.int32), random.integers(7, 60, n).astype(np.int32)) for n in lengths]
    rows = tuple(Sequence(p, r, np.full(len(r), weight, dtype=np.float32)) for p, r in draw)
    return Batch(step=0, sequences=rows, objective="cross_entropy", learning_rate_share=1.0)


def taught(given: Batch) -> Batch:
    """A teacher that is sure of the response's token: nine tenths on it, the rest elsewhere."""

    def top(response_ids: np.ndarray) -> TopTokens:
        logprobs = np.log(np.array([[0.9, 0.1]], dtype=np.float32))
        return TopTokens(response_ids[:, None], np.repeat(logprobs, len(response_ids), axis=0))

    rows = tuple(replace(row, teacher=top(row.response_ids)) for row in given.sequences)
    return replace(given, sequences=rows, objective="distillation", divergence=Divergence(top_k=1))


@pytest.mark.parametrize("name", ["tied-zero0", "tied-zero2", "tied-zero3", "untied-zero3"])
@pytest.mark.parametrize("with_teacher", [False, True])
def test_a_measured_loss_is_the_steps_and_changes_nothing(learners: "Learners", name: str, with_teacher: bool) -> None:
    given = taught(batch()) if with_teacher else batch()

    async def scenario() -> tuple[list[float], list[float]]:
        learner = await learners.get(name)
        await learner.begin(AdamW(learning_rate=1e-2), model=learners.policy(name))
        measured = [await learner.loss(given), await learner.loss(given)]
        trained = [(await learner.train(replace(given, step=step))).metrics["train/loss"] for step in range(15)]
        return [*measured, await learner.loss(given)], trained

    measured, trained = learners.run(scenario())
    assert measured[0] == measured[1] == pytest.approx(trained[0], rel=1e-5)
    assert max(measured[2], trained[-1]) < 0.5 * trained[0]
