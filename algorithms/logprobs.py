"""Log-probabilities of target tokens from hidden states, without the logits of the whole batch in memory.

Logits of at most `chunk_tokens` tokens exist at a time, forward and backward. A single chunk is kept for the backward
pass; with several, each is computed again. Logits are formed in the dtype of the weights, as the sampler forms them;
everything after is in float32 (float64 for float64 inputs).

Shapes: R response tokens, H hidden size, V vocabulary, C tokens of a chunk.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def chunked_logprobs(
    hidden_RH: Tensor,
    head_weight_VH: Tensor,
    target_ids_R: Tensor,
    *,
    temperature: float,
    chunk_tokens: int,
    head_bias_V: Tensor | None = None,
) -> Tensor:
    """[R] log softmax((hidden W^T + bias) / temperature) at the targets, with gradient to hidden, weight and bias.

    Raises ValueError unless `temperature` and `chunk_tokens` are positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0; a greedy policy has no logprobs to train on")
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens {chunk_tokens} must be at least 1")
    logprobs_R: Tensor = _Logprobs.apply(  # type: ignore[assignment]
        hidden_RH, head_weight_VH, head_bias_V, target_ids_R, temperature, chunk_tokens
    )
    return logprobs_R


def _logits(hidden_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float) -> Tensor:
    """[C, V] tempered logits in float32 (float64 for float64 inputs)."""
    wide = torch.float64 if hidden_CH.dtype == torch.float64 else torch.float32
    logits_CV = F.linear(hidden_CH, weight_VH, bias_V).to(wide)
    return logits_CV if temperature == 1 else logits_CV.div_(temperature)


def _normalise(logits_CV: Tensor, targets_C1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logprobs [C] of the targets, the row sums [C, 1] that the buffer now has, and the logits' log-sum-exp [C, 1].

    The buffer is overwritten with exp(logits - row maximum), so that no second one is needed.
    """
    target_C1 = logits_CV.gather(1, targets_C1)
    highest_C1 = logits_CV.amax(dim=1, keepdim=True)
    total_C1 = logits_CV.sub_(highest_C1).exp_().sum(dim=1, keepdim=True)
    lse_C1 = highest_C1 + total_C1.log()
    return (target_C1 - lse_C1).squeeze(1), total_C1, lse_C1


def _minus_slope(softmax_CV: Tensor, targets_C1: Tensor, dtype: torch.dtype) -> Tensor:
    """[C, V] softmax minus one-hot, in place: minus the derivative of the target's logprob by the tempered logits.

    The difference is taken before rounding to the weights' dtype: for a confident token it is tiny.
    """
    softmax_CV.scatter_add_(1, targets_C1, softmax_CV.new_full(targets_C1.shape, -1.0))
    return softmax_CV.to(dtype)


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_RH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_R: Tensor,
        temperature: float,
        chunk_tokens: int,
    ) -> Tensor:
        ctx.temperature, ctx.chunk_tokens = temperature, chunk_tokens
        targets_R1 = targets_R[:, None]
        if len(hidden_RH) <= chunk_tokens:
            buffer_RV = _logits(hidden_RH, weight_VH, bias_V, temperature)
            logprobs_R, total_R1, _ = _normalise(buffer_RV, targets_R1)
            kept = None
            if any(ctx.needs_input_grad):
                kept = _minus_slope(buffer_RV.div_(total_R1), targets_R1, hidden_RH.dtype)
            ctx.single = True
        else:
            parts: list[tuple[Tensor, Tensor]] = []
            for start in range(0, len(hidden_RH), chunk_tokens):
                rows = slice(start, start + chunk_tokens)
                logits_CV = _logits(hidden_RH[rows], weight_VH, bias_V, temperature)
                logprobs_C, _, lse_C1 = _normalise(logits_CV, targets_R1[rows])
                parts.append((logprobs_C, lse_C1))
            logprobs_R, kept = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
            ctx.single = False
        # `kept` spares the backward pass the normalisation: the slope of the only chunk, or log-sum-exp [R, 1].
        ctx.save_for_backward(hidden_RH, weight_VH, bias_V, targets_R1, kept)
        return logprobs_R

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden_RH, weight_VH, bias_V, targets_R1, kept = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        dtype = hidden_RH.dtype
        factor_R1 = (grad_R / -ctx.temperature)[:, None]
        grad_hidden_RH = torch.empty_like(hidden_RH) if needs_hidden else None
        # Sums over chunks are in the wide dtype: in bfloat16 small contributions would vanish.
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=grad_R.dtype) if needs_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=grad_R.dtype) if needs_bias else None
        for start in range(0, len(hidden_RH), ctx.chunk_tokens):
            rows = slice(start, start + ctx.chunk_tokens)
            hidden_CH, factor_C1 = hidden_RH[rows], factor_R1[rows]
            if ctx.single:
                slope_CV = kept
            else:
                logits_CV = _logits(hidden_CH, weight_VH, bias_V, ctx.temperature)
                slope_CV = _minus_slope(logits_CV.sub_(kept[rows]).exp_(), targets_R1[rows], dtype)
            # The token's factor goes onto the narrow operand of each product.
            if grad_hidden_RH is not None:
                grad_hidden_RH[rows] = (slope_CV @ weight_VH) * factor_C1
            if grad_weight_VH is not None:
                grad_weight_VH += slope_CV.T @ (hidden_CH * factor_C1).to(dtype)
            if grad_bias_V is not None:
                grad_bias_V += (slope_CV.T @ factor_C1.to(dtype)).squeeze(1)
        return (
            grad_hidden_RH,
            None if grad_weight_VH is None else grad_weight_VH.to(weight_VH.dtype),
            None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype),
            None,
            None,
            None,
        )
