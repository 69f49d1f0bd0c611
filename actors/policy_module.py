"""A policy as one torch module: packed tokens in, log-probabilities of the response tokens out.

Everything happens inside one `forward`, so that DeepSpeed's ZeRO-3 gathers every parameter where it is used, the output
head included.

Shapes: N packed tokens, S sequences, R response tokens, H hidden width.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from algorithms.distillation import chunked_divergence, chunked_top_tokens
from algorithms.logprobs import chunked_logprobs
from algorithms.packed_attention import register_packed_attention
from configs.divergence import Divergence
from data.packing import PackedTokens

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class PolicyModule(nn.Module):
    """A Hugging Face causal language model that returns logprobs instead of logits."""

    def __init__(self, language_model: nn.Module, chunk_tokens: int) -> None:
        super().__init__()
        self.language_model = language_model
        self._chunk_tokens = chunk_tokens

    def forward(
        self, packed: PackedTokens, temperature: float, *, divergence: Divergence | None = None, top_k: int = 0
    ) -> Any:
        """[R] float32 logprobs of `packed.target_ids_R` at the temperature; one chunk of logits at a time.

        With `divergence` the [R] token losses of distillation from the pack's teacher instead; with `top_k` the ids
        [R, K] and logprobs [R, K + 1] of the likeliest tokens, see algorithms/distillation.py.
        """
        decoder = self.language_model.get_decoder()  # type: ignore[operator]
        hidden_1NH = decoder(
            input_ids=packed.input_ids_N[None],
            position_ids=packed.position_ids_N[None],
            cu_seqlens_S1=packed.cu_seqlens_S1,
            max_seqlen=packed.max_seqlen,
            use_cache=False,
        ).last_hidden_state
        head = self.language_model.get_output_embeddings()  # type: ignore[operator]
        hidden_RH = hidden_1NH[0].index_select(0, packed.logit_index_R)
        chunks: dict[str, Any] = {"chunk_tokens": self._chunk_tokens, "head_bias_V": head.bias}
        if divergence is not None:
            if packed.teacher_ids_RK is None or packed.teacher_logprobs_RB is None:
                raise RuntimeError("a step of distillation needs the teacher's top tokens, and they are missing")
            teacher = packed.teacher_ids_RK, packed.teacher_logprobs_RB
            return chunked_divergence(divergence, hidden_RH, head.weight, *teacher, **chunks)
        if top_k:
            return chunked_top_tokens(hidden_RH, head.weight, top_k=top_k, temperature=temperature, **chunks)
        return chunked_logprobs(hidden_RH, head.weight, packed.target_ids_R, temperature=temperature, **chunks)


def load_policy(
    folder: str | Path, *, dtype: str, chunk_tokens: int, gradient_checkpointing: bool = False
) -> PolicyModule:
    """Read a model folder. Raises OSError when it is not one."""
    register_packed_attention()
    language_model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[dtype], attn_implementation="packed_causal", local_files_only=True
    )
    if gradient_checkpointing:
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
    return PolicyModule(language_model, chunk_tokens)


def to_device(packed: PackedTokens, device: torch.device) -> PackedTokens:
    """The same micro-batch on the device."""
    if device.type == "cpu":
        return packed
    moved: dict[str, Any] = {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in ((name, getattr(packed, name)) for name in PackedTokens.__slots__)
    }
    return PackedTokens(**moved)
