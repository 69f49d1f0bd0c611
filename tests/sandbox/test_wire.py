"""Values survive the trip between processes, and bytes that are no values do no harm."""

import collections
import enum
import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inside import wire

pytestmark = pytest.mark.unit

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
hashable = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_every_builtin_value_comes_back_equal_and_of_the_same_type(value: object) -> None:
    back = wire.decode(wire.loads(wire.dumps(wire.encode(value))))
    assert back == value
    assert type(back) is type(value)


def test_what_json_lacks_comes_back() -> None:
    back: list[Any] = wire.decode(
        wire.loads(wire.dumps(wire.encode([math.inf, -math.inf, math.nan, -0.0, 2**65535, "\udc80", 1.0])))
    )
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])
    assert math.copysign(1, back[3]) == -1
    assert back[4:6] == [2**65535, "\udc80"]
    assert type(back[6]) is float


class _Sly(dict[str, int]):
    def items(self) -> Any:
        raise AssertionError("overridden methods are not called")


class _Colour(enum.IntEnum):
    RED = 3


def test_subclasses_become_what_they_are_made_of() -> None:
    counted = collections.Counter("aab")
    point = collections.namedtuple("point", "x y")(1, 2)
    assert wire.decode(wire.encode(counted)) == {"a": 2, "b": 1}
    assert wire.decode(wire.encode(point)) == (1, 2)
    assert wire.decode(wire.encode(_Sly(a=1))) == {"a": 1}
    assert type(wire.encode(_Colour.RED)) is int
    assert type(wire.decode(wire.encode(collections.OrderedDict(a=1)))) is dict


@pytest.mark.parametrize("value", [object(), collections.deque([1]), range(3), 1j, len, iter([]), {1: {2: object()}}])
def test_other_types_are_refused_by_name(value: object) -> None:
    with pytest.raises(wire.WireError, match="only built-in types"):
        wire.encode(value)


def test_depth_and_size_are_bounded() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(wire.TooLarge, match="levels deep"):
        wire.encode(deep)
    with pytest.raises(wire.TooLarge, match="bits"):
        wire.encode(2**70_000)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(wire.TooLarge):
        wire.encode(cyclic)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"nan", b"NaN", b"[Infinity]", b"1" * 5000, b'{"a":', b"[" * 5000, b'"\\ud800', b"[1]]"],
)
def test_bytes_that_are_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.loads(data)


@pytest.mark.parametrize("kind", [list, tuple, dict.fromkeys])
def test_too_many_parts_are_refused_before_they_are_looked_at(
    kind: Callable[[Iterable[object]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_NODES", 1_000)
    with pytest.raises(wire.TooLarge, match=r"1,001 parts; at most 1,000"):
        wire.encode(kind(object() for _ in range(1_001)))  # each of which is refused as what it is, once looked at


def test_too_many_parts_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(wire.TooLarge, match="parts"):
        wire.loads(b"[" + b"0," * wire.MAX_NODES + b"0]")
    assert len(wire.loads(json.dumps([0] * 10_000).encode())) == 10_000


def test_frames_are_read_back_whole_and_an_end_is_noticed() -> None:
    read_end, write_end = os.pipe()
    wire.write_frame(write_end, b"hello")
    wire.write_frame(write_end, b"")
    os.write(write_end, b"\0\0\0\5he")
    os.close(write_end)
    assert wire.read_frame(read_end) == b"hello"
    assert wire.read_frame(read_end) == b""
    with pytest.raises(EOFError):
        wire.read_frame(read_end)
    os.close(read_end)
