"""The judgement of answers: strict in lines and types, and proof against values made to be slow or to slip through."""

import time

import pytest

from sandbox.compare import output_difference, shown, value_difference
from sandbox.inside import wire
from sandbox.tasks import Compare

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ("3\n", "3"),
        ("3", "3 \r\n\n\n"),
        ("1 2\n3\n", "1  2\n3\n"),
        ("", ""),
        ("", "\n\n"),
        ("a\n\nb", "a\n\nb\n"),
        ("ä€😀", "ä€😀"),
    ],
)
def test_white_space_at_ends_and_between_words_does_not_count(expected: str, output: str) -> None:
    assert output_difference(expected, output.encode(), "exact") is None


@pytest.mark.parametrize(
    ("expected", "output", "line"),
    [
        ("1\n2\n3", "1", 2),  # a prefix is no answer
        ("1", "1\n2", 2),
        ("1\n2", "1 2", 1),  # lines are not words
        ("a\n\nb", "a\nb", 2),
        ("12", "1 2", 1),
        ("Yes", "yes", 1),
        ("1", "1.0", 1),
        ("1", "+1", 1),
        ("3", "", 1),
        ("", "3", 1),
        ("1\n2", "1\x0b2", 1),
        ("1\n2", "1\u20282", 1),
    ],
)
def test_the_first_line_that_differs_is_named(expected: str, output: str, line: int) -> None:
    difference = output_difference(expected, output.encode(), "exact")
    assert difference is not None
    assert difference.line == line


def test_a_missing_line_is_told_from_an_empty_one() -> None:
    difference = output_difference("1\n2", b"1", "exact")
    assert difference is not None
    assert (difference.expected, difference.actual) == ("2", None)


def test_output_that_is_not_utf8_is_wrong_and_located() -> None:
    difference = output_difference("1\n2", b"1\n\xff2", "exact")
    assert difference is not None
    assert difference.line == 2


def test_shown_lines_are_cut() -> None:
    difference = output_difference("a" * 10_000, b"b" * 10_000, "exact")
    assert difference is not None
    assert difference.actual is not None
    assert len(difference.actual) == 200


@pytest.mark.parametrize("output", ["0.3333333", "3.333333e-1", "0.33333400"])
def test_floats_within_the_tolerance_are_equal_when_asked_for(output: str) -> None:
    assert output_difference("0.333333333", output.encode(), "float") is None
    assert output_difference("0.333333333", output.encode(), "exact") is not None


@pytest.mark.parametrize(
    "output", ["nan", "inf", "0.34", "1e-400000000", "0_0.333333333", "٠.333333333", "0." + "3" * 60]
)
def test_floats_must_be_finite_short_and_plain(output: str) -> None:
    assert output_difference("0.333333333", output.encode(), "float") is not None


def test_words_that_are_no_finite_numbers_are_still_compared_as_words() -> None:
    assert output_difference("inf nan ok", b"inf nan ok", "float") is None
    assert output_difference("inf", b"-inf", "float") is not None
    assert output_difference("inf", b"1e999", "float") is not None


def same(expected: object, actual: object, compare: Compare) -> bool:
    """As if `actual` had come over the wire."""
    return value_difference(expected, wire.loads(wire.dumps(wire.encode(actual))), compare) is None


