"""Soft distillation: divergences of a student from its teacher's likeliest tokens, one chunk of logits at a time.

The teacher gives the logprobs of its top K tokens and of the rest, all others together. Both distributions are then
over K + 1 outcomes, and the divergence is between these. What the rest does inside is not looked at: by the data
processing inequality the value is a lower bound of the divergence over the whole vocabulary, and equal to it when K is
the vocabulary (the rest then has probability 0 in both and adds nothing). Its gradient pulls the mass of the rest as a
whole, so a student that puts mass outside the teacher's top K is corrected, which renormalising over the K would not.

With t, s the log-probabilities of the K + 1 outcomes at temperature tau (teacher, student), the token loss is tau^2 of
    forward_kl  sum_b e^t_b (t_b - s_b)                                  (Hinton et al., arXiv 1503.02531)
    reverse_kl  sum_b e^s_b (s_b - t_b)                                  (MiniLLM, arXiv 2306.08543)
    jsd         beta KL(t || m) + (1 - beta) KL(s || m), e^m = beta e^t + (1 - beta) e^s   (GKD, arXiv 2306.13649)
tau^2 makes up for the 1 / tau^2 by which gradients shrink (arXiv 1503.02531, section 2).

Shapes: R response tokens, C of them in a chunk, H hidden width, V vocabulary, K top tokens, B = K + 1 outcomes with the
rest as the last. Nothing of size [R, V] is ever kept: the backward pass computes a chunk's logits again.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from algorithms.losses import LossOutput
from configs.divergence import Divergence


def chunked_top_tokens(
    hidden_RH: Tensor,
    head_weight_VH: Tensor,
    *,
    top_k: int,
    temperature: float,
    chunk_tokens: int,
    head_bias_V: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """[R, K] ids of the likeliest tokens, in falling order, and [R, B] float32 logprobs, of the rest last.

    K is `top_k`, or the vocabulary when that is smaller; the rest then has logprob minus infinity.
    """
    ids: list[Tensor] = []
    logprobs: list[Tensor] = []
    for start in range(0, len(hidden_RH), chunk_tokens):
        logits_CV = _logits(hidden_RH[start : start + chunk_tokens], head_weight_VH, head_bias_V, temperature)
        lse_C1 = logits_CV.logsumexp(dim=1, keepdim=True)
        top_CK, ids_CK = logits_CV.topk(min(top_k, logits_CV.shape[1]), dim=1)
        rest_C1 = logits_CV.scatter_(1, ids_CK, -math.inf).logsumexp(dim=1, keepdim=True)
        ids.append(ids_CK)
        logprobs.append((torch.cat([top_CK, rest_C1], dim=1) - lse_C1).float())
    return torch.cat(ids), torch.cat(logprobs)


def chunked_divergence(
    divergence: Divergence,
    hidden_RH: Tensor,
    head_weight_VH: Tensor,
    teacher_ids_RK: Tensor,
    teacher_logprobs_RB: Tensor,
    *,
    chunk_tokens: int,
    head_bias_V: Tensor | None = None,
) -> Tensor:
    """[R] token losses, with gradient to hidden states, weight and bias. The teacher's part has none."""
    loss_R: Tensor = _ChunkedDivergence.apply(  # type: ignore[assignment]
        hidden_RH, head_weight_VH, head_bias_V, teacher_ids_RK, teacher_logprobs_RB, divergence, chunk_tokens
    )
    return loss_R


def distillation_loss(token_loss_R: Tensor, weights_R: Tensor) -> LossOutput:
    """Sum of weight times token loss; a token of weight 0 gives exactly no gradient."""
    trained_R = weights_R != 0
    loss = (weights_R.to(token_loss_R.dtype) * torch.where(trained_R, token_loss_R, 0.0)).sum()
    sums = {"loss": loss.detach().double(), "tokens": trained_R.sum(dtype=torch.float64)}
    return LossOutput(loss, sums)


def outcome_divergence(divergence: Divergence, teacher_CB: Tensor, student_CB: Tensor) -> Tensor:
    """[C] divergence over the outcomes of two log-distributions, without tau^2. 0 log 0 is 0."""
    match divergence.type:
        case "forward_kl":
            return _kl(teacher_CB, student_CB)
        case "reverse_kl":
            return _kl(student_CB, teacher_CB)
        case "jsd":
            mixture_CB = _mixture(divergence.beta, teacher_CB, student_CB)
            own, others = _kl(teacher_CB, mixture_CB), _kl(student_CB, mixture_CB)
            return divergence.beta * own + (1 - divergence.beta) * others


