from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.exact import compare, parse_number
from rewards.notation import plain

pytestmark = pytest.mark.unit


def value(text: str) -> Fraction | None:
    number = parse_number(plain(text))
    return None if number is None else number.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", "42"),
        ("-3", "-3"),
        ("−3", "-3"),
        ("007", "7"),
        ("1,234,567", "1234567"),
        (r"1\,234", "1234"),
        ("1{,}234", "1234"),
        ("$1,000.50", "2001/2"),
        (".5", "1/2"),
        ("1e-7", "1/10000000"),
        (r"1.5 \times 10^{3}", "1500"),
        ("2×10⁻³", "1/500"),
        ("10^{-2}", "1/100"),
        (r"\frac34", "3/4"),
        (r"-\dfrac{3}{4}", "-3/4"),
        (r"\frac{-3}{4}", "-3/4"),
        ("3 / 4", "3/4"),
        (r"1\frac{1}{2}", "3/2"),
        ("1 1/2", "3/2"),
        ("1½", "3/2"),
        ("1010_2", "10"),
        ("10 cm", "10"),
        (r"10\text{ cm}^2", "10"),
        ("5 million", "5000000"),
        ("90^\\circ", "90"),
        ("１２", "12"),
    ],
)
def test_numbers_are_read_exactly(text: str, expected: str):
    assert value(text) == Fraction(expected)


@pytest.mark.parametrize(
    "text", ["x", "1,2345", "1, 2", "٣", "NaN", "inf", "1/0", "12_2", "2\\pi", "3t", "1e99999", "9" * 5000, ""]
)
def test_what_is_not_one_plain_number_is_left_alone(text: str):
    assert value(text) is None


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("1e-7", "2e-7", False),
        ("0.0000001", "0.0000002", False),
        ("100000000000000000001", "100000000000000000000", False),
        ("2.23", "2.232", False),
        ("5.0", "5", True),
        ("1/3", "0.3333", False),
        ("1/3", "0.333333", True),
        ("2/3", "0.666667", True),
        ("2/3", "0.666666", True),
        ("2/3", "0.666668", False),
        ("0.5", "1/2", True),
        ("28%", "0.28", True),
        ("28%", "28", True),
        ("28%", "2.8", False),
        ("0.5%", "50%", False),
        ("10 cm", "10", True),
        ("10 cm", "10 m", False),
        ("10 miles", "10 mi", True),
        ("10", "10 m", True),
        ("10", "-10", False),
        ("Paris", "  paris. ", True),
        ("dog", "god", None),
        ("2N", "2n", None),
        ("1 2", "12", None),
    ],
)
def test_comparison_rules(gold: str, answer: str, same: bool | None):
    assert compare(gold, answer) is same


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_integers_are_equal_only_to_themselves(a: int, b: int):
    assert compare(str(a), f"{a:,}") is True
    assert compare(str(a), str(b)) is (a == b)


@settings(max_examples=200, deadline=None)
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_equal_only_to_themselves(a: Fraction, b: Fraction):
    written = rf"\frac{{{a.numerator}}}{{{a.denominator}}}"
    assert compare(str(a), written) is True
    assert compare(str(b), written) is (a == b)