@pytest.mark.parametrize(
    ("expected", "actual", "exact", "python"),
    [
        (1, 1, True, True),
        (1, True, False, True),
        (False, 0, False, True),
        (1, 1.0, False, True),
        (0.0, -0.0, False, True),
        (2**60, 2**60, True, True),
        (2**60, float(2**60), False, True),
        (10**300, 1e300, False, False),
        (0.1 + 0.2, 0.3, False, False),
        ("1", 1, False, False),
        (None, 0, False, False),
        (None, False, False, False),
        ("a", "a", True, True),
        ("\ud800", "\ud800", True, True),
        (b"a", "a", False, False),
        (b"a", b"a", True, True),
        ([1, 2], (1, 2), True, False),
        ([1, 2], [2, 1], False, False),
        ([], None, False, False),
        ([[]], [], False, False),
        ([1], [1, 2], False, False),
        ({1, 2}, {2, 1}, True, True),
        ({1, 2}, [1, 2], False, False),
        ({1}, {True}, False, True),
        ({1}, frozenset({1}), False, True),
        ({"a": 1}, {"a": 1}, True, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, True),
        ({"a": 1}, {"a": True}, False, True),
        ({1: "x"}, {"1": "x"}, False, False),
        ({1: "x"}, {True: "x"}, False, True),
        ({}, [], False, False),
        (set[int](), {}, False, False),
        (float("inf"), float("inf"), True, True),
        (float("nan"), float("nan"), True, False),
        ("f", {"f": 1}, False, False),
        ({"i": "0x1"}, 1, False, False),
    ],
)
def test_types_count_as_in_json_or_as_in_python(expected: object, actual: object, exact: bool, python: bool) -> None:
    assert same(expected, actual, "exact") is exact
    assert same(expected, actual, "python") is python
    if "nan" not in repr(expected) and exact:
        assert same(actual, expected, "exact")


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (1.0, 1 + 1e-9, True),
        (1.0, 1, True),
        (1.0, True, False),
        (1.0, "1.0", False),
        (1.0, 1.01, False),
        (1e300, 1.0000001e300, True),
        (0.0, 1e-7, True),
        (1.0, float("nan"), False),
        (1.0, float("inf"), False),
        (float("inf"), float("inf"), True),
        (float("nan"), float("nan"), True),
        ([1.0, [2.0]], [1.0000000001, (2,)], True),
        ([1.0], [1.0, 2.0], False),
        ({"a": 1.0}, {"a": 1.0000000001}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ("x", "x", True),
        (2**70, 2**70, True),
        (True, 1, False),
    ],
)
def test_floats_are_close_and_everything_else_exact(expected: object, actual: object, right: bool) -> None:
    assert same(expected, actual, "float") is right


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        ([1, 2, 2], [2, 1, 2], True),
        ([1, 2, 2], [1, 1, 2], False),
        ([1, 2], [1, 2, 2], False),
        ([[1, 2], [3]], [[3], [1, 2]], True),
        ([[1, 2]], [[2, 1]], False),  # only the outermost list
        ([1], [True], False),
        ([1, 2], (2, 1), True),
        ([1], {1}, False),
        ([1], 1, False),
    ],
)
def test_order_does_not_count_where_asked_for(expected: object, actual: object, right: bool) -> None:
    assert same(expected, actual, "unordered") is right


@pytest.mark.parametrize(
    "raw",
    [
        {"i": "zz"},
        {"i": 5},
        {"f": "1.0"},
        {"t": "ab"},
        {"d": [[1]]},
        {"d": 3},
        {"x": []},
        {},
        {"t": [], "s": []},
        {"i": "0x" + "f" * 20_000},
        [{"b": 3}],
    ],
)
@pytest.mark.parametrize("compare", ["exact", "python", "float", "unordered"])
def test_malformed_values_are_wrong_answers_and_can_be_shown(raw: wire.Json, compare: Compare) -> None:
    assert value_difference([1], raw, compare) is not None
    assert isinstance(shown(raw), str)


def test_a_key_given_twice_equals_nothing() -> None:
    assert value_difference({1: 2}, {"d": [[1, 2], [1, 2]]}, "exact") is not None


def test_colliding_keys_do_not_slow_the_service_down() -> None:
    modulus = 2**61 - 1  # ints that differ by it have the same hash: a dict or set of them takes quadratic time
    keys = [{"i": hex(modulus * k)} for k in range(1, 20_000)]
    started = time.process_time()
    assert value_difference({1, 2}, {"s": keys}, "exact") is not None
    assert value_difference({1: 2}, {"d": [[key, 1] for key in keys]}, "python") is not None
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        ("a  b\nc", "a  b \nc\n\n", True),
        ("a  b", "a b", False),
        (" a", "a", False),
        ("", "\n", True),
        ("a\n\nb", "a\nb", False),
    ],
)
def test_lines_are_the_same_with_the_spaces_within_them(expected: str, output: str, right: bool) -> None:
    assert (output_difference(expected, output.encode(), "lines") is None) == right


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        ([[1, 2], [3]], [[3], [2, 1]], True),
        ([[1, 2], [3]], [[3], [2, 2]], False),
        ([1, [2, (3, 4)]], [[(4, 3), 2], 1], True),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ({"a": [1], "b": [2]}, {"a": [2], "b": [1]}, False),
        ([1], [True], False),
        ([[1], []], [[], [1], []], False),
    ],
)
def test_every_list_in_any_order_when_nested(expected: object, actual: object, right: bool) -> None:
    assert same(expected, actual, "unordered_nested") == right
    assert same([1, [2, 3]], [[3, 2], 1], "unordered") is False


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [(1.0, 1 + 5e-10, True), (1.0, 1 + 2e-9, False), (1e12, 1e12 + 500, True), (0.0, 1e-12, False), ([2], [2.0], True)],
)
def test_relative_floats_are_a_thousand_millionth_apart_at_most(expected: object, actual: object, right: bool) -> None:
    assert same(expected, actual, "float_relative") == right


def test_a_dict_with_a_key_twice_is_nothing_in_any_order() -> None:
    assert value_difference({1: 2}, {"d": [[1, 2], [1, 2]]}, "unordered_nested") is not None
