"""Exact number: the last `<answer>…</answer>` is the reference integer, digit for digit.

The comparison is of text after white space is stripped from both ends. Leading zeros, a plus sign, separators,
decimals and digits outside ASCII are all wrong, so that each integer can be written in one way only.
"""

import re

from rewards.answer import last_tagged
from rewards.sample import Sample, Score

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def exact_number(sample: Sample) -> Score:
    """1 when the last answer equals `reference["answer"]`, an int or its text. Raises ValueError for any other."""
    gold = sample.reference.get("answer")
    text = str(gold).strip()
    if isinstance(gold, bool) or not isinstance(gold, int | str) or not _INTEGER.fullmatch(text):
        raise ValueError(f"answer {gold!r}: the number reward needs an integer such as 912 or its text")
    answer = last_tagged(sample.response)
    if answer is None:
        return Score(0.0, "no answer tag")
    return Score(1.0, "equal") if answer.strip() == text else Score(0.0, f"answer {answer.strip()[:40]!r} is not equal")
