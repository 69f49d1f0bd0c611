r"""Whether two mathematical answers are the same, by structure and then by algebra. For verifier processes only.

Lists, sets, tuples, intervals, unions and matrices are taken apart and compared element by element, so that the exact
rules of `rewards/exact.py` hold inside them; what is left goes to latex2sympy and math-verify. Any call may take for
ever or all memory: the process that calls it must be one that can be killed.
"""

# The algebra libraries carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

import re
from functools import lru_cache
from typing import Any, cast

from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify.grader import should_treat_as_complex, verify
from sympy import Basic, Expr, Float, I, MatrixBase, Rational, Symbol

from rewards.exact import Number, compare, parse_number, stands_for
from rewards.notation import plain, words
from rewards.structure import (
    Structure,
    interval,
    is_relation,
    is_variable,
    names_value,
    parse_structure,
    split_equation,
)

_PRECISION = 60  # decimal digits of a numerical comparison of two constants
_AGREEMENT = 40  # of which so many must agree
_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
)
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_SET_LIKE = re.compile(r"\\(?:cup|cap|setminus|emptyset|infty|mathbb|in)(?![A-Za-z])|^[\[(].*[\])]$")
_COMPUTED = re.compile(r"matrix\}.*\\begin|matrix\}[\^_+*-]|[0-9A-Za-z*+-] ?\\begin", re.DOTALL)
# math-verify takes `i` for the imaginary unit only where it stands alone; here also in `4i` and `i(1+x)`.
_IMAGINARY = re.compile(r"(?<=[0-9)}])i(?![A-Za-z])|(?<![A-Za-z\\{])i(?=[\\(0-9])")
_PRIMED = re.compile(r"[A-Za-z]'+")
_MODULUS = re.compile(r"(.*?) ?\(? ?(?:\\pmod|(?<=\()\\mod) ?(?:\{ ?(\w+) ?\}|(\w+)) ?\)?")
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_MEMBER = re.compile(r"^[A-Za-z](?:_\{?\w+\}?)? ?\\in ?(?=[\[(\\])")


def same_answer(gold: str, answer: str) -> bool:
    """Whether `answer` says what `gold` says. Not symmetric: the gold decides the form that is asked for."""
    return _same(plain(gold), plain(answer), 0)


def _same(gold: str, answer: str, depth: int) -> bool:
    decided = compare(gold, answer)
    if decided is not None:
        return decided
    if depth > 8:
        return False
    gold, answer = _before_approx(gold), _before_approx(answer)
    gold, answer = _MEMBER.sub("", gold), _MEMBER.sub("", answer)
    if (residues := _residues(gold, answer)) is not None:
        return residues[0] != "" and _same(*residues, depth + 1)
    unsolved = is_relation(answer) and interval(answer) is None and parse_structure(answer) is None
    if unsolved and not _RELATION.search(gold):
        return False  # the reference is an interval, the answer an inequality still to be solved
    if is_relation(gold) != is_relation(answer):
        gold, answer = interval(gold) or gold, interval(answer) or answer
    gold, answer = _without_thousands(gold, answer), _without_thousands(answer, gold)
    gold_tree, tree = parse_structure(gold), parse_structure(answer)
    if gold_tree is not None and tree is not None:
        return _same_structure(gold_tree, tree, depth) or (
            _looks_like_set(gold + answer) and _same_by_algebra(gold, answer)
        )
    if gold_tree is None and tree is None:
        return _same_leaf(gold, answer, depth)
    # One side has parts and the other has none: a set of one, an equation of a structure, or something to compute.
    if tree is not None and tree.kind == "set" and len(tree.items) == 1 and "emptyset" not in tree.items[0]:
        return _same(gold, tree.items[0], depth + 1)
    if gold_tree is not None and gold_tree.kind == "set" and len(gold_tree.items) == 1:
        return _same(gold_tree.items[0], answer, depth + 1)
    if "=" in (gold if gold_tree is None else answer):
        return _same_leaf(gold, answer, depth)
    if _COMPUTED.search(gold) or _COMPUTED.search(answer) or (_looks_like_set(gold) and _looks_like_set(answer)):
        return _same_by_algebra(gold, answer)
    return False


