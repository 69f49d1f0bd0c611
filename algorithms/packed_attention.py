"""Block-diagonal causal attention over packed sequences, and its registration with transformers.

A pack is one row of N tokens that holds S sequences end to end; `cu_seqlens_S1` are their boundaries. On CUDA in half
precision the flash kernel reads the pack as it is. Everywhere else sequences of similar length are gathered into
padded blocks: on the right side of a causal mask padding is never looked at, so no mask is needed.

Shapes: N tokens of the pack, S sequences (S1 is S + 1), H query heads, K key-value heads, D head size,
B sequences of a block, L length of its longest, W width of a token's row.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

ATTENTION_NAME = "packed_causal"

# Sequences share a block while the shortest is at least this share of the longest: at most a quarter is padding.
SHORTEST_IN_BLOCK = 0.75
# A block of fewer tokens costs more to launch than its neighbours cost to pad.
MIN_BLOCK_TOKENS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class PaddingPlan:
    """Where each token of a pack lies in the padded blocks. The blocks' slots are numbered one after the other."""

    blocks: tuple[tuple[int, int], ...]  # (B, L) of each block
    token_of_slot: Tensor  # [slots] int64; padding reads token 0, whose value no output depends on
    slot_of_token_N: Tensor  # [N] int64

    @property
    def slots(self) -> list[int]:
        """Slots of each block."""
        return [sequences * length for sequences, length in self.blocks]


def plan_padding(cu_seqlens_S1: Tensor) -> PaddingPlan:
    """Sort the sequences by length, cut them into blocks of similar length and number the slots."""
    bounds_S1 = cu_seqlens_S1.to(device="cpu", dtype=torch.int64)
    lengths_S, order_S = torch.diff(bounds_S1).sort(descending=True, stable=True)
    num_sequences = int((lengths_S > 0).sum())
    lengths = lengths_S[:num_sequences].tolist()
    blocks: list[tuple[int, int]] = []
    tokens_of_block: list[Tensor] = []
    slot_of_token_N = torch.empty(int(bounds_S1[-1]), dtype=torch.int64)
    start, first_slot = 0, 0
    while start < num_sequences:
        longest = lengths[start]
        end, tokens = start + 1, longest
        while end < num_sequences and (lengths[end] >= SHORTEST_IN_BLOCK * longest or tokens < MIN_BLOCK_TOKENS):
            tokens += lengths[end]
            end += 1
        offset_L = torch.arange(longest)
        token_BL = bounds_S1[order_S[start:end], None] + offset_L
        valid_BL = offset_L < lengths_S[start:end, None]
        slot_BL = torch.arange(first_slot, first_slot + valid_BL.numel()).view_as(valid_BL)
        slot_of_token_N[token_BL[valid_BL]] = slot_BL[valid_BL]
        tokens_of_block.append(token_BL.masked_fill(~valid_BL, 0).flatten())
        blocks.append((end - start, longest))
        start, first_slot = end, first_slot + valid_BL.numel()
    token_of_slot = torch.cat(tokens_of_block) if tokens_of_block else torch.empty(0, dtype=torch.int64)
    device = cu_seqlens_S1.device
    return PaddingPlan(tuple(blocks), token_of_slot.to(device), slot_of_token_N.to(device))


class _Pad(torch.autograd.Function):
    """Pack to blocks. Each token has one slot, so the backward pass is a gather too (and the padding gets nothing)."""

    @staticmethod
    def forward(ctx: Any, rows_NW: Tensor, plan: PaddingPlan) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.plan = plan
        return rows_NW.index_select(0, plan.token_of_slot).split(plan.slots)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return torch.cat(grads).index_select(0, ctx.plan.slot_of_token_N), None


