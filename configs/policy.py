"""Which model is trained: a Hugging Face folder, or a small one made from random weights."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from configs.strict import Section

VOCABULARY_SIZE = {"characters": 64, "countdown": 128}
"""Tokens of each scratch vocabulary, unused padding entries included: rows of the embedding matrix."""


class FolderPolicy(Section):
    """Weights and tokenizer from a local Hugging Face model folder."""

    type: Literal["folder"] = "folder"
    path: str
    """Local folder that holds `config.json`, safetensors weights and tokenizer files."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the forward pass, in the learner and in the rollout engines."""
    max_model_len: PositiveInt
    """Longest prompt plus completion that the engines accept, in tokens."""


class ScratchPolicy(Section):
    """A Qwen3 decoder with random weights and a tokenizer of single symbols, built at the start of the run."""

    type: Literal["scratch"] = "scratch"
    vocabulary: Literal["characters", "countdown"]
    """`characters`: 64 single characters, tags are one token each. `countdown`: numbers 0 to 99 are one token each."""
    hidden_size: PositiveInt = 96
    """Width of the residual stream."""
    layers: PositiveInt = 3
    """Number of decoder layers."""
    heads: PositiveInt = 4
    """Number of query heads."""
    kv_heads: PositiveInt = 2
    """Number of key-value heads; divides `heads`."""
    head_size: PositiveInt = 32
    """Width of one head; vLLM's CPU attention has kernels for 32, 64, 80, 96, 112, 128 and some larger sizes only."""
    mlp_size: PositiveInt = 192
    """Width of the feed-forward layer."""
    tied_embeddings: bool = True
    """Whether the output head is the embedding matrix."""
    init_std: PositiveFloat = 0.05
    """Standard deviation of the initial weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the forward pass, in the learner and in the rollout engines."""
    max_model_len: PositiveInt = 128
    """Longest prompt plus completion that the engines accept, in tokens."""


Policy = Annotated[FolderPolicy | ScratchPolicy, Field(discriminator="type")]
