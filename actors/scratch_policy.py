"""A small Qwen3 from random weights, written as an ordinary Hugging Face folder, so that nothing else need know."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from actors.policy_module import DTYPES
from configs.policy import ScratchPolicy
from data.vocabulary import build_tokenizer


def write_scratch_policy(policy: ScratchPolicy, folder: Path, seed: int) -> None:
    """Write config, weights (drawn from the seed) and tokenizer."""
    tokenizer = build_tokenizer(policy.vocabulary)
    special: dict[str, Any] = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    special["pad_token_id"] = tokenizer.pad_token_id
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=policy.hidden_size,
        intermediate_size=policy.mlp_size,
        num_hidden_layers=policy.layers,
        num_attention_heads=policy.heads,
        num_key_value_heads=policy.kv_heads,
        head_dim=policy.head_size,
        max_position_embeddings=policy.max_model_len,
        tie_word_embeddings=policy.tied_embeddings,
        initializer_range=policy.init_std,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = Qwen3ForCausalLM(config).to(dtype=DTYPES[policy.dtype])  # pyright: ignore[reportCallIssue, reportArgumentType]
    weights = model.state_dict()
    if policy.tied_embeddings:
        del weights["lm_head.weight"]  # the same tensor as the embedding
    config.architectures = [type(model).__name__]
    config.dtype = DTYPES[policy.dtype]
    folder.mkdir(parents=True, exist_ok=True)
    # Not `model.save_pretrained`: it imports DeepSpeed, seconds of every launch before the engines can start.
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig(**special).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
