"""Whether an answer is the expected one. Only here, only in the service, and only on bounded data.

Values stay the raw JSON that came over the wire: no set or dict is ever built from what a program sent, because keys
can be made to collide. Two values are the same when their canonical texts are.
"""

import itertools
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from sandbox.inside import wire
from sandbox.results import Difference
from sandbox.tasks import Compare, OutputCompare

TOLERANCE = 1e-6  # relative or absolute, whichever is kinder
RELATIVE_TOLERANCE = 1e-9
_MAX_NUMBER_CHARS = 40
_SHOWN_CHARS = 200

Close = Callable[[float, float], bool]

_shorten = reprlib.Repr()
_shorten.maxlevel, _shorten.maxstring, _shorten.maxother, _shorten.maxlist = 4, 80, 80, 10
_shorten.maxdict = _shorten.maxtuple = _shorten.maxset = 10


def output_difference(expected: str, output: bytes, compare: OutputCompare) -> Difference | None:
    """Where the output first differs; None when it is right. See `StdioTask` for the rule."""
    try:
        text = output.decode()
    except UnicodeDecodeError as error:
        line = output.count(b"\n", 0, error.start) + 1
        return Difference(line, _line(_lines(expected), line - 1), f"<bytes that are not UTF-8: {error.reason}>")
    wanted, got = _lines(expected), _lines(text)
    for index in range(max(len(wanted), len(got))):
        want, have = _line(wanted, index), _line(got, index)
        if want is None or have is None or not _same_line(want, have, compare):
            return Difference(index + 1, _cut(want), _cut(have))
    return None


def _lines(text: str) -> list[str]:
    """Lines without white space at their ends, and without empty ones at the end. Only a newline ends a line."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _line(lines: Sequence[str], index: int) -> str | None:
    return lines[index] if index < len(lines) else None


def _cut(line: str | None) -> str | None:
    return line if line is None or len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def _same_line(want: str, have: str, compare: OutputCompare) -> bool:
    if want == have or compare == "lines":
        return want == have
    wanted, got = want.split(), have.split()
    if len(wanted) != len(got):
        return False
    return all(a == b or (compare == "float" and _close_words(a, b)) for a, b in zip(wanted, got, strict=True))


def _close_words(want: str, have: str) -> bool:
    if max(len(want), len(have)) > _MAX_NUMBER_CHARS or not (want.isascii() and have.isascii()):
        return False
    if "_" in want + have:  # Python's own notation, not an answer's
        return False
    try:
        return _close(float(want), float(have))
    except ValueError:
        return False


def _close(a: float, b: float) -> bool:
    finite = math.isfinite(a) and math.isfinite(b)
    return finite and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _relatively_close(a: float, b: float) -> bool:
    return math.isfinite(a) and math.isfinite(b) and math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE)


class _NoMatch(Exception):
    """A value that equals nothing, or is malformed."""


def value_difference(expected: object, raw: wire.Json, compare: Compare) -> Difference | None:
    """None when the value that came over the wire is the expected one under the rule; see `FunctionTask`.

    Raises wire.WireError when the expected value cannot be sent itself.
    """
    wanted = wire.encode(expected)
    try:
        if compare in ("float", "float_relative"):
            right = _approximately(wanted, raw, _close if compare == "float" else _relatively_close)
        elif compare == "unordered_nested":
            right = _nested_in_any_order(wanted) == _nested_in_any_order(raw)
        elif compare == "unordered":
            right = _in_any_order(wanted) == _in_any_order(raw)
        else:
            right = _canonical(wanted, compare == "python") == _canonical(raw, compare == "python")
    except (_NoMatch, wire.WireError, ValueError, TypeError, RecursionError):
        right = False
    return None if right else Difference(1, shown(wanted), shown(raw))


def shown(raw: wire.Json) -> str:
    """A short text of a value, for people."""
    try:
        return _shorten.repr(_readable(raw))[:_SHOWN_CHARS]
    except (wire.WireError, ValueError, TypeError, RecursionError):
        return "<a malformed value>"


def _readable(raw: wire.Json, depth: int = 0) -> Any:
    """Roughly the value, without building what hashes: sets are shown as lists and dicts as pairs of their head."""
    if depth > 4:
        return ...
    if isinstance(raw, list):
        return [_readable(item, depth + 1) for item in cast(list[Any], raw)[:11]]
    if not isinstance(raw, dict):
        return raw
    tag, body = wire.tagged(cast(dict[str, Any], raw))
    if tag in "ifb":
        return float(body) if tag == "f" else body
    items = [_readable(item, depth + 1) for item in body[:11]]
    return {"t": tuple(items), "d": {"dict": items}, "s": {"set": items}, "z": {"frozenset": items}}[tag]


def _canonical(raw: wire.Json, python: bool) -> str:
    """A text that is equal for equal values: strict in types as JSON is, or loose as Python's `==` is."""
    if raw is None or isinstance(raw, bool):
        return "null" if raw is None else _integer(int(raw), python) if python else f"?{raw}"
    if isinstance(raw, str):
        return repr(raw)
    if isinstance(raw, int):
        return _integer(raw, python)
    if isinstance(raw, float):
        return _floating(raw, python)
    if isinstance(raw, list):
        return f"[{','.join(_canonical(item, python) for item in cast(list[Any], raw))}]"
    tag, body = wire.tagged(cast(dict[str, Any], raw))
    if tag == "i":
        return _integer(int(body, 16), python)
    if tag == "f":
        return _floating(float(body), python)
    if tag == "b":
        return f"b{body}"
    if tag == "d":
        pairs = sorted((_canonical(key, python), _canonical(item, python)) for key, item in body)
        if any(a[0] == b[0] for a, b in itertools.pairwise(pairs)):
            raise _NoMatch
        return f"{{{','.join(f'{key}:{item}' for key, item in pairs)}}}"
    parts = [_canonical(item, python) for item in body]
    if tag == "t":
        return f"({','.join(parts)})" if python else f"[{','.join(parts)}]"
    opening = "set" if python or tag == "s" else "frozenset"
    return f"{opening}({','.join(sorted(set(parts)))})"