def _residues(gold: str, answer: str) -> tuple[str, str] | None:
    r"""Both without `\pmod{m}`, which one of them may lack; None when neither has it, ("", "") when they differ."""
    matches = [_MODULUS.fullmatch(text) for text in (gold, answer)]
    if not any(matches):
        return None
    moduli = {match.group(2) or match.group(3) for match in matches if match}
    residues = [match.group(1) if match else text for match, text in zip(matches, (gold, answer), strict=True)]
    gold, answer = (residue.rpartition(r"\equiv")[2].strip() for residue in residues)
    residue, modulus = parse_number(answer), parse_number(moduli.pop())
    if moduli or (matches[1] and residue is not None and modulus is not None and residue.value >= modulus.value):
        return "", ""  # two moduli, or 30 (mod 7) for 30
    return gold, answer


def _without_thousands(text: str, other: str) -> str:
    """`1,024` as one number, unless the other answer is a list."""
    return text.replace(",", "") if parse_number(text) is not None and parse_structure(other) is None else text


def _looks_like_set(text: str) -> bool:
    return _SET_LIKE.search(text) is not None or _RELATION.search(text) is not None


def _same_structure(gold: Structure, answer: Structure, depth: int) -> bool:
    kinds = {gold.kind, answer.kind}
    if len(gold.items) != len(answer.items):
        return False
    if kinds == {"matrix", "tuple"}:  # a vector as a row or a column
        shape = gold.shape or answer.shape
        return (
            gold.brackets + answer.brackets == "()"
            and shape is not None
            and 1 in shape
            and _same_in_order(gold.items, answer.items, depth)
        )
    if gold.shape != answer.shape:
        return False
    if kinds == {"matrix"}:
        return _same_in_order(gold.items, answer.items, depth)
    if kinds == {"tuple"}:
        return gold.brackets == answer.brackets and _same_in_order(gold.items, answer.items, depth)
    gold_items, items = _named_alike(gold.items, answer.items)
    if kinds == {"list", "tuple"}:  # a point written without its parentheses: the order tells
        return gold.brackets + answer.brackets == "()" and _same_in_order(gold_items, items, depth)
    return (kinds == {"union"} or kinds <= {"list", "set"}) and _same_in_some_order(gold_items, items, depth)


def _same_in_order(gold: tuple[str, ...], answer: tuple[str, ...], depth: int) -> bool:
    return all(_same(g, a, depth + 1) for g, a in zip(gold, answer, strict=True))


