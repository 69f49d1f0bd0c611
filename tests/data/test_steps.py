"""Steps end where their separators do, on token ids: decoded pieces are looked at and nothing is encoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.steps import StepSplitter
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
TOKENIZER = build_tokenizer("characters")
WORKED = "<think>6+6+0=12;7+3+1=11;6+2+1=09</think><answer>912</answer>"


class Pieces:
    """A vocabulary of the given pieces; an empty one is a special token."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.ids = np.arange(len(pieces), dtype=np.int32)

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(self.pieces[token] for token in token_ids)


def steps(vocabulary: Pieces, *separators: str) -> list[str]:
    """The text of each step."""
    ends = StepSplitter(vocabulary, separators).ends(vocabulary.ids)
    starts = [0, *(end + 1 for end in ends[:-1])]
    return ["".join(vocabulary.pieces[start : end + 1]) for start, end in zip(starts, ends, strict=True)]


def test_the_demos_columns_are_steps_and_the_answer_is_one():
    ids = np.array([*TOKENIZER(WORKED, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id], dtype=np.int32)
    ends = StepSplitter(TOKENIZER, [";", "</think>"]).ends(ids)
    starts = [0, *(end + 1 for end in ends[:-1])]
    found = [TOKENIZER.decode(ids[start : end + 1].tolist()) for start, end in zip(starts, ends, strict=True)]
    assert found == ["<think>6+6+0=12;", "7+3+1=11;", "6+2+1=09</think>", "<answer>912</answer><eos>"]


def test_a_token_that_holds_a_separator_ends_the_step():
    assert steps(Pieces("a", ".\n\n", "b", ".\n", "\nc", "d"), "\n\n") == ["a.\n\n", "b.\n\nc", "d"]


def test_runs_of_separators_and_white_space_make_no_steps():
    assert steps(Pieces("\n", "a", "\n", "\n", " \n", "b", "\n", ""), "\n") == ["\na\n\n \n", "b\n"]


def test_the_longest_separator_counts():
    assert steps(Pieces("a", "\n", "\n", "b", "\n", "c"), "\n", "\n\n") == ["a\n\n", "b\n", "c"]


def test_without_a_separator_the_whole_is_one_step_and_without_tokens_there_is_none():
    assert steps(Pieces("a", "b"), ";") == ["ab"]
    assert StepSplitter(TOKENIZER, [";"]).ends(np.zeros(0, np.int32)).tolist() == []
    with pytest.raises(ValueError, match="none may be empty"):
        StepSplitter(TOKENIZER, [""])


@given(st.lists(st.sampled_from(["a", ";", " ;", "b; c;", "", "\n", "d;;"]), min_size=1, max_size=20))
def test_ends_rise_to_the_last_token_and_every_step_but_a_lone_one_says_something(pieces: list[str]):
    vocabulary = Pieces(*pieces)
    ends = StepSplitter(vocabulary, [";"]).ends(vocabulary.ids).tolist()
    assert ends == sorted(set(ends))
    assert ends[-1] == len(pieces) - 1
    if len(ends) > 1:
        assert all(text.replace(";", "").strip() for text in steps(vocabulary, ";"))
