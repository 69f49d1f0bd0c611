r"""Takes a written answer apart: lists, sets, tuples and intervals, unions, matrices, equations, `\pm`. Text only."""

import re
from dataclasses import dataclass
from typing import Literal

from rewards.notation import without_spaces

_OPEN, _CLOSE = "([{", ")]}"
_SEPARATOR = re.compile(r",|;|\\text ?\{ ?,? ?(?:and|or) ?\}|,? ?\b(?:and|or)\b")
_BRACKETS = [
    (r"\{", r"\}", "set"),
    ("(", ")", "tuple"),
    ("[", "]", "tuple"),
    ("(", "]", "tuple"),
    ("[", ")", "tuple"),
]
_MATRIX = re.compile(r"\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}", re.DOTALL)
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_NAME = re.compile(  # of letters, indices, functions, segments and ratios of these; no digits and no arithmetic
    r"(?:[A-Za-z']|\\[A-Za-z]++|_ ?(?:\{[^{}]*\}|\w)|\^ ?(?:\{\\?[a-z]+\}|[a-zA-Z'])"
    r"|[|():,{} ]|\\text ?\{[^{}]*\}|\\[{}])+"
)


_ORDER = re.compile(r"<|>|\\le(?![A-Za-z])|\\ge(?![A-Za-z])")
_VARIABLE = re.compile(r"(?:[A-Za-z]|\\(?!pi|infty)[a-z]+)(?:_ ?(?:\{\w+\}|\w))?")
_OR = re.compile(r"\\text ?\{ ?or ?\}|,? ?\bor\b|\\(?:lor|vee)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Structure:
    """Several parts. `brackets`: the pair around a tuple, such as `(]`. `shape`: (rows, columns) of a matrix."""

    kind: Literal["list", "set", "tuple", "union", "matrix"]
    items: tuple[str, ...]
    brackets: str = ""
    shape: tuple[int, int] | None = None


def parse_structure(text: str) -> Structure | None:
    r"""The parts of a `plain` answer; None for a single expression (a tuple has two parts or more, a set one)."""
    if len(split_equation(text)) > 1 and len(_split(text, _SEPARATOR)) == 1:
        return None
    alternatives = [interval(part) for part in _split(text, _OR)]
    if len(alternatives) > 1 and None not in alternatives:
        return Structure("union", tuple(filter(None, alternatives)))
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix)
    union = _split(text, re.compile(r"\\cup(?![A-Za-z])"))
    if len(union) > 1:
        return Structure("union", tuple(union))
    items = _split(text, _SEPARATOR)
    if len(items) > 1:
        return Structure("list", _distinct(items))
    for opening, closing, kind in _BRACKETS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            items = _split(inner, _SEPARATOR)
            if kind == "set":
                return Structure("set", _distinct(items)) if _balanced(inner) else None
            if len(items) > 1 and _balanced(inner):
                return Structure("tuple", tuple(items), opening + closing)
    inner = text[1:-1].strip()
    if text.startswith("{") and text.endswith("}") and _balanced(inner) and len(_split(inner, _SEPARATOR)) > 1:
        return Structure("set", _distinct(_split(inner, _SEPARATOR)))
    if text.startswith("(") and text.endswith(")") and _balanced(inner) and inner:
        return parse_structure(inner)
    signs = _split_signs(text)
    return Structure("list", signs) if signs is not None else None


def split_equation(text: str) -> list[str]:
    """The sides of `a = b = c` (one for no equation); an `=` in brackets does not count."""
    return _split(text, _EQUALS)


def names_value(text: str) -> tuple[str, str] | None:
    """(name, value) of `x = 3`, `f(x) = 2x`, `|AB| = 1`, `A:B = 2`; None when the left side is more than a name."""
    sides = split_equation(text)
    if len(sides) < 2 or not _NAME.fullmatch(sides[0]) or not sides[-1]:
        return None
    return sides[0].replace(" ", ""), sides[-1]


def interval(relation: str) -> str | None:
    r"""`(1, 2]` for `1 < x \le 2`, `[3, \infty)` for `x \ge 3`; None unless a variable stands alone on one side."""
    sides, signs = _split(relation, _ORDER), _ORDER.findall(relation)
    if len(sides) != len(signs) + 1:
        return None
    if len(sides) == 2 and _VARIABLE.fullmatch(sides[1]):
        sides, signs = sides[::-1], [{"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}[signs[0]]]
    if len(sides) == 2 and _VARIABLE.fullmatch(sides[0]) and sides[0] not in sides[1]:
        left = "(" if signs[0] in "<>" else "["
        right = ")" if signs[0] in "<>" else "]"
        if signs[0] in ("<", r"\le"):
            return rf"(-\infty,{sides[1]}{right}"
        return rf"{left}{sides[1]},\infty)"
    if len(sides) == 3 and _VARIABLE.fullmatch(sides[1]) and not any(sides[1] in side for side in (sides[0], sides[2])):
        if set(signs) <= {">", r"\ge"}:
            sides, signs = sides[::-1], [sign.replace(">", "<").replace("ge", "le") for sign in reversed(signs)]
        if set(signs) <= {"<", r"\le"}:
            return f"{'(' if signs[0] == '<' else '['}{sides[0]},{sides[2]}{')' if signs[1] == '<' else ']'}"
    return None


def is_variable(text: str) -> bool:
    r"""Whether the text is one symbol such as `x`, `x_1`, `\theta`."""
    return _VARIABLE.fullmatch(text) is not None


def is_relation(text: str) -> bool:
    r"""Whether the text has an order sign outside all brackets, as in `2x > 6`."""
    return len(_split(text, _ORDER)) > 1


def _split_signs(text: str) -> tuple[str, str] | None:
    r"""`a \pm b` as (`a + b`, `a - b`); None without exactly one sign."""
    if text.count(r"\pm") != 1:
        return None
    before, _, after = text.partition(r"\pm")
    return (f"{before}+{after}" if before.strip() else after.strip()), f"{before}-{after}".strip()


def _distinct(items: list[str]) -> tuple[str, ...]:
    """Without items written twice, and with `a \\pm b` as the two that it is."""
    signs = [_split_signs(item) if len(split_equation(item)) == 1 else None for item in items]
    expanded = [part for item, pair in zip(items, signs, strict=True) for part in (pair or (item,))]
    return tuple({without_spaces(item): item for item in expanded}.values())


def _matrix(match: re.Match[str]) -> Structure | None:
    if match.group(1) in ("vmatrix", "Vmatrix"):
        return None  # a determinant or a norm is one number
    rows = [
        row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match.group(2)) if row.strip().replace(r"\hline", "").strip()
    ]
    cells = [[cell.strip() for cell in row.replace(r"\hline", "").split("&")] for row in rows]
    if not cells or any(len(row) != len(cells[0]) for row in cells):
        return None
    items = tuple(cell for row in cells for cell in row)
    return Structure("matrix", items, shape=(len(cells), len(cells[0])))


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        if character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split outside all brackets and LaTeX environments; empty parts are dropped."""
    parts: list[str] = []
    start = depth = environments = position = 0
    while position < len(text):
        character = text[position]
        if text.startswith(r"\begin{", position):
            environments += 1
        elif text.startswith(r"\end{", position):
            environments -= 1
        if depth == 0 and environments == 0 and (match := separator.match(text, position)) and match.end() > position:
            parts.append(text[start:position].strip())
            position = start = match.end()
            continue
        if character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth = max(depth - 1, 0)
        position += 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