def _same_in_some_order(gold: tuple[str, ...], answer: tuple[str, ...], depth: int) -> bool:
    left = list(answer)
    for g in gold:
        match = next((a for a in left if _same(g, a, depth + 1)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _named_alike(gold: tuple[str, ...], answer: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Drop the name of `x=1, 2, 3`, and all names when only one side has them."""
    trimmed: list[tuple[str, ...]] = []
    for items in (gold, answer):
        named = [names_value(item) for item in items]
        if named[0] is not None and not any(name is not None for name in named[1:]):
            items = (named[0][1], *items[1:])
        trimmed.append(items)
    named_sides = [[names_value(item) for item in items] for items in trimmed]
    for i in (0, 1):
        pairs = [named for named in named_sides[i] if named is not None]
        if len(pairs) == len(trimmed[i]) and not any(named_sides[1 - i]):
            trimmed[i] = _by_name(pairs)
    return trimmed[0], trimmed[1]


def _by_name(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """The values, those of coordinates in the order of the alphabet: `y=2, x=1` is (1, 2)."""
    names = {name for name, _ in pairs}
    if len(names) == len(pairs) and any(names <= set(letters) for letters in ("xyz", "abcd", "pqr", "uvw", "mn")):
        pairs = sorted(pairs)
    return tuple(value for _, value in pairs)


def _before_approx(text: str) -> str:
    return text.partition(r"\approx")[0].strip() or text


def _same_leaf(gold: str, answer: str, depth: int) -> bool:
    gold_sides, sides = split_equation(gold), split_equation(answer)
    if len(gold_sides) == 1 and len(sides) > 1:
        return _same(gold, _value(sides), depth + 1)
    if len(gold_sides) > 1 and len(sides) == 1:
        named = names_value(gold)
        return named is not None and _same(named[1], answer, depth + 1)
    if len(gold_sides) > 1 and len(sides) > 1:
        gold_named, named = names_value(gold), names_value(answer)
        if named is None and is_variable(sides[-1]):  # 5 = x
            named = sides[-1], sides[0]
        if gold_named and named and gold_named[0] == named[0]:
            return _same(gold_named[1], named[1], depth + 1)
        if gold_named and (value := _to_sympy(gold_named[1])) is not None and not value.free_symbols:
            return False  # an equation still to be solved, or another variable
        return _same_by_algebra(gold, answer)
    if ("%" in gold) != ("%" in answer):
        return _same(gold.replace("%", ""), answer.replace("%", ""), depth + 1)
    if words(gold) is not None and r"\text" in gold + answer:
        return False  # words that differ; their letters are no product of symbols
    return _same_by_algebra(gold, answer)


def _value(sides: list[str]) -> str:
    """What an equation says of a name: its last side; of `5 = x` the first; of `(y, x) = (2, 1)` by the names."""
    if len(sides) == 2 and is_variable(sides[1]) and not is_variable(sides[0]):
        return sides[0]
    names, values = parse_structure(sides[0]), parse_structure(sides[-1])
    if names and values and names.kind == values.kind == "tuple" and len(names.items) == len(values.items):
        ordered = _by_name(list(zip(names.items, values.items, strict=True)))
        return values.brackets[0] + ",".join(ordered) + values.brackets[1]
    return sides[-1]


def _same_by_algebra(gold: str, answer: str) -> bool:
    if set(_PRIMED.findall(gold)) != set(_PRIMED.findall(answer)):
        return False  # the parser drops primes
    gold_value, value = _gold_to_sympy(gold), _to_sympy(answer)
    if gold_value is None or value is None:
        return False
    if isinstance(gold_value, Expr) and isinstance(value, Expr) and _is_constant(gold_value) and _is_constant(value):
        return _same_constant(gold_value, value, parse_number(gold), parse_number(answer))
    return bool(
        verify(gold_value, value, numeric_precision=_AGREEMENT, allow_set_relation_comp=True, timeout_seconds=None)
    )


def _to_sympy(text: str) -> Basic | MatrixBase | None:
    """Parse one expression, its decimals as the exact fractions they write. None when it is not mathematics."""
    text = normalize_latex(text, _NORMALIZATION)
    is_complex = should_treat_as_complex(text) or _IMAGINARY.search(text) is not None
    try:
        parsed: Any = latex2sympy(
            text,
            is_real=not is_complex,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
        if is_complex:
            parsed = parsed.subs(Symbol("i", real=False), I)
        return cast("Basic | MatrixBase", parsed.replace(lambda e: isinstance(e, Float), lambda e: Rational(str(e))))
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the parser raises nearly every type on text that is not LaTeX: that is its way to say no
        return None


# One reference has the answers of a whole group beside it, and parsing it is half of the work.
_gold_to_sympy = lru_cache(maxsize=64)(_to_sympy)


def _is_constant(value: Expr) -> bool:
    return not value.free_symbols and value.is_number is True


def _same_constant(gold: Expr, answer: Expr, gold_number: Number | None, number: Number | None) -> bool:
    if isinstance(gold, Rational) and isinstance(answer, Rational) and gold == answer:
        return True
    if gold.is_zero:
        return answer.equals(0) is True  # digits that cancel leave nothing to compare with
    values = gold.evalf(_PRECISION), answer.evalf(_PRECISION)
    if not all(v.is_number and (v.is_finite or v.is_finite is None) for v in values):
        return bool(verify(gold, answer, timeout_seconds=None))
    difference = cast(Any, abs(values[0] - values[1]))
    if difference <= cast(Any, max(abs(values[0]), abs(values[1]))) * Rational(1, 10**_AGREEMENT):
        return True
    # One side may be a decimal that stands for the other, such as 4.12311 for the root of 17.
    for written, value in ((number, values[0]), (gold_number, values[1])):
        if written is None or not value.is_real or gold.is_integer:
            continue
        if (fraction := parse_number(str(value))) is not None:
            return stands_for(written, fraction.value)
    return False
