"""How a policy thinks, as figures: length of thought, self-checks, turning back, mixed languages, repetition.

Each figure is over the completions given, with equal weight. The names carry no prefix: a loop logs them as
`thinking/*`, an evaluation as `eval/thinking_*`.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import TypeVar

import numpy as np

from data.language import count_words
from data.records import Int32Array, ScoredGroup
from data.thinking import CLOSE, OPEN, ThoughtTags, thought_span
from data.thinking_phrases import count_phrases

T = TypeVar("T")

NGRAM_TOKENS = 4
_MIXED_SHARE, _MIXED_WORDS = 0.05, 2.0  # of the words, and at least so many, are of another language
_MOST_TEXTS = 64  # that are looked into in a step; more would cost time and tell little more


def thinking_metrics(groups: Seq[ScoredGroup], tags: ThoughtTags) -> dict[str, float]:
    """The figures; empty without completions. Words and runs are looked at in up to 64 completions, evenly spread."""
    completions = [(scored.group.prompt, c) for scored in groups for c in scored.group.completions]
    if not completions:
        return {}
    lengths: list[int] = []
    tagged = 0
    for prompt, completion in completions:
        span = thought_span(completion, tags, opened=prompt.text.rfind(OPEN) > prompt.text.rfind(CLOSE))
        tagged += span is not None
        lengths.append(len(completion.token_ids) if span is None else span[1] - span[0])
    spread = [completion for _, completion in _spread(completions)]
    return {
        "length_mean": float(np.mean(lengths)),
        "tagged_share": tagged / len(completions),
        f"distinct_{NGRAM_TOKENS}gram_share": float(np.mean([distinct_share(c.token_ids) for c in spread])),
    } | _text_metrics([c.text for c in spread])


def distinct_share(token_ids: Int32Array) -> float:
    """Distinct runs of 4 tokens over all such runs; 1 for a completion too short to have one.

    token_ids: [T]. Runs are told apart by a 64-bit hash.
    """
    runs = len(token_ids) - NGRAM_TOKENS + 1
    if runs < 1:
        return 1.0
    ids = token_ids.astype(np.uint64)
    keys = np.zeros(runs, dtype=np.uint64)
    for offset in range(NGRAM_TOKENS):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + ids[offset : offset + runs]
    return len(np.unique(keys)) / runs


def _text_metrics(texts: Seq[str]) -> dict[str, float]:
    phrases = [count_phrases(text) for text in texts]
    words = sum(counts.words for counts in phrases)
    self_checks, backtracks = sum(c.self_check for c in phrases), sum(c.backtrack for c in phrases)
    return {
        "self_check_share": sum(c.self_check > 0 for c in phrases) / len(texts),
        "self_check_per_1000_words": 1000 * self_checks / words if words else 0.0,
        "backtrack_share": sum(c.backtrack > 0 for c in phrases) / len(texts),
        "backtrack_per_1000_words": 1000 * backtracks / words if words else 0.0,
        "mixed_language_share": sum(_is_mixed(count_words(text)) for text in texts) / len(texts),
    }


def _is_mixed(words: Mapping[str, float]) -> bool:
    total = sum(words.values())
    return total - max(words.values(), default=0.0) >= max(_MIXED_WORDS, _MIXED_SHARE * total)


def _spread(items: Seq[T]) -> Seq[T]:
    if len(items) <= _MOST_TEXTS:
        return items
    return [items[i * len(items) // _MOST_TEXTS] for i in range(_MOST_TEXTS)]
