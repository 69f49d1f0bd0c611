import ast
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.countdown import NotAnExpression, countdown, evaluate, tokenize
from rewards.sample import Sample, Score

pytestmark = pytest.mark.unit


def judge(answer: str, numbers: object = (8, 2, 1), target: object = 14, order: str | None = None) -> Score:
    reference = {"numbers": list(numbers) if isinstance(numbers, tuple) else numbers, "target": target, "order": order}
    return countdown(Sample("", f"<think>…</think><answer>{answer}</answer>", reference))


@pytest.mark.parametrize("answer", ["(8-1)*2", " ( 8 - 1 ) * 2 ", "2*(8-1)", "((8)-(1))*2", "-(1-8)*2"])
def test_any_exact_expression_of_the_numbers_is_right(answer: str):
    assert judge(answer).value == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("8*2-1-1", "not the given numbers"),
        ("7*2", "not the given numbers"),
        ("14", "not the given numbers"),
        ("", "not the given numbers"),
        ("(08-1)*2", "not the given numbers"),
        ("81-2", "not the given numbers"),
        ("8+2+1", "value is 11"),
        ("(8-1)*2=14", "character '='"),
        ("(8-1)*2.0", "character '.'"),
        ("(8-1)×2", "character '×'"),
        ("(8-１)*2", "character '１'"),
        ("(8-1)\t*2", "character"),
        ("(8-1)^2", "character '^'"),
        ("(8-1)**2", "out of place"),
        ("(8-1)//2", "out of place"),
        ("(8-1)2", "out of place"),
        ("(8-1", "not the given numbers"),
        ("(8-1*2", "not closed"),
        ("8-1)*2", "out of place"),
        ("8 2 1", "out of place"),
        ("8-1*2-", "too early"),
        ("__import__('os')", "character '_'"),
    ],
)
def test_what_is_not_strict_is_wrong_and_says_why(answer: str, reason: str):
    score = judge(answer)
    assert score.value == 0
    assert reason in score.detail


def test_the_value_is_exact_and_rational():
    assert judge("8/(3-8/3)", (8, 3, 8, 3), 24).value == 1
    assert judge("(1/3)*3", (1, 3, 3), 1).value == 1


def test_division_by_zero_is_plainly_wrong():
    assert judge("8/(2-1-1)", (8, 2, 1, 1), 14) == Score(0.0, "division by zero")


def test_the_given_order_is_asked_for_only_when_the_reference_says_so():
    assert judge("2*(8-1)").value == 1
    assert judge("2*(8-1)", order="given").value == 0
    assert judge("8*2-1", target=15, order="given").value == 1


@pytest.mark.parametrize(
    "hostile", ["(" * 50_000, "-" * 900 + "8", "9" * 50_000, "(" * 500 + "8" + ")" * 499, "1" * 999]
)
def test_hostile_answers_are_wrong_at_once(hostile: str):
    started = time.perf_counter()
    assert judge(hostile).value == 0
    assert time.perf_counter() - started < 0.5


def test_depth_is_capped_and_not_left_to_the_interpreter():
    assert judge("(" * 60 + "8-1" + ")" * 60 + "*2").value == 1
    assert "nested deeper" in judge("(" * 90 + "8-1" + ")" * 90 + "*2").detail


@pytest.mark.parametrize(
    ("numbers", "target", "order"),
    [
        (None, 1, None),
        ([], 1, None),
        ([1.5], 1, None),
        ([True], 1, None),
        ([-1], 1, None),
        ([1], "x", None),
        ([1], 1, "up"),
    ],
)
def test_a_bad_reference_is_an_error_and_not_a_zero(numbers: object, target: object, order: str | None):
    with pytest.raises(ValueError, match=r"countdown needs|write 'any'"):
        judge("1", numbers, target, order)


expressions = st.recursive(
    st.integers(0, 99).map(str),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/", " + ", " * "]), part).map("".join),
        part.map(lambda text: f"({text})"),
        part.map(lambda text: f"-{text}"),
    ),
    max_leaves=12,
)


def value_by_ast(node: ast.AST) -> Fraction:
    match node:
        case ast.Expression():
            return value_by_ast(node.body)
        case ast.Constant(value=int(value)):
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub()):
            return -value_by_ast(node.operand)
        case ast.BinOp():
            left, right = value_by_ast(node.left), value_by_ast(node.right)
            operators = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__"}
            return getattr(left, operators[type(node.op)])(right)
        case _:
            raise AssertionError(ast.dump(node))


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_the_parser_agrees_with_the_grammar_of_python(text: str):
    try:
        expected: Fraction | str = value_by_ast(ast.parse(text, mode="eval"))
    except ZeroDivisionError:
        expected = "division by zero"
    try:
        value: Fraction | str = evaluate(tokenize(text))
    except ZeroDivisionError:
        value = "division by zero"
    assert value == expected


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789+-*/() .=x", max_size=20))
def test_any_text_has_a_value_or_is_refused(text: str):
    try:
        evaluate(tokenize(text))
    except (NotAnExpression, ZeroDivisionError):
        return
    assert set(text) <= set("0123456789+-*/() ")
