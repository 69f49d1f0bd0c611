import pytest

from data.thinking_phrases import BACKTRACK, SELF_CHECK, count_phrases

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "zh"])
def test_every_phrase_of_the_lists_is_found_as_what_it_is(language: str):
    for phrase in SELF_CHECK[language]:
        assert count_phrases(phrase.upper() if language == "en" else phrase).self_check == 1, phrase
    for phrase in BACKTRACK[language]:
        assert count_phrases(f"x, {phrase}.").backtrack == 1, phrase


@pytest.mark.parametrize("text", ["waiter", "awaits", "rechecking", "hmmmm", "the gobacker", "warten", "attendsons"])
def test_a_part_of_a_word_is_no_phrase(text: str):
    counts = count_phrases(text)
    assert (counts.self_check, counts.backtrack) == (0, 0)


def test_hyphens_and_curly_quotes_do_not_hide_a_phrase():
    assert count_phrases("Let me double-check: that’s not right.") == count_phrases(
        "Let me double check: that's not right."
    )
    counts = count_phrases("Let me double-check: that’s not right.")
    assert (counts.self_check, counts.backtrack) == (1, 1)


def test_the_longest_phrase_counts_once():
    assert count_phrases("no wait").backtrack == 1
    assert count_phrases("对不对").backtrack == 0  # and not 不对
    assert count_phrases("wait, wait").backtrack == 2


def test_words_are_counted_with_two_chinese_characters_to_a_word():
    assert count_phrases("four words of english 四个汉字").words == 6
    assert count_phrases("12+34=46").words == 3
    assert count_phrases("").words == 0
