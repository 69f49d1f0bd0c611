"""Steps of a solution, on its token ids: where each one ends. Nothing is ever encoded again.

Contract: the text of the separators is looked for in the decoded pieces of the tokens, and a step ends with the token
that completes a separator, so a token such as `.\\n\\n` belongs to the step that it ends. The last step ends with the
last token, eos included.

Shapes: T tokens of a response, K steps.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from data.records import Int32Array


class Decoder(Protocol):
    """The part of a transformers tokenizer that is needed."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> Any: ...  # the text


class StepSplitter:
    """Splits at any of the separators; runs of them, and what holds white space alone, make no steps of their own."""

    def __init__(self, tokenizer: Decoder, separators: Sequence[str]) -> None:
        if not separators or not all(separators):
            raise ValueError(f"separators are {list(separators)}; steps need at least one, and none may be empty")
        self._tokenizer = tokenizer
        # The longest first: where one begins with another, the whole of it is meant.
        self._separator = re.compile("|".join(map(re.escape, sorted(separators, key=len, reverse=True))))
        self._pieces: dict[int, str] = {}

    def ends(self, token_ids: Int32Array) -> Int32Array:
        """[K] index of each step's last token, rising, the last one T - 1. Empty without tokens."""
        if not len(token_ids):
            return np.zeros(0, dtype=np.int32)
        pieces_T = [self._piece(token) for token in token_ids.tolist()]
        text = "".join(pieces_T)
        token_of_character = np.repeat(np.arange(len(pieces_T)), [len(piece) for piece in pieces_T])
        ends: list[int] = []
        after = 0  # where the text of the step begins
        for match in self._separator.finditer(text):
            end = int(token_of_character[match.end() - 1])
            if text[after : match.start()].strip() and end not in ends[-1:]:
                ends.append(end)
            elif ends:
                ends[-1] = end
            after = match.end()
        last = len(token_ids) - 1
        if ends and not text[after:].strip():
            ends.pop()
        return np.array([*(end for end in ends if end < last), last], dtype=np.int32)

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._tokenizer.decode([token], skip_special_tokens=True)
        return self._pieces[token]
