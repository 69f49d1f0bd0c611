"""Language consistency: the share of the words that are of the target language (DeepSeek-R1, arXiv 2501.12948).

Words are counted as data/language.py says. A response without any words scores 1: there is nothing to mix.
"""

from configs.rewards import LanguageCode
from data.language import count_words
from rewards.sample import Sample, Score


def language_share(sample: Sample, language: LanguageCode = "en") -> Score:
    """Words of the language over all words, thoughts included: they are what the language should not change in."""
    words = count_words(sample.response)
    total = sum(words.values())
    if total == 0:
        return Score(1.0, "no words")
    share = words[language] / total
    return Score(share, f"{share:.0%} of {total:g} words are of language {language!r}")
