"""A model that scores as one torch module: packed tokens in, one score for each response token out.

It is the policy's decoder with a linear head of one number per token, in transformers' token-classification layout: an
exported folder loads with `AutoModelForTokenClassification`. A score is a logit, see algorithms/score_losses.py; the
caller picks the positions that mean something. Read from a policy's folder the head is random.

Shapes: N packed tokens, R response tokens.
"""

from pathlib import Path

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification

from actors.policy_module import DTYPES
from algorithms.packed_attention import register_packed_attention
from data.packing import PackedTokens


class ScoreModule(nn.Module):
    """Stands where the learner has a PolicyModule; `language_model` is what is exported."""

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, packed: PackedTokens, temperature: float = 1.0) -> Tensor:
        """[R] float32 scores of the prefixes that end with each response token; a score has no temperature."""
        logits_1N1 = self.language_model(
            input_ids=packed.input_ids_N[None],
            position_ids=packed.position_ids_N[None],
            cu_seqlens_S1=packed.cu_seqlens_S1,
            max_seqlen=packed.max_seqlen,
            use_cache=False,
        ).logits
        # The token after the one whose logits predict it is the token itself, and has been seen.
        return logits_1N1[0, :, 0].index_select(0, packed.logit_index_R + 1).float()


def load_scorer(folder: str | Path, *, dtype: str, gradient_checkpointing: bool = False) -> ScoreModule:
    """Read a policy's folder (the head is then drawn from torch's seed) or an exported one. Raises OSError."""
    register_packed_attention()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.num_labels = 1
    config.classifier_dropout = 0.0  # transformers drops a tenth of the head's inputs where a config says nothing
    language_model = AutoModelForTokenClassification.from_pretrained(
        folder, config=config, dtype=DTYPES[dtype], attn_implementation="packed_causal", local_files_only=True
    )
    if gradient_checkpointing:
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
    return ScoreModule(language_model)
