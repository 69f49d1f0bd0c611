import time

import pytest

from rewards.language import language_share
from rewards.sample import Sample

pytestmark = pytest.mark.unit


def share(text: str, language: str = "en") -> float:
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


SAMPLES: dict[str, str] = {
    "en": "First we add the two numbers. The sum is even, so it can be divided by two. Done.",
    "de": "Zuerst addieren wir die beiden Zahlen. Die Summe ist gerade und lässt sich durch zwei teilen. Fertig.",
    "fr": "D'abord nous additionnons les deux nombres. La somme est paire, donc elle est divisible par deux. Fini.",
    "es": "Primero sumamos los dos números. La suma es par y por lo tanto se puede dividir entre dos. Listo.",
    "it": "Prima sommiamo i due numeri. La somma è pari e quindi si può dividere per due. Fatto.",
    "pt": "Primeiro somamos os dois números. A soma é par e portanto pode ser dividida por dois. Pronto.",
    "nl": "Eerst tellen we de twee getallen op. De som is even en kan dus door twee worden gedeeld. Klaar.",
    "ru": "Сначала сложим два числа. Сумма чётная, значит она делится на два. Готово.",
    "zh": "首先我们把两个数相加。和是偶数，所以可以被二整除。完成。",
    "ja": "まず二つの数を足します。合計は偶数なので、二で割り切れます。完了。",
    "ko": "먼저 두 수를 더한다. 합은 짝수이므로 둘로 나누어진다. 끝.",
    "ar": "أولا نجمع العددين. المجموع زوجي، إذن يقبل القسمة على اثنين. انتهى.",
    "hi": "पहले हम दोनों संख्याओं को जोड़ते हैं। योग सम है, इसलिए वह दो से विभाज्य है। समाप्त।",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_each_language_is_itself_and_no_other(language: str):
    text = f"<think>{SAMPLES[language]}</think> $x = 3$ 42 <answer>7</answer>"
    assert {other: share(text, other) for other in SAMPLES} == {other: float(other == language) for other in SAMPLES}


@pytest.mark.parametrize("language", [code for code in SAMPLES if code != "en"])
def test_a_clause_of_english_costs_its_share(language: str):
    mixed = share(f"{SAMPLES[language]} But wait, let us check that this is the right answer.", language)
    assert 0.3 < mixed < 0.9


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Спочатку додамо два числа і поділимо їх", "ru"),
        ("ابتدا دو عدد را با هم جمع می‌کنیم که زوج است چون", "ar"),
        ("Πρώτα προσθέτουμε τους αριθμούς", "ru"),
        ("ก่อนอื่นเราบวกเลข", "hi"),
    ],
)
def test_a_language_of_the_same_script_or_of_another_is_foreign(text: str, language: str):
    assert share(text, language) < 0.8
    assert share(text) == 0.0


@pytest.mark.parametrize("piece", ["पहले ", "か", "한", "a", "```", "$", r"\[", "der ", "привет ", "汉", "<", "1a"])
def test_hostile_length_costs_little(piece: str):
    started = time.process_time()
    share(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 2.0