def _slope(divergence: Divergence, teacher_CB: Tensor, student_CB: Tensor) -> Tensor:
    """[C, B] derivative by each log-probability s_b, up to a multiple of e^s_b that the softmax takes out.

    forward_kl: -e^t. reverse_kl: e^s (s - t). jsd: (1 - beta) e^s (s - m), for what comes of the derivative of m in
    both its terms adds up to such a multiple.
    """
    match divergence.type:
        case "forward_kl":
            return -teacher_CB.exp()
        case "reverse_kl":
            return _weighted(student_CB, student_CB - teacher_CB)
        case "jsd":
            mixture_CB = _mixture(divergence.beta, teacher_CB, student_CB)
            return (1 - divergence.beta) * _weighted(student_CB, student_CB - mixture_CB)


def _kl(of_CB: Tensor, from_CB: Tensor) -> Tensor:
    return _weighted(of_CB, of_CB - from_CB).sum(dim=1)


def _weighted(log_weight_CB: Tensor, value_CB: Tensor) -> Tensor:
    """exp(log weight) times value, 0 where the weight is."""
    return torch.where(log_weight_CB == -math.inf, 0.0, log_weight_CB.exp() * value_CB)


def _mixture(beta: float, teacher_CB: Tensor, student_CB: Tensor) -> Tensor:
    return torch.logaddexp(teacher_CB + math.log(beta), student_CB + math.log1p(-beta))


def _logits(hidden_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float) -> Tensor:
    """[C, V] tempered logits in float32 (float64 for float64 inputs)."""
    wide = torch.float64 if hidden_CH.dtype == torch.float64 else torch.float32
    return F.linear(hidden_CH, weight_VH, bias_V).to(wide) / temperature


def _outcomes(logits_CV: Tensor, ids_CK: Tensor) -> tuple[Tensor, Tensor]:
    """[C, V] logprobs, and [C, B] those of the outcomes."""
    logprobs_CV = logits_CV - logits_CV.logsumexp(dim=1, keepdim=True)
    rest_C1 = logprobs_CV.scatter(1, ids_CK, -math.inf).logsumexp(dim=1, keepdim=True)
    return logprobs_CV, torch.cat([logprobs_CV.gather(1, ids_CK), rest_C1], dim=1)


class _ChunkedDivergence(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_RH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        ids_RK: Tensor,
        teacher_RB: Tensor,
        divergence: Divergence,
        chunk_tokens: int,
    ) -> Tensor:
        ctx.divergence, ctx.chunk_tokens = divergence, chunk_tokens
        losses: list[Tensor] = []
        for start in range(0, len(hidden_RH), chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            logits_CV = _logits(hidden_RH[rows], weight_VH, bias_V, divergence.temperature)
            student_CB = _outcomes(logits_CV, ids_RK[rows])[1]
            losses.append(outcome_divergence(divergence, teacher_RB[rows].to(student_CB.dtype), student_CB))
        ctx.save_for_backward(hidden_RH, weight_VH, bias_V, ids_RK, teacher_RB)
        return torch.cat(losses) * divergence.temperature**2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """With g the slope by outcome, G its sum and p the student's probabilities, dL / d logit_v is g_v - p_v G for a
        top token, and p_v (g_rest / p_rest - G) for one of the rest; times tau^2 / tau."""
        hidden_RH, weight_VH, bias_V, ids_RK, teacher_RB = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        divergence: Divergence = ctx.divergence
        grad_hidden_RH = torch.empty_like(hidden_RH) if needs_hidden else None
        # Sums over chunks are in the wide dtype: in bfloat16 small contributions would vanish.
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=grad_R.dtype) if needs_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=grad_R.dtype) if needs_bias else None
        for start in range(0, len(hidden_RH), ctx.chunk_tokens):
            rows = slice(start, start + ctx.chunk_tokens)
            hidden_CH, ids_CK = hidden_RH[rows], ids_RK[rows]
            logits_CV = _logits(hidden_CH, weight_VH, bias_V, divergence.temperature)
            logprobs_CV, student_CB = _outcomes(logits_CV, ids_CK)
            slope_CB = _slope(divergence, teacher_RB[rows].to(student_CB.dtype), student_CB)
            total_C1, rest_C1 = slope_CB.sum(dim=1, keepdim=True), slope_CB[:, -1:]
            # e^(logprob - rest) is a token's share of the rest; without a rest there is no such token.
            share_CV = torch.where(rest_C1 == 0, 0.0, (logprobs_CV - student_CB[:, -1:]).exp())
            slope_CV = (rest_C1 * share_CV).scatter(1, ids_CK, slope_CB[:, :-1]) - logprobs_CV.exp() * total_C1
            slope_CV *= (grad_R[rows] * divergence.temperature)[:, None]
            narrow_CV = slope_CV.to(hidden_RH.dtype)
            if grad_hidden_RH is not None:
                grad_hidden_RH[rows] = narrow_CV @ weight_VH
            if grad_weight_VH is not None:
                grad_weight_VH += narrow_CV.T @ hidden_CH
            if grad_bias_V is not None:
                grad_bias_V += slope_CV.sum(dim=0)
        return (
            grad_hidden_RH,
            None if grad_weight_VH is None else grad_weight_VH.to(weight_VH.dtype),
            None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype),
            None,
            None,
            None,
            None,
        )
