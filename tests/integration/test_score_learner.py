"""A real DeepSpeed learner of a model that scores learns at every ZeRO stage, and exports plain transformers."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from configs.engines import Learner
from configs.prompts import AdamW
from data.records import Batch, Objective, Sequence

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

GOOD = 20  # a response that holds this token is right


def rows(objective: Objective) -> tuple[Sequence, ...]:
    """Sixteen responses, right and wrong by turns: as pairs, right ones are chosen. Lengths differ."""
    random = np.random.default_rng(3)
    found: list[Sequence] = []
    for number in range(16):
        length = 4 + number // 3
        response = random.integers(30, 60, length).astype(np.int32)
        right = number % 2 == 0
        if right:
            response[length // 2] = GOOD
        weights, labels = np.zeros(length, np.float32), np.zeros(length, np.float32)
        weights[-1], labels[-1] = 1 / (16 if objective == "binary_cross_entropy" else 8), right
        found.append(Sequence(random.integers(7, 20, 3).astype(np.int32), response, weights, labels=labels))
    return tuple(found)


@pytest.mark.parametrize(
    ("ranks", "stage", "objective"),
    [(1, 0, "bradley_terry"), (2, 2, "binary_cross_entropy"), (2, 3, "bradley_terry"), (2, 1, "binary_cross_entropy")],
)
def test_it_learns_and_its_export_scores_the_same_in_plain_transformers(
    policy_folders: dict[str, Path], tmp_path: Path, ranks: int, stage: int, objective: Objective
) -> None:
    from actors.learner_group import LearnerGroup

    sequences = rows(objective)
    config = Learner(ranks=ranks, zero_stage=stage, tokens_per_microbatch=64, cpus_per_rank=0.1)

    async def scenario() -> tuple[list[float], float, list[float]]:
        learner = await LearnerGroup.start(
            model=str(policy_folders["tied"]),
            dtype="float32",
            learner=config,
            algorithm=None,
            seed=0,
            run_folder=tmp_path,
            scores=True,
        )
        try:
            await learner.begin(AdamW(learning_rate=3e-3))
            losses: list[float] = []
            accuracy = 0.0
            for step in range(25):
                report = await learner.train(Batch(step, sequences, objective, 1.0))
                losses.append(report.metrics["train/loss"])
                accuracy = report.metrics["train/accuracy"]
            scores = await learner.scores(sequences)
            await learner.export(tmp_path / "exported")
            return losses, accuracy, [float(own[-1]) for own in scores]
        finally:
            await learner.close()

    losses, accuracy, scores = asyncio.run(asyncio.wait_for(scenario(), 240))
    assert losses[0] == pytest.approx(np.log(2), abs=0.5), "an untrained head did not begin near one half"
    assert losses[-1] < 0.3 * losses[0]
    assert accuracy == 1.0

    import torch
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "exported", local_files_only=True).eval()
    for sequence, score in zip(sequences, scores, strict=True):
        ids = torch.from_numpy(np.concatenate([sequence.prompt_ids, sequence.response_ids]).astype(np.int64))
        with torch.no_grad():
            assert float(model(ids[None]).logits[0, -1, 0]) == pytest.approx(score, abs=1e-4)
