"""Losses of models that score: outcome and process models by cross-entropy, preference models by pairs.

A score is a logit: its sigmoid is the probability that the solution, or the step that ends here, is right. As in
algorithms/losses.py the step's loss is the sum of weight times loss over all micro-batches and ranks, a position of
weight 0 gives exactly no gradient, and statistics are sums that micro-batches and ranks can merge.

Shapes: R response tokens of a packed micro-batch, K positions that are scored (of weight other than 0), in order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from algorithms.losses import LossOutput
from data.packing import PackedTokens
from data.records import Objective


def score_loss(objective: Objective, scores_R: Tensor, packed: PackedTokens) -> LossOutput:
    """The loss of a micro-batch. Raises ValueError for labels that are missing and objectives that need no scores."""
    if objective == "bradley_terry":
        return bradley_terry(scores_R, packed.weights_R)
    if objective != "binary_cross_entropy":
        raise ValueError(f"a score model is trained by binary_cross_entropy or bradley_terry, not by {objective!r}")
    if packed.labels_R is None:
        raise ValueError("binary_cross_entropy needs the labels of the sequences, and there are none")
    return binary_cross_entropy(scores_R, packed.labels_R, packed.weights_R)


def binary_cross_entropy(scores_R: Tensor, labels_R: Tensor, weights_R: Tensor) -> LossOutput:
    """Loss = sum of weight * (-y log sigma(s) - (1 - y) log(1 - sigma(s))), labels y in [0, 1].

    Of an outcome model (arXiv 2110.14168) the solution's last token is scored; of a process model (arXiv 2305.20050)
    the last token of every step, with hard labels or soft ones (arXiv 2312.08935, equations 3 to 5). A prediction is
    right when score and label are on the same side of one half.
    """
    scored_R = weights_R != 0
    scores_K, labels_K = _wide(scores_R[scored_R]), labels_R[scored_R]
    weights_K = weights_R[scored_R].to(scores_K.dtype)
    losses_K = F.binary_cross_entropy_with_logits(scores_K, labels_K.to(scores_K.dtype), reduction="none")
    loss = (weights_K * losses_K).sum()
    return _output(loss, (scores_K.detach() > 0) == (labels_K >= 0.5))


def bradley_terry(scores_R: Tensor, weights_R: Tensor) -> LossOutput:
    """Loss = sum over pairs of weight * -log sigma(s_chosen - s_rejected) (arXiv 2203.02155, equation 1).

    The scored positions alternate: chosen, rejected, chosen, rejected; a pair has the weight of its chosen one. Raises
    ValueError when half a pair is missing.
    """
    scored_R = weights_R != 0
    scores_K, weights_K = _wide(scores_R[scored_R]), weights_R[scored_R]
    if len(scores_K) % 2:
        raise ValueError(f"{len(scores_K)} responses are scored, and pairs make an even number: one was cut in half")
    margins = scores_K[0::2] - scores_K[1::2]
    loss = (weights_K[0::2].to(margins.dtype) * -F.logsigmoid(margins)).sum()
    return _output(loss, margins.detach() > 0)


def _wide(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()


def _output(loss: Tensor, right: Tensor) -> LossOutput:
    judged = torch.tensor(float(len(right)), dtype=torch.float64, device=loss.device)
    sums = {"loss": loss.detach().double(), "tokens": judged, "judged": judged, "right": right.sum().double()}
    return LossOutput(loss, sums)
