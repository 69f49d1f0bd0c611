import time

import pytest

from rewards.language import language_share
from rewards.sample import Sample

pytestmark = pytest.mark.unit


def share(text: str, language: str = "en") -> float:
    assert language in ("en", "zh")
    return language_share(Sample("", text, {}), language=language).value  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "text",
    [
        "So we add the two numbers and get the answer.",
        "<think>Let us see: 3 + 4 = 7.</think><answer>7</answer>",
        "The eigenvalues of Schrödinger's operator.",
        "Paris, Tokyo, Berlin",
    ],
)
def test_english_is_english(text: str):
    assert share(text) == 1.0
    assert share(text, "zh") == 0.0


def test_chinese_is_chinese_by_script():
    text = "我们把两个数相加，得到答案。"
    assert share(text, "zh") == 1.0
    assert share(text) == 0.0


def test_a_mixture_scores_its_share_of_words_two_chinese_characters_to_a_word():
    assert share("four words of english 四个汉字四个汉字") == pytest.approx(0.5)
    assert share("四个汉字四个汉字 four words of english", "zh") == pytest.approx(0.5)


@pytest.mark.parametrize(
    "neutral",
    [
        "```python\nfür = der_die_das()\nпривет\n```",
        "`привет мир`",
        r"$\text{привет} + x$",
        r"\[ \text{für} \]",
        r"\( привет \)",
        "x1 = 17, y_2 = 4.5",
        "https://пример.рф/путь",
        "```\nнезакрытый код",
    ],
)
def test_code_and_mathematics_are_neutral(neutral: str):
    assert share(f"Here it is the same. {neutral}") == 1.0
    assert share(neutral) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Also ist die Summe der beiden Zahlen nicht gerade",
        "Donc la somme des deux est dans le tableau",
        "Entonces la suma de los dos es par",
        "Значит сумма чётная",
        "つまり、合計は偶数です",
        "그래서 합은 짝수이다",
    ],
)
def test_other_languages_are_foreign_to_both(text: str):
    assert share(text) == 0.0
    assert share(text, "zh") < 0.5


@pytest.mark.parametrize("piece", ["a", "```", "$", r"\[", "der ", "привет ", "汉", "<", "1a"])
def test_hostile_length_costs_little(piece: str):
    started = time.process_time()
    share(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 2.0
