"""Losses of score models against slow float64 sums with gradients written out, over layouts, with hostile values.

Shapes: R response tokens.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from algorithms.losses import LossOutput, reduce_metrics
from algorithms.score_losses import binary_cross_entropy, bradley_terry, score_loss
from data.packing import pack, plan_batch
from data.records import Batch, Sequence

pytestmark = pytest.mark.unit


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def random_scores(tokens: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(tokens, generator=generator, dtype=torch.float64)).requires_grad_()


def gradient_of(output: LossOutput, scores_R: Tensor) -> Tensor:
    (gradient_R,) = torch.autograd.grad(output.loss, scores_R)
    return gradient_R


def test_cross_entropy_is_the_weighted_sum_with_the_gradient_sigmoid_minus_label():
    scores_R = random_scores(9)
    labels_R = torch.tensor([0, 1, 0.3, 1, 0, 0.75, 1, 0, 1], dtype=torch.float64)  # hard ones and soft ones
    weights_R = torch.tensor([0, 0.2, 0.1, 0, 0, 0.5, 0.3, 0.4, 0], dtype=torch.float64)
    output = binary_cross_entropy(scores_R, labels_R, weights_R)
    expected, slopes = 0.0, []
    for s, y, w in zip(scores_R.tolist(), labels_R.tolist(), weights_R.tolist(), strict=True):
        expected += w * -(y * math.log(sigmoid(s)) + (1 - y) * math.log(1 - sigmoid(s)))
        slopes.append(w * (sigmoid(s) - y))
    assert output.loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient_of(output, scores_R), torch.tensor(slopes, dtype=torch.float64))
    right = sum((s > 0) == (y >= 0.5) for s, y, w in zip(scores_R.tolist(), labels_R, weights_R, strict=True) if w)
    assert reduce_metrics({k: float(v) for k, v in output.sums.items()})["train/accuracy"] == right / 5


def test_bradley_terry_is_the_logistic_loss_of_the_margin_with_its_gradient():
    scores_R = random_scores(8, seed=1)
    weights_R = torch.tensor([0, 0.25, 0, 0.25, 0.75, 0.75, 0, 0], dtype=torch.float64)  # pairs (1, 3) and (4, 5)
    output = bradley_terry(scores_R, weights_R)
    s = scores_R.tolist()
    margins = [s[1] - s[3], s[4] - s[5]]
    expected = -0.25 * math.log(sigmoid(margins[0])) - 0.75 * math.log(sigmoid(margins[1]))
    slopes = [0.25 * (sigmoid(margins[0]) - 1), 0.75 * (sigmoid(margins[1]) - 1)]
    gradient = torch.tensor([0, slopes[0], 0, -slopes[0], slopes[1], -slopes[1], 0, 0], dtype=torch.float64)
    assert output.loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient_of(output, scores_R), gradient)
    assert float(output.sums["right"]) == sum(margin > 0 for margin in margins)


def test_confident_scores_give_finite_losses():
    scores_R = torch.tensor([800.0, -800.0], requires_grad=True)
    wrong = binary_cross_entropy(scores_R, torch.tensor([0.0, 1.0]), torch.ones(2))
    assert float(wrong.loss) == pytest.approx(1600.0)
    assert gradient_of(wrong, scores_R).tolist() == [1.0, -1.0]
    assert float(bradley_terry(torch.tensor([-800.0, 800.0]), torch.ones(2)).loss) == pytest.approx(1600.0)


@pytest.mark.parametrize("hostile", [math.nan, math.inf])
def test_a_position_of_weight_zero_gives_exactly_no_gradient(hostile: float):
    scores_R = torch.tensor([hostile, 0.5, hostile, -0.25], requires_grad=True)
    weights_R = torch.tensor([0.0, 1.0, 0.0, 1.0])
    for output in (
        binary_cross_entropy(scores_R, torch.tensor([hostile, 1.0, hostile, 0.0]), weights_R),
        bradley_terry(scores_R, weights_R),
    ):
        gradient_R = gradient_of(output, scores_R)
        assert gradient_R[[0, 2]].tolist() == [0.0, 0.0]
        assert torch.isfinite(output.loss)
        assert gradient_R[[1, 3]].abs().min() > 0


def test_half_a_pair_is_refused():
    with pytest.raises(ValueError, match="cut in half"):
        bradley_terry(random_scores(3), torch.ones(3))


def scored(length: int, label: float) -> Sequence:
    """A response whose last token alone is scored, with weight 1/6."""
    ids = np.arange(length, dtype=np.int32)
    weights, labels = np.zeros(length, np.float32), np.zeros(length, np.float32)
    weights[-1], labels[-1] = 1 / 6, label
    return Sequence(ids[:1], ids, weights, labels=labels)


@pytest.mark.parametrize("objective", ["binary_cross_entropy", "bradley_terry"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_loss_of_a_step_does_not_depend_on_micro_batches_and_ranks(objective: str, ranks: int):
    rows = tuple(scored(length, float(i % 2 == 0)) for i, length in enumerate([3, 9, 4, 4, 8, 2]))
    batch = Batch(0, rows, objective, 1.0)  # pyright: ignore[reportArgumentType]
    scores = [torch.linspace(-2 - i, i * i / 5, len(row.response_ids)) for i, row in enumerate(rows)]

    def loss_of(indices: list[int]) -> float:
        packed = pack([rows[i] for i in indices])
        scores_R = torch.cat([scores[i] for i in indices]) if indices else torch.zeros(1)
        return float(score_loss(batch.objective, scores_R, packed).loss)

    plan = plan_batch(batch, 20, ranks)
    assert sorted(i for bins in plan for bin in bins for i in bin) == list(range(6))
    assert sum(loss_of(bin) for bins in plan for bin in bins) == pytest.approx(loss_of(list(range(6))), rel=1e-6)
    if objective == "bradley_terry":
        assert all(bin[0::2] == [i - 1 for i in bin[1::2]] for bins in plan for bin in bins)


def test_what_cannot_be_scored_is_refused():
    packed = pack([Sequence(np.ones(1, np.int32), np.ones(2, np.int32), np.ones(2, np.float32))])
    with pytest.raises(ValueError, match="labels"):
        score_loss("binary_cross_entropy", torch.zeros(2), packed)
    with pytest.raises(ValueError, match="not by 'policy'"):
        score_loss("policy", torch.zeros(2), packed)
