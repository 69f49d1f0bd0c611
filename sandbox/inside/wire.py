"""Values between processes as JSON with tags, and frames around them. Shared by both sides; never pickle.

None, bool, str, int below 2**53, finite float and list are themselves. The rest is an object with one key: `i` a larger
int in hexadecimal, `f` "nan" or "inf", `b` bytes in hexadecimal, `t` tuple, `s` set, `z` frozenset, `d` dict as pairs.
"""

import json
import math
import os
from typing import Any, NoReturn, cast

MAX_DEPTH = 100
MAX_NODES = 1_000_000
MAX_INT_BITS = 65_536
_PLAIN_INT = 2**53
_TAGS = frozenset("ifbtszd")

Json = Any  # what json.loads gives


class WireError(ValueError):
    """A value that cannot be sent, or bytes that are no value."""


class TooLarge(WireError):
    """Too many bytes, too many parts, too deep, or too long an int."""


def encode(value: object, depth: int = 0) -> Json:
    """The value as tagged JSON. Subclasses of built-in containers are flattened. Raises WireError."""
    if depth > MAX_DEPTH:
        raise TooLarge(f"a value more than {MAX_DEPTH} levels deep")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        plain = int.__add__(value, 0)
        if -_PLAIN_INT < plain < _PLAIN_INT:
            return plain
        if plain.bit_length() > MAX_INT_BITS:
            raise TooLarge(f"an int of {plain.bit_length()} bits; at most {MAX_INT_BITS}")
        return {"i": hex(plain)}
    if isinstance(value, float):
        plain = float.__pos__(value)
        return plain if math.isfinite(plain) else {"f": str(plain)}
    if isinstance(value, bytes | bytearray):
        return {"b": value.hex()}
    return _encode_container(value, depth)


def _encode_container(value: Any, depth: int) -> Json:
    # Methods of the built-in type itself: a subclass may have overridden its own.
    if isinstance(value, dict):
        _refuse_long(cast(Any, dict).__len__(value))
        entries: list[tuple[object, object]] = list(cast(Any, dict).items(value))
        return {"d": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in entries]}
    for kind, tag in ((list, ""), (tuple, "t"), (set, "s"), (frozenset, "z")):
        if isinstance(value, kind):
            _refuse_long(cast(Any, kind).__len__(value))
            items = [encode(item, depth + 1) for item in cast(Any, kind).__iter__(value)]
            return {tag: items} if tag else items
    raise WireError(f"a value of type {type(value).__name__}; only built-in types can be sent")


def _refuse_long(length: int) -> None:
    """Before its parts are looked at: to encode them all and be refused then would cost the program a second."""
    if length > MAX_NODES:
        raise TooLarge(f"a value of {length:,} parts; at most {MAX_NODES:,}")


def decode(raw: Json, depth: int = 0) -> Any:
    """The value again. For honest values, or inside a sandbox: keys can be made to collide. Raises WireError."""
    if depth > MAX_DEPTH + 1:
        raise TooLarge(f"a value more than {MAX_DEPTH} levels deep")
    if isinstance(raw, list):
        return [decode(item, depth + 1) for item in cast(list[Json], raw)]
    if not isinstance(raw, dict):
        return raw
    tag, body = tagged(cast(dict[str, Json], raw))
    match tag:
        case "i":
            return int(body, 16)
        case "f":
            return float(body)
        case "b":
            return bytes.fromhex(body)
        case "t":
            return tuple(decode(item, depth + 1) for item in body)
        case "d":
            return {decode(key, depth + 1): decode(item, depth + 1) for key, item in body}
        case "s":
            return {decode(item, depth + 1) for item in body}
        case _:
            return frozenset(decode(item, depth + 1) for item in body)


def tagged(raw: dict[str, Json]) -> tuple[str, Any]:
    """(tag, body) of an object, whose body has the tag's shape. Raises WireError."""
    if len(raw) != 1:
        raise WireError("an object with other than one key")
    ((tag, body),) = raw.items()
    if tag not in _TAGS:
        raise WireError("an object with an unknown tag")
    if tag in "ifb":
        if not isinstance(body, str):
            raise WireError(f"the tag {tag} without text")
        if tag == "i" and len(body) > MAX_INT_BITS // 4 + 3:
            raise TooLarge(f"an int of more than {MAX_INT_BITS} bits")
        if tag == "f" and body not in {"nan", "inf", "-inf"}:
            raise WireError("the tag f with a finite number")
    elif not isinstance(body, list):
        raise WireError(f"the tag {tag} without a list")
    elif tag == "d" and not all(map(_is_pair, cast(list[Json], body))):
        raise WireError("the tag d without pairs")
    return tag, cast(Any, body)


def _is_pair(item: Json) -> bool:
    return isinstance(item, list) and len(cast(list[Json], item)) == 2


def dumps(message: Json) -> bytes:
    """JSON in ASCII, so that lone surrogates survive."""
    return _encoder.encode(message).encode("ascii")


def loads(data: bytes) -> Json:
    """What hostile bytes say. Raises WireError, TooLarge for too many parts or levels."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_NODES:
        raise TooLarge(f"a value of more than {MAX_NODES:,} parts")
    try:
        return _decoder.decode(data.decode("ascii"))
    except RecursionError as error:
        raise TooLarge("a value nested too deeply") from error
    except ValueError as error:
        raise WireError(f"no JSON: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise WireError(f"{name} is no JSON")


# Made once: `json.dumps` and `json.loads` with options make one for each call.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_no_constant)

HEADER_BYTES = 4


def frame(payload: bytes) -> bytes:
    """The payload behind its length."""
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def write_frame(fd: int, payload: bytes) -> None:
    """Blocking. Raises OSError when the other end is gone."""
    rest = memoryview(frame(payload))
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frame(fd: int) -> bytes:
    """Blocking; for the side that trusts the other. Raises EOFError when the other end is gone."""
    return _read_exactly(fd, int.from_bytes(_read_exactly(fd, HEADER_BYTES), "big"))


def _read_exactly(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        if not (part := os.read(fd, min(size, 1 << 20))):
            raise EOFError("the other end is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
