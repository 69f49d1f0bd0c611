"""Tokenizers for policies made from scratch: every symbol of a small fixed vocabulary is one token.

Contract: for text made of the vocabulary's symbols, decode(encode(text)) == text. The other direction does not hold
(the number tokens `0`, `4` decode to `04`, `1`, `4` to `14`), so sampled ids are never encoded again.
"""

from typing import Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Both sizes are multiples of 64, to which engines pad the rows of an embedding: nothing is ever padded.
_CHARACTERS = "0123456789+-*/=:;.,() \n" + "abcdefghijklmnopqrstuvwxyz" + "?!'\"%^_$"
_COUNTDOWN = (*(str(number) for number in range(100)), *"+-*/=,;:() \n.!?[]^%$#")

_SYMBOLS: dict[str, tuple[tuple[str, ...], str]] = {
    "characters": (tuple(_CHARACTERS), r"[\s\S]"),
    "countdown": (_COUNTDOWN, r"[1-9][0-9]|[\s\S]"),  # 14 is one token; 04 is two, as no number is written so
}


def build_tokenizer(vocabulary: Literal["characters", "countdown"]) -> PreTrainedTokenizerFast:
    """A tokenizer that puts `<bos>` before a text and leaves the tags visible when special tokens are skipped.

    `characters` has exactly 64 tokens, `countdown` 128. Its `save_pretrained` folder loads offline with AutoTokenizer
    and in the engines. Encoding a symbol outside the vocabulary is an error, never an unknown token.
    """
    symbols, pattern = _SYMBOLS[vocabulary]
    tokens = (*SPECIAL_TOKENS, *TAGS, *symbols)
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    for token in (*SPECIAL_TOKENS, *TAGS):
        _add(tokenizer, AddedToken(token, special=token in SPECIAL_TOKENS, normalized=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", ids["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        clean_up_tokenization_spaces=False,
    )


def _add(tokenizer: Tokenizer, token: AddedToken) -> None:
    tokenizer.add_tokens([token])  # pyright: ignore[reportUnknownMemberType]  # the library types the list only as a list
