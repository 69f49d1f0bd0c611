"""Rewards of length: DAPO's soft over-long penalty, which the rubric adds to the score, and the cosine reward."""

import math

from rewards.sample import Sample, Score


def overlong_penalty(tokens: int, limit: int, buffer: int) -> float:
    """0 up to `limit - buffer` tokens, falling linearly to -1 at `limit`, -1 beyond. All in tokens; buffer 0 is off.

    DAPO (arXiv 2503.14476, section 3.4). Raises ValueError when the zone does not fit below the limit.
    """
    if buffer == 0:
        return 0.0
    if not 0 < buffer <= limit:
        raise ValueError(
            f"over-long buffer of {buffer} tokens does not fit below the limit of {limit}; make it smaller"
        )
    return -min(max(tokens - (limit - buffer), 0), buffer) / buffer


def cosine_length(
    sample: Sample,
    correct: bool,
    *,
    correct_short: float,
    correct_long: float,
    wrong_short: float,
    wrong_long: float,
    cut: float,
) -> Score:
    """A score that goes from `short` at 0 tokens to `long` at the limit, along half a cosine; `cut` at the limit.

    score(t) = long + (short - long) · (1 + cos(π t / limit)) / 2, with the ends of correct or of wrong completions:
    the correct are the better the shorter, the wrong the better the longer they thought. "Demystifying Long
    Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373). Raises ValueError without a limit.
    """
    limit, tokens = sample.max_completion_tokens, sample.response_tokens
    if limit <= 0:
        raise ValueError(f"max_completion_tokens is {limit}: the cosine length reward needs the limit of the sample")
    if sample.finish_reason == "length" or tokens > limit:
        return Score(cut, f"cut at {limit} tokens")
    short, long = (correct_short, correct_long) if correct else (wrong_short, wrong_long)
    value = long + (short - long) * (1.0 + math.cos(math.pi * tokens / limit)) / 2.0
    detail = f"{'correct' if correct else 'wrong'} in {tokens} of {limit} tokens"
    return Score(min(max(value, 0.0), 1.0), detail)  # the sum rounds to a hair beyond the ends
