"""Countdown: reach the target with the given numbers, each exactly once, by + - * / and parentheses.

Strict: the last `<answer>`, ASCII digits as written (no leading zeros), spaces only, the exact rational value. The
parser is a plain recursive descent on Fractions; numbers are checked before anything is computed, so values stay small.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from rewards.answer import last_tagged
from rewards.sample import Sample, Score

MAX_CHARACTERS = 1000
MAX_DEPTH = 64
_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


class NotAnExpression(ValueError):
    """The text is outside the grammar or its caps."""


def tokenize(text: str) -> list[str]:
    """Numbers, operators and parentheses of an expression. Raises NotAnExpression for any other character but space."""
    if len(text) > MAX_CHARACTERS:
        raise NotAnExpression(f"longer than {MAX_CHARACTERS} characters")
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotAnExpression(f"character {text[position]!r} is not allowed")
        tokens.append(match.group())
        position = match.end()
    return tokens


class _Parser:
    """expression = term {(+|-) term}; term = factor {(*|/) factor}; factor = (+|-) factor | number | (expression)"""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [*tokens, ""]  # "" is the end
        self._next = 0
        self._depth = 0

    def value(self) -> Fraction:
        result = self._expression()
        if self._tokens[self._next]:
            raise NotAnExpression(f"{self._tokens[self._next]!r} is out of place")
        return result

    def _take(self) -> str:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _expression(self) -> Fraction:
        result = self._term()
        while self._tokens[self._next] in ("+", "-"):
            result = result + self._term() if self._take() == "+" else result - self._term()
        return result

    def _term(self) -> Fraction:
        result = self._factor()
        while self._tokens[self._next] in ("*", "/"):
            result = result * self._factor() if self._take() == "*" else result / self._factor()
        return result

    def _factor(self) -> Fraction:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotAnExpression(f"nested deeper than {MAX_DEPTH}")
        token = self._take()
        if token in ("+", "-"):
            result = self._factor() if token == "+" else -self._factor()
        elif token == "(":
            result = self._expression()
            if self._take() != ")":
                raise NotAnExpression("a parenthesis is not closed")
        elif token.isdigit():
            result = Fraction(int(token))
        else:
            raise NotAnExpression(f"{token!r} is out of place" if token else "it ends too early")
        self._depth -= 1
        return result


def evaluate(tokens: Sequence[str]) -> Fraction:
    """Exact value of a tokenized expression. Raises NotAnExpression, and ZeroDivisionError for a division by zero."""
    return _Parser(tokens).value()


def countdown(sample: Sample) -> Score:
    """1 when the answer reaches `reference["target"]` with `reference["numbers"]`, each used once.

    With `reference["order"]` = "given" they must also stand in that order. Raises ValueError for a bad reference.
    """
    numbers, target, in_order = _problem(sample.reference)
    answer = last_tagged(sample.response)
    if answer is None:
        return Score(0.0, "no answer tag")
    try:
        tokens = tokenize(answer.strip())
        used = [token for token in tokens if token.isdigit()]
        if Counter(used) != Counter(numbers):
            return Score(0.0, "not the given numbers, each exactly once")
        if in_order and used != numbers:
            return Score(0.0, "the numbers are not in the given order")
        value = evaluate(tokens)
    except NotAnExpression as error:
        return Score(0.0, f"not an expression: {error}")
    except ZeroDivisionError:
        return Score(0.0, "division by zero")
    return Score(1.0, "reaches the target") if value == target else Score(0.0, f"value is {value}")


def _problem(reference: Mapping[str, Any]) -> tuple[list[str], int, bool]:
    numbers, target, order = reference.get("numbers"), reference.get("target"), reference.get("order") or "any"
    if not isinstance(numbers, list | tuple) or not numbers:
        raise ValueError(f"numbers {numbers!r}: countdown needs a list of non-negative integers")
    written: list[str] = []
    for number in numbers:  # pyright: ignore[reportUnknownVariableType]  # a row of a file
        if isinstance(number, bool) or not isinstance(number, int | str) or not _NUMBER.fullmatch(str(number)):
            raise ValueError(f"number {number!r}: countdown needs non-negative integers of at most 18 digits")
        written.append(str(number))
    if isinstance(target, bool) or not isinstance(target, int | str) or not re.fullmatch(r"-?[0-9]{1,18}", str(target)):
        raise ValueError(f"target {target!r}: countdown needs an integer of at most 18 digits")
    if order not in ("any", "given"):
        raise ValueError(f"order {order!r}: write 'any' or 'given'")
    return written, int(target), order == "given"
