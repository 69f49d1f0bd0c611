r"""One way to write each answer: LaTeX and Unicode spellings are folded without changing any value.

`plain(r"$\dfrac12\,\text{ cm}$")` is `\frac{1}{2}\text{ cm}`. Linear-time replacements only.
"""

import re
import unicodedata
from functools import lru_cache

_SYMBOLS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "﹣": "-", "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ",
    "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "°": r"^\circ ",
    "±": r"\pm ", "≈": r"\approx ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "θ": r"\theta ", "α": r"\alpha ",
    "β": r"\beta ", "φ": r"\phi ", "→": r"\to ", "…": "...", "“": "", "”": "", "⟨": "(", "⟩": ")",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
})  # fmt: skip
_VULGAR = re.compile("[¼-¾⅐-⅞]")  # each is one fraction
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FULL_WIDTH[0x3000] = ord(" ")

_THOUSANDS_SPACE = re.compile(r"(?<=[0-9])(?:\\[,;:! ]|\{,\}|,\\!| )\s?(?=[0-9]{3}(?![0-9]))")
_SIZES = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits|tiny|small|large|Large|LARGE|huge|Huge)"
    r"(?![A-Za-z])\.?|\\(?:text)?color\s*\{[^{}]*\}"
)
_PRICE = re.compile(r"(\\\$|[€£¥])\s*([+-]?[0-9][0-9,.]*[0-9]|[0-9])(?=\s*(?:$|[.,;)\]}]))")
_CURRENCIES = {"\\$": "dollars", "€": "euros", "£": "gbp", "¥": "yen"}
_SPACING = re.compile(r"\\[,;:!]|\\(?:quad|qquad|hspace\{[^{}]*\})(?![A-Za-z])|~|(?<!\\)\\\s")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_TEXT = re.compile(
    r"\\(?:textnormal|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|operatorname|boldsymbol|bm)"
    r"\s*\{"
)
_SHORT_FRACTION = re.compile(
    r"\\frac\s*([0-9])\s*([0-9])|\\frac\s*([0-9])\s*(\{[^{}]*\})|\\frac\s*(\{[^{}]*\})\s*([0-9])"
)
_SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9A-Za-z])(?![A-Za-z])")
_ROOT_SIGN = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9]+|[a-z]))")
_DOUBLED_COMMAND = re.compile(r"\\\\(?=[A-Za-z])")
_ALIASES = [
    (re.compile(r"\\leq(?:slant)?(?![A-Za-z])|\\leqq(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\geq(?:slant)?(?![A-Za-z])|\\geqq(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![A-Za-z])|!="), r"\\ne "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:lbrace|lcub)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace|rcub)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![A-Za-z])"), "|"),
    (re.compile(r"\^\{?\\?(?:circ|degree)(?![A-Za-z])\}?|\\degree(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"\s*\\text\s*\{\s*(?:\\?%|percent(?:age)?|pct)\s*\}|\\?%"), "%"),
    (re.compile(r"\s*(?<![A-Za-z])(?:percent(?:age)?|pct)\b"), "%"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\bmod(?![A-Za-z])"), r"\\mod "),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\log\s*_\s*(?:e(?![A-Za-z])|\{\s*e\s*\})"), r"\\ln "),
    (re.compile(r"(?<![A-Za-z\\])((?:sin|cos|tan|cot|sec|csc|ln|log|exp)) ?(?=\()"), r"\\\1"),
    (re.compile(r"(?i)^(?:\\text ?\{ ?)?(?:all|the set of all) real(?:s| numbers)?(?: x)? ?\}?$"), r"\\mathbb{R}"),
]  # fmt: skip
_OUTER_MATH = re.compile(r"^(?:\\\[(.*)\\\]|\\\((.*)\\\))$", re.DOTALL)
_WORDS = re.compile(r"(?=.*[^\W\d_]{3})[^\\^_=+*/<>{}()\[\]|0-9]+")
_IDLE_SPACE = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """The answer without math delimiters, sizes, spacing commands and synonyms; white space is single."""
    text = _SPACES.sub(" ", text.strip()).translate(_FULL_WIDTH)
    text = _unicode_to_latex(text)
    if outer := _OUTER_MATH.match(text):
        text = outer.group(1) or outer.group(2) or ""
    text = _PRICE.sub(lambda m: f"{m.group(2)} {_CURRENCIES[m.group(1)]}", text)
    text = text.replace(r"\(", "").replace(r"\)", "").replace(r"\$", "").replace("$", "")
    if "matrix" not in text and "array" not in text and "cases" not in text:
        text = _DOUBLED_COMMAND.sub(lambda _: "\\", text)
    text = _THOUSANDS_SPACE.sub("", text)
    text = _SIZES.sub("", text)
    text = _SPACING.sub(" ", text)
    text = _FRACTIONS.sub(lambda _: r"\frac", text)
    text = _TEXT.sub(lambda _: r"\text{", text)
    for pattern, replacement in _ALIASES:
        text = pattern.sub(replacement, text)
    text = _SHORT_FRACTION.sub(_long_fraction, text)
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", text)
    text = _SPACES.sub(" ", text).strip().rstrip("。.;,?").strip()
    return "0" + text if re.match(r"\.[0-9]", text) else text


def words(text: str) -> str | None:
    r"""The answer as words, without `\text{}`, case and punctuation around; None when it is not words alone."""
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", plain(text))
    text = _SPACES.sub(" ", text).strip(" .,;:!?\"'`*")
    return text.casefold() if _WORDS.fullmatch(text) else None


def without_spaces(text: str) -> str:
    """A `plain` answer without the spaces that mean nothing: those that do not stand between letters or digits."""
    return _IDLE_SPACE.sub("", text)


def _long_fraction(match: re.Match[str]) -> str:
    a, b = [group for group in match.groups() if group is not None]
    return rf"\frac{a if a.startswith('{') else '{' + a + '}'}{b if b.startswith('{') else '{' + b + '}'}"


def _unicode_to_latex(text: str) -> str:
    if text.isascii():
        return text
    text = _ROOT_SIGN.sub(lambda m: rf"\sqrt{{{m.group(1) or m.group(2) or m.group(3)}}}", text)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = re.sub(r"[₀-₉]+", lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
    return _VULGAR.sub(_vulgar, text.translate(_SYMBOLS))


def _vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match.group()).partition("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}"
