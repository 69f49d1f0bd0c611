"""Where the thought of a completion is, in tokens: between `<think>` and `</think>`, from the ids alone.

Contract: with a tokenizer for which a tag is one token the count is exact. Where a tag is several tokens, which may
join with their neighbours, the thought gets the tokens of its share of the characters: near enough for a curve.

Legend: T tokens of a completion.
"""

from dataclasses import dataclass

import numpy as np

from data.chat import Tokenizer
from data.records import Completion

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class ThoughtTags:
    """Token ids of the two tags; None where a tag is not one token of the vocabulary."""

    open_id: int | None = None
    close_id: int | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "ThoughtTags":
        """Those of a tokenizer."""
        return cls(_single_id(tokenizer, OPEN), _single_id(tokenizer, CLOSE))


UNKNOWN_TAGS = ThoughtTags()


def thought_span(completion: Completion, tags: ThoughtTags, *, opened: bool = False) -> tuple[int, int] | None:
    """(start, end) of the first thought's tokens in [0, T], without the tags; None when the text has no thought.

    `opened`: the prompt ends inside `<think>`. A thought that is never closed goes to the end.
    """
    text = completion.text
    begin, close = text.find(OPEN), text.find(CLOSE)
    if begin < 0 and close < 0 and not opened:
        return None
    if opened or begin < 0 or 0 <= close < begin:  # the thought was open before the first token
        start = position = 0
    else:
        position = begin + len(OPEN)
        start = _tokens_before(completion, position, tags.open_id, 0, include=True)
        close = text.find(CLOSE, position)
    end = len(completion.token_ids) if close < 0 else _tokens_before(completion, close, tags.close_id, start)
    return start, max(start, end)


def _tokens_before(
    completion: Completion, character: int, tag: int | None, start: int, *, include: bool = False
) -> int:
    """Tokens before a place in the text: up to the tag's first token from `start` on, with it when `include`.

    When the tag has no token of its own, or the policy spelled it out in others, by the share of the characters.
    """
    if tag is not None:
        found = np.flatnonzero(completion.token_ids[start:] == tag)
        if len(found):
            return start + int(found[0]) + include
    return round(len(completion.token_ids) * character / max(1, len(completion.text)))


def _single_id(tokenizer: Tokenizer, tag: str) -> int | None:
    try:
        ids = tokenizer(tag, add_special_tokens=False)["input_ids"]
    except Exception as error:
        if type(error) is not Exception:  # the tokenizers library raises the bare class for unknown symbols
            raise
        return None
    return int(ids[0]) if len(ids) == 1 else None
