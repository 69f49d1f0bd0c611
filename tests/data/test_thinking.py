import numpy as np
import pytest

from data.records import Completion
from data.thinking import UNKNOWN_TAGS, ThoughtTags, thought_span
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit

TOKENIZER = build_tokenizer("characters")
TAGS = ThoughtTags.of(TOKENIZER)


def completion(text: str) -> Completion:
    ids = np.array(TOKENIZER(text, add_special_tokens=False)["input_ids"], dtype=np.int32)
    return Completion(ids, np.zeros(len(ids), np.float32), np.zeros(len(ids), np.int32), text, "stop")


def test_the_tags_of_a_vocabulary_that_has_them_are_single_tokens():
    vocabulary = TOKENIZER.get_vocab()
    assert ThoughtTags(vocabulary["<think>"], vocabulary["</think>"]) == TAGS


def test_a_tag_that_a_tokenizer_cuts_up_or_refuses_is_unknown():
    def letters(text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}

    def refusing(text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        raise Exception("no such symbol")

    assert ThoughtTags.of(letters) == ThoughtTags.of(refusing) == UNKNOWN_TAGS  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "opened", "span"),
    [
        ("<think>1+2</think><answer>3</answer>", False, (1, 4)),
        ("ab<think>1+2</think>", False, (3, 6)),
        ("<think>1+2", False, (1, 4)),  # cut inside the thought
        ("1+2</think>3", False, (0, 3)),  # the template opened it
        ("1+2", True, (0, 3)),
        ("1+2</think>3", True, (0, 3)),
        ("1</think><think>2</think>", False, (0, 1)),
        ("<think></think>3", False, (1, 1)),
        ("3", False, None),
        ("", False, None),
        ("", True, (0, 0)),
    ],
)
def test_the_thought_is_between_the_tags(text: str, opened: bool, span: tuple[int, int] | None):
    assert thought_span(completion(text), TAGS, opened=opened) == span


def test_without_tag_tokens_the_thought_has_its_share_of_the_characters():
    text = "<think>" + 36 * "a" + "</think>" + 9 * "b"
    ids = np.arange(30, dtype=np.int32)  # half as many tokens as characters
    whole = Completion(ids, np.zeros(30, np.float32), np.zeros(30, np.int32), text, "stop")
    assert thought_span(whole, UNKNOWN_TAGS) == (4, 22)
    assert thought_span(whole, ThoughtTags(900, 901)) == (4, 22)  # the policy spelled the tags out
