"""Real DeepSpeed learners that begin again from a folder of weights, as STaR does in every iteration."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from configs.prompts import AdamW
from data.records import Batch, Sequence

if TYPE_CHECKING:
    from tests.integration.conftest import Learners

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

PROBE = np.arange(8, 30, dtype=np.int32)
OPTIMIZER = AdamW(learning_rate=1e-2)


def batch(step: int) -> Batch:
    random = np.random.default_rng(step)
    rows = tuple(
        Sequence(
            random.integers(7, 60, 5).astype(np.int32),
            random.integers(7, 60, 6).astype(np.int32),
            np.full(6, 1 / 24, dtype=np.float32),
        )
        for _ in range(4)
    )
    return Batch(step=step, sequences=rows, objective="cross_entropy", learning_rate_share=1.0)


@pytest.mark.parametrize("name", ["tied-zero2", "untied-zero3"])
def test_a_learner_goes_back_to_an_exported_folder_and_counts_on(
    learners: "Learners", tmp_path: Path, name: str
) -> None:
    async def scenario() -> None:
        learner = await learners.get(name)
        await learner.begin(OPTIMIZER)
        await learner.train(batch(0))
        await learner.export(tmp_path / "base")
        base = await learner.prompt_logprobs(PROBE)
        first = await learner.train(batch(1))
        moved = await learner.prompt_logprobs(PROBE)
        assert np.abs(moved - base).max() > 1e-3

        await learner.begin(OPTIMIZER, model=tmp_path / "base", version=first.version)
        np.testing.assert_allclose(await learner.prompt_logprobs(PROBE), base, atol=1e-5, rtol=0)
        again = await learner.train(batch(2))
        assert (first.version, again.version) == (2, 3)

        trained = await learner.prompt_logprobs(PROBE)
        await learner.begin(OPTIMIZER, version=again.version)  # no folder: the weights trained so far
        np.testing.assert_allclose(await learner.prompt_logprobs(PROBE), trained, atol=1e-5, rtol=0)
        await learner.save(tmp_path, export=False)
        await learner.begin(OPTIMIZER)
        await learner.load(tmp_path)
        assert (await learner.train(batch(3))).version == 4

    learners.run(scenario())
