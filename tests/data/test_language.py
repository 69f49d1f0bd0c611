import pytest

from data.language import count_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("So we add the numbers.", (5, 0, 0, 0)),
        ("我们把两个数相加", (0, 4, 0, 0)),
        ("Wir addieren die Zahlen und das ist nicht alles", (0, 0, 9, 0)),
        ("складываем числа", (0, 0, 0, 2)),
        ("So we add. 我们把两个数相加", (3, 4, 0, 0)),
        ("```the code of the thing``` $a and b$ 12:", (0, 0, 0, 0)),
    ],
)
def test_words_are_counted_by_language(text: str, counts: tuple[float, ...]):
    words = count_words(text)
    assert (words.english, words.chinese, words.foreign, words.other) == counts
    assert words.total == sum(counts)
    assert words.beside_the_main == sum(counts) - max(counts)
