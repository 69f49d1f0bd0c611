"""Repetition: which share of the runs of n words is new. A loop, the cheapest way to be long, scores near 0.

The n-gram penalty of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373) as one score per
completion, in which 1 is no repetition. A word is a run of letters and digits, one sign, or one Chinese character.
"""

import re

from rewards.sample import Sample, Score

_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")


def repetition(sample: Sample, ngram_words: int = 20) -> Score:
    """Distinct runs of `ngram_words` words over all such runs, in (0, 1]; 1 for a response of fewer words."""
    words = _WORD.findall(sample.response)
    total = len(words) - ngram_words + 1
    if total <= 1:
        return Score(1.0, "too short to repeat")
    distinct = len({tuple(words[start : start + ngram_words]) for start in range(total)})
    return Score(distinct / total, f"{total - distinct} of {total} runs of {ngram_words} words are repeated")