def _integer(value: int, python: bool) -> str:
    return f"{value:x}" if python else f"i{value:x}"


def _floating(value: float, python: bool) -> str:
    if python:
        if math.isnan(value):
            raise _NoMatch
        return f"{int(value):x}" if value.is_integer() else repr(value)
    return f"f{value!r}"


def _in_any_order(raw: wire.Json) -> list[str]:
    if isinstance(raw, dict) and cast(dict[str, Any], raw).keys() == {"t"}:
        raw = cast(dict[str, Any], raw)["t"]
    if not isinstance(raw, list):
        raise _NoMatch
    return sorted(_canonical(item, python=False) for item in cast(list[Any], raw))


def _nested_in_any_order(raw: wire.Json) -> str:
    """The canonical text with the parts of every list and tuple sorted by theirs, from the inside out."""
    items = _sequence(raw)
    if items is not None:
        return f"[{','.join(sorted(map(_nested_in_any_order, items)))}]"
    pairs = _pairs(raw)
    if pairs is not None:
        if any(a[0] == b[0] for a, b in itertools.pairwise(pairs)):
            raise _NoMatch
        return f"{{{','.join(f'{key}:{_nested_in_any_order(item)}' for key, item in pairs)}}}"
    return _canonical(raw, python=False)


def _number(raw: wire.Json) -> float | None:
    """The value of an int or float; None for anything else, True and False included."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return float(raw)
    if isinstance(raw, dict):
        tag, body = wire.tagged(cast(dict[str, Any], raw))
        if tag == "f":
            return float(body)
    return None


def _approximately(wanted: wire.Json, raw: wire.Json, close: Close) -> bool:
    a, b = _number(wanted), _number(raw)
    if a is not None and b is not None:
        return close(a, b) or _canonical(wanted, python=False) == _canonical(raw, python=False)
    left, right = _sequence(wanted), _sequence(raw)
    if left is not None and right is not None:
        return len(left) == len(right) and all(_approximately(x, y, close) for x, y in zip(left, right, strict=True))
    left, right = _pairs(wanted), _pairs(raw)
    if left is not None and right is not None:
        keys = [key for key, _ in left] == [key for key, _ in right]
        return keys and all(_approximately(x, y, close) for (_, x), (_, y) in zip(left, right, strict=True))
    return _canonical(wanted, python=False) == _canonical(raw, python=False)


def _sequence(raw: wire.Json) -> list[wire.Json] | None:
    if isinstance(raw, list):
        return cast(list[Any], raw)
    if isinstance(raw, dict):
        tag, body = wire.tagged(cast(dict[str, Any], raw))
        return body if tag == "t" else None
    return None


def _pairs(raw: wire.Json) -> list[tuple[str, wire.Json]] | None:
    """Entries of a dict sorted by the canonical text of their keys."""
    if not isinstance(raw, dict):
        return None
    tag, body = wire.tagged(cast(dict[str, Any], raw))
    if tag != "d":
        return None
    return sorted(((_canonical(key, python=False), item) for key, item in body), key=lambda pair: pair[0])
