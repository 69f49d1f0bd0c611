"""Language consistency: the share of the words that are of the target language (DeepSeek-R1, arXiv 2501.12948).

Words are counted as data/language.py says. A response without any words scores 1: there is nothing to mix.
"""

from typing import Literal

from data.language import count_words
from rewards.sample import Sample, Score


def language_share(sample: Sample, language: Literal["en", "zh"] = "en") -> Score:
    """Words of `language` over all words outside code and mathematics, in [0, 1]."""
    words = count_words(sample.response)
    if words.total == 0:
        return Score(1.0, "no words")
    share = (words.english if language == "en" else words.chinese) / words.total
    return Score(share, f"{share:.0%} of {words.total:g} words are of language {language!r}")
