r"""Numbers read exactly: integers, decimals, fractions, mixed numbers, percent, powers of ten, bases, counted units.

`compare` decides most pairs of answers without any algebra. Rules:
- integers, fractions and decimals are exact: 1e-7 is not 2e-7, 2.23 is not 2.232, 1.23457e6 is not 1234567;
- a decimal may stand for a number that no decimal writes (1/3, \sqrt{17}) when it has at least 6 significant
  digits and is that number rounded or cut at its last digit: 0.333333 is 1/3, 0.3333 is not;
- a percent sign on one side only may be missing on the other: 28% is 0.28 and, as an answer in percent, 28;
- a unit may be missing on one side; two different known units differ, and so do cm^2 and cm^3.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rewards.notation import plain, without_spaces, words

MIN_SIGNIFICANT_DIGITS = 6
MAX_DIGITS = 1000  # of one written number; also the largest power of ten
_INT = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DEC = rf"(?:{_INT}(?:\.[0-9]*)?|\.[0-9]+)"
_TEN = r"(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?\s*([+-]?[0-9]{1,5})\s*\}?"
_DECIMAL = re.compile(rf"({_DEC})(?:[eE]([+-]?[0-9]{{1,5}})|\s*{_TEN})?")
_POWER_OF_TEN = re.compile(r"10\s*\^\s*\{?\s*(-?[0-9]{1,4})\s*\}?")
_FRACTION = re.compile(rf"(?:({_INT})\s+|({_INT}))?\s*\\frac\s*\{{\s*(-?)\s*({_DEC})\s*\}}\s*\{{\s*({_DEC})\s*\}}")
_SLASH = re.compile(rf"(?:({_INT})\s+)?({_DEC})\s*/\s*({_DEC})")
_BASED = re.compile(r"([0-9A-Fa-f]+)_\{?([0-9]{1,2})\}?")
_REPEATING = re.compile(rf"({_INT})?\.([0-9]*)\\(?:overline|bar|dot) ?(?:\{{([0-9]+)\}}|([0-9]))")
_UNIT_WORDS = r"(?:[A-Za-z]{2,}\.?|(?<= )[mgshL])(?:[ /][A-Za-z]+\.?){0,3}"
_UNIT = re.compile(
    rf"(.*[0-9}}])\s*(?:\\text\s*\{{\s*([^{{}}]*?)\s*\}}|(?<=[0-9}} ])({_UNIT_WORDS}))(?:\^\s*\{{?\s*([23])\s*\}}?)?"
)
_LETTER_UNITS = set("mgshlLNJWVAKCF")
_NOT_UNITS = {  # words that make something else of the number before them
    "and", "or", "not", "isn't", "is", "wrong", "incorrect", "plus", "minus", "times", "than", "maybe", "perhaps",
    "probably", "except", "but", "if", "when", "where", "for", "to", "about", "approximately", "roughly", "almost",
    "pi", "tau", "sqrt", "inf", "infinity", "log", "ln", "sin", "cos", "tan", "exp", "mod", "dx", "dy", "dz", "dt",
}  # fmt: skip
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SAME_UNITS = [
    "m meter meters metre metres", "cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters",
    "km kilometer kilometers kilometre kilometres", "mi mile miles", "ft foot feet", "in inch inches", "yd yard yards",
    "g gram grams", "kg kilogram kilograms", "mg milligram milligrams", "lb lbs pound pounds", "oz ounce ounces",
    "s sec secs second seconds", "min mins minute minutes", "h hr hrs hour hours", "day days", "week weeks",
    "year years",
    "l liter liters litre litres", "ml milliliter milliliters", "degree degrees deg", "radian radians rad",
    "dollar dollars usd", "cent cents", "euro euros eur", "gbp", "yen jpy",
]  # fmt: skip
_UNIT_NAMES = {name: names.split()[0] for names in _SAME_UNITS for name in names.split()}
_POWERS = {"square": "2", "sq": "2", "sq.": "2", "cubic": "3", "cu": "3", "cu.": "3"}
_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_IN_WORDS = {word: value for value, word in enumerate(_SMALL)} | {
    ten + (f"-{_SMALL[j]}" if j else ""): 10 * i + j for i, ten in enumerate(_TENS, 2) for j in range(10)
}
_RESTATED = re.compile(r"(.*[0-9}])\s*(?:\\text ?\{ ?)?\(([A-Za-z -]{3,20})\)(?: ?\})?")  # 5 (five)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?(?:\\text ?\{ ?)?([ap])\.? ?m\.?(?: ?\})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Number:
    """An exactly read number."""

    value: Fraction  # without the percent
    # Digits after the point of a written decimal (negative for 1.2e5); None: an integer or a fraction.
    places: int | None
    digits: int = 0  # significant digits of a written decimal
    percent: bool = False
    unit: str = ""
    power: str = ""  # of the unit: "2" for cm^2


@lru_cache(maxsize=4096)
def parse_number(text: str) -> Number | None:
    """Read a `plain` answer as one number; None when it is anything else, or larger than the caps."""
    text = text.replace(r"^\circ", "").strip()
    if (number_in_words := _in_words(text)) is not None:
        return Number(Fraction(number_in_words), None)
    sign = 1
    while text[:1] in ("+", "-"):
        sign = -sign if text[0] == "-" else sign
        text = text[1:].lstrip()
    if not text or not re.match(r"[0-9.\\]", text):
        return None
    percent = text.endswith("%")
    text = text.rstrip("%").rstrip()
    number = _unsigned(text)
    unit = power = ""
    if number is None and (match := _RESTATED.fullmatch(text)):
        number = _unsigned(match.group(1).strip())
        number = number if number is not None and _in_words(match.group(2)) == sign * number.value else None
    if number is None and (match := _UNIT.fullmatch(text)):
        unit, power = _unit(match.group(2) if match.group(2) is not None else match.group(3), match.group(4) or "")
        number = None if set(unit.casefold().split()) & _NOT_UNITS else _unsigned(match.group(1).strip())
        if len(unit) == 1 and unit.isalpha() and unit not in _LETTER_UNITS:
            return None  # a symbol set upright
    if number is None:
        return None
    first, _, rest = unit.casefold().partition(" ")
    scale = _SCALES.get(first, 1)
    places = None if scale > 1 else number.places
    return Number(
        sign * scale * number.value, places, number.digits, percent, rest if scale > 1 else unit.casefold(), power
    )


def _unit(words: str, power: str) -> tuple[str, str]:
    """(`cm`, `2`) for `cm` with the exponent 2 and for `square cm`."""
    words = words.strip().rstrip(".")
    first, _, rest = words.partition(" ")
    return (rest, _POWERS[first.casefold()]) if rest and first.casefold() in _POWERS else (words, power)


def _in_words(text: str) -> int | None:
    r"""The integer of `twelve`, `\text{forty-two}`; None for anything else and from a hundred on."""
    match = re.fullmatch(r"(?:\\text ?\{ ?)?([A-Za-z]+(?:[- ][A-Za-z]+)?)(?: ?\})?", text.strip())
    return _IN_WORDS.get(match.group(1).casefold().replace(" ", "-")) if match else None


def _unsigned(text: str) -> Number | None:
    if len(text) > MAX_DIGITS:
        return None
    if match := _DECIMAL.fullmatch(text):
        return _decimal(match.group(1).replace(",", ""), int(match.group(2) or match.group(3) or 0))
    if match := _POWER_OF_TEN.fullmatch(text):
        exponent = int(match.group(1))
        return Number(Fraction(10) ** exponent, None) if abs(exponent) <= MAX_DIGITS else None
    if match := _FRACTION.fullmatch(text):
        whole = match.group(1) or match.group(2)
        return _ratio(whole, match.group(4), match.group(5), negative=match.group(3) == "-")
    if match := _SLASH.fullmatch(text):
        return _ratio(match.group(1), match.group(2), match.group(3))
    if match := _REPEATING.fullmatch(text):
        return _repeating(match)
    if match := _BASED.fullmatch(text):
        base = int(match.group(2))
        try:
            return Number(Fraction(int(match.group(1), base)), None) if 2 <= base <= 16 else None
        except ValueError:  # a digit that the base does not have
            return None
    return None


def _decimal(written: str, exponent: int) -> Number | None:
    if abs(exponent) > MAX_DIGITS:
        return None
    whole, point, part = written.partition(".")
    value = Fraction(int((whole + part) or "0")) * Fraction(10) ** (exponent - len(part))
    if not point and exponent == 0:
        return Number(value, None)
    return Number(value, len(part) - exponent, len((whole + part).lstrip("0")))


def _ratio(whole: str | None, top: str, bottom: str, negative: bool = False) -> Number | None:
    numerator, denominator = (_decimal(part.replace(",", ""), 0) for part in (top, bottom))
    if numerator is None or denominator is None or denominator.value == 0:
        return None
    value = numerator.value / denominator.value
    if whole is None:
        return Number(-value if negative else value, None)
    # 2\frac{1}{2} is a mixed number; 2\frac{3}{2} could be a product, so algebra decides.
    return Number(int(whole.replace(",", "")) + value, None) if value < 1 and not negative else None


def _repeating(match: re.Match[str]) -> Number:
    r"""0.1\overline{6} is 1/6."""
    whole, fixed = int((match.group(1) or "0").replace(",", "")), match.group(2)
    period = match.group(3) or match.group(4)
    beyond = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    return Number(whole + Fraction(int(fixed or "0"), 10 ** len(fixed)) + beyond, None)


def stands_for(decimal: Number, value: Fraction) -> bool:
    """Whether a written decimal is `value`, no integer, rounded or cut at its last digit, with enough digits."""
    if decimal.places is None or decimal.digits < MIN_SIGNIFICANT_DIGITS or value.denominator == 1:
        return False
    shifted = abs(value) * Fraction(10) ** decimal.places
    cut = shifted.numerator // shifted.denominator
    written = abs(decimal.value) * Fraction(10) ** decimal.places
    return (value < 0) == (decimal.value < 0) and written in (cut, cut + (1 if shifted - cut >= Fraction(1, 2) else 0))


def same_number(gold: Number, answer: Number) -> bool:
    """Equality under the rules at the top of this file."""
    if gold.unit and answer.unit:
        known = _UNIT_NAMES.get(gold.unit), _UNIT_NAMES.get(answer.unit)
        if None not in known and known[0] != known[1]:
            return False
        if (known[0] is not None or gold.unit == answer.unit) and gold.power != answer.power:
            return False
    factors = {(False, False): (1,), (True, True): (1,), (True, False): (100, 1), (False, True): (100, 1)}
    for factor in factors[gold.percent, answer.percent]:
        g, a = gold.value, answer.value
        if factor != 1:
            g, a = (g / factor, a) if gold.percent else (g, a / factor)
        if g == a:
            return True
        if factor == 1 and (gold.places is None) != (answer.places is None):
            return stands_for(answer, g) if gold.places is None else stands_for(gold, a)
    return False


def compare(gold: str, answer: str) -> bool | None:
    """Whether two answers agree, as texts or as exact numbers; None when that takes algebra."""
    g, a = plain(gold), plain(answer)
    if not a or not g:
        return False
    if without_spaces(g) == without_spaces(a):
        return True
    gold_words = words(g)
    if gold_words is not None and gold_words == words(a):
        return True
    gold_number, number = parse_number(g), parse_number(a)
    if gold_number is not None and number is not None:
        return same_number(gold_number, number)
    clock, answer_clock = _CLOCK.fullmatch(g), _CLOCK.fullmatch(a)
    if clock and answer_clock:
        return [part.casefold() for part in clock.groups()] == [part.casefold() for part in answer_clock.groups()]
    return None
