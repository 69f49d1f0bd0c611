import pytest

from data.language import count_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("So we add the numbers.", {"en": 5}),
        ("我们把两个数相加", {"zh": 4}),
        ("Wir addieren die Zahlen und das ist nicht alles", {"de": 9}),
        ("складываем числа", {"ru": 2}),
        ("So we add. 我们把两个数相加", {"en": 3, "zh": 4}),
        ("```the code of the thing``` $a and b$ 12:", {}),
    ],
)
def test_words_are_counted_by_language(text: str, counts: dict[str, float]):
    assert {language: words for language, words in count_words(text).items() if words} == counts