class _Unpad(torch.autograd.Function):
    """Blocks to pack; the inverse of `_Pad`."""

    @staticmethod
    def forward(ctx: Any, plan: PaddingPlan, *blocks: Tensor) -> Tensor:  # type: ignore[override]
        ctx.plan = plan
        return torch.cat(blocks).index_select(0, plan.slot_of_token_N)

    @staticmethod
    def backward(ctx: Any, grad_NW: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        plan: PaddingPlan = ctx.plan
        grad = grad_NW.new_zeros(len(plan.token_of_slot), grad_NW.shape[1])
        grad.index_copy_(0, plan.slot_of_token_N, grad_NW)
        return None, *grad.split(plan.slots)


_latest_plan: tuple[Tensor, PaddingPlan] | None = None


def _plan_of(cu_seqlens_S1: Tensor) -> PaddingPlan:
    """The plan of this very tensor: every layer of a forward pass, and its recomputation, asks for the same one."""
    global _latest_plan
    latest = _latest_plan
    if latest is None or latest[0] is not cu_seqlens_S1:
        latest = _latest_plan = (cu_seqlens_S1, plan_padding(cu_seqlens_S1))
    return latest[1]


def packed_causal_attention(
    query_1HND: Tensor,
    key_1KND: Tensor,
    value_1KND: Tensor,
    cu_seqlens_S1: Tensor,
    max_seqlen: int,
    *,
    scale: float,
) -> Tensor:
    """softmax(scale Q K^T) V in which a token sees itself and the earlier tokens of its own sequence: [1, N, H, D].

    `cu_seqlens_S1` rises from 0 to N > 0 (empty sequences are allowed) and is never written to afterwards; `max_seqlen`
    is the longest sequence. H is a multiple of K: query head h uses key-value head h // (H / K). Raises ValueError
    for more than one row.
    """
    if query_1HND.shape[0] != 1:
        raise ValueError(f"got {query_1HND.shape[0]} rows; packed attention takes one row that holds all sequences")
    if _flash_can(query_1HND):
        return varlen_attn(
            query_1HND[0].transpose(0, 1),
            key_1KND[0].transpose(0, 1),
            value_1KND[0].transpose(0, 1),
            cu_seqlens_S1.to(torch.int32),
            cu_seqlens_S1.to(torch.int32),
            max_seqlen,
            max_seqlen,
            scale=scale,
            window_size=(-1, 0),
            enable_gqa=query_1HND.shape[1] != key_1KND.shape[1],
        )[None]  # type: ignore[index]
    return _padded_attention(query_1HND, key_1KND, value_1KND, _plan_of(cu_seqlens_S1), scale)


def _flash_can(query_1HND: Tensor) -> bool:
    """The flash kernel: CUDA, half precision, head sizes of multiples of 8 up to 256."""
    size = query_1HND.shape[-1]
    return query_1HND.is_cuda and query_1HND.dtype in (torch.bfloat16, torch.float16) and size % 8 == 0 and size <= 256


def _padded_attention(
    query_1HND: Tensor, key_1KND: Tensor, value_1KND: Tensor, plan: PaddingPlan, scale: float
) -> Tensor:
    _, heads, num_tokens, size = query_1HND.shape
    kv_heads = key_1KND.shape[1]

    def pad(tensor_1XND: Tensor) -> tuple[Tensor, ...]:
        return _Pad.apply(tensor_1XND[0].transpose(0, 1).reshape(num_tokens, -1), plan)  # type: ignore[return-value]

    outputs: list[Tensor] = []
    padded = zip(plan.blocks, pad(query_1HND), pad(key_1KND), pad(value_1KND), strict=True)
    for (batch, length), query, key, value in padded:
        output_BHLD = F.scaled_dot_product_attention(
            query.view(batch, length, heads, size).transpose(1, 2),
            key.view(batch, length, kv_heads, size).transpose(1, 2),
            value.view(batch, length, kv_heads, size).transpose(1, 2),
            is_causal=True,
            scale=scale,
            enable_gqa=heads != kv_heads,
        )
        outputs.append(output_BHLD.transpose(1, 2).reshape(batch * length, heads * size))
    output_NW: Tensor = _Unpad.apply(plan, *outputs)  # type: ignore[assignment]
    return output_NW.view(1, num_tokens, heads, size)


def register_packed_attention() -> None:
    """Make `attn_implementation="packed_causal"` known to transformers; calling it again changes nothing.

    A model loaded with it takes `cu_seqlens_S1` and `max_seqlen` as keyword arguments of its forward call, beside
    `input_ids` [1, N], `position_ids` [1, N] (from 0 in each sequence) and `use_cache=False`.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    def no_mask(**_: Any) -> None:
        """The boundaries are in `cu_seqlens_S1`."""

    AttentionInterface.register(ATTENTION_NAME, _transformers_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, no_mask)


# What some architectures ask of their attention and neither path computes; None (or 0) asks for nothing.
_UNSUPPORTED = ("dropout", "softcap", "s_aux", "position_bias")


def _transformers_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seqlens_S1: Tensor | None = None,
    max_seqlen: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The signature that transformers calls. Raises ValueError for what packed attention cannot do."""
    name = type(module).__name__
    if cu_seqlens_S1 is None or max_seqlen is None:
        raise ValueError(f"{name} got no cu_seqlens_S1 and max_seqlen; pass both to the model's forward call")
    if attention_mask is not None:
        raise ValueError(f"{name} got an attention mask; a packed row has no padding, so pass none")
    if sliding_window is not None and sliding_window < max_seqlen:
        raise ValueError(
            f"{name} has a sliding window of {sliding_window} tokens and a sequence has {max_seqlen}; packed attention "
            "has no windows: use sequences within the window, or a model without one"
        )
    for option in _UNSUPPORTED:
        if kwargs.get(option) is not None and not (option == "dropout" and kwargs[option] == 0):
            raise ValueError(f"{name} asks for {option}, which packed attention does not compute; use another model")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return packed_causal_attention(query, key, value, cu_seqlens_S1, max_seqlen, scale=scale), None
