from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.chat import render_response
from data.journey import Journey, TreeNode, journeys_of, spell_walk, tree_walk
from data.records import Completion, FinishReason, Group, Prompt, ScoredGroup, Verdict
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
TOKENIZER = build_tokenizer("countdown")
TAGS = ThoughtTags.of(TOKENIZER)
TURN = np.array(TOKENIZER("!", add_special_tokens=False)["input_ids"], dtype=np.int32)
WRONG = "<think>8+2=10,+1=11</think><answer>8+2+1</answer>"
RIGHT = "<think>8+2=10;8-2=6,-1=5</think><answer>8-2-1</answer>"


def ids(text: str) -> list[int]:
    return render_response(TOKENIZER, text).tolist()


def completion(text: str, finish: FinishReason = "stop") -> Completion:
    tokens = np.array(ids(text), dtype=np.int32)
    return Completion(tokens, np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.int32), text, finish)


def group(*samples: tuple[str, bool], prompt: str = "5=8,2,1:") -> ScoredGroup:
    problem = Prompt("countdown:given:5=8,2,1", np.array(ids(prompt)[:-1], dtype=np.int32), prompt, {})
    made = tuple(completion(text) for text, _ in samples)
    verdicts = tuple(Verdict("ok", float(right), right) for _, right in samples)
    return ScoredGroup(Group(0, problem, made, "w", 0.1), verdicts, 0.0, 0.0)


def found(scored: ScoredGroup, *, pairs: int = 8, max_tokens: int = 192, tags: ThoughtTags = TAGS) -> list[Journey]:
    return journeys_of(scored, tags, TURN, pairs=pairs, max_tokens=max_tokens)


def text(tokens: np.ndarray) -> str:
    return str(TOKENIZER.decode(tokens.tolist()))


def test_a_journey_goes_wrong_turns_back_and_ends_as_the_right_sample_does():
    (journey,) = found(group((WRONG, False), (RIGHT, True)))
    expected = "<think>8+2=10,+1=11!8+2=10;8-2=6,-1=5</think><answer>8-2-1</answer><eos>"
    assert text(journey.journey) == expected
    assert text(journey.shortcut) == RIGHT + "<eos>"
    assert journey.journey.tolist() == ids(expected.removesuffix("<eos>"))  # one eos, one pair of tags
    assert journey.wrong_tokens == len(ids("8+2=10,+1=11")) - 1
    assert journey.journey.dtype == np.int32


def test_tokens_are_kept_as_they_were_sampled():
    wrong = completion(WRONG)
    odd = np.array([*wrong.token_ids[:1], *ids("1")[:-1], *ids("4")[:-1], *wrong.token_ids[1:]], dtype=np.int32)
    sampled = replace(
        wrong, token_ids=odd, text=WRONG.replace("<think>", "<think>14")
    )  # `14` is one token when encoded
    scored = group((WRONG, False), (RIGHT, True))
    scored = replace(scored, group=replace(scored.group, completions=(sampled, scored.group.completions[1])))
    (journey,) = found(scored)
    assert journey.journey[1:3].tolist() == [ids("1")[0], ids("4")[0]]


def test_each_sample_is_used_once_and_repeated_samples_are_one():
    other_wrong = WRONG.replace("11", "12")
    other_right = RIGHT.replace(";", ",+1=11;")
    samples = [(WRONG, False), (WRONG, False), (RIGHT, True), (other_wrong, False), (other_right, True), (RIGHT, True)]
    journeys = found(group(*samples))
    assert len(journeys) == 2
    assert "12!" in text(journeys[1].journey)
    assert ",+1=11;" in text(journeys[1].shortcut)
    assert len(found(group(*samples), pairs=1)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "<think>8+2=10,+1=11",  # never closed
        "<think></think><answer>8+2+1</answer>",  # nothing thought
        "8+2=10</think><answer>8+2+1</answer>",  # never opened
        "<think>8</think><think>2</think><answer>1</answer>",
        "8+2+1",
    ],
)
def test_a_sample_without_exactly_one_whole_thought_makes_no_journey(wrong: str):
    assert found(group((wrong, False), (RIGHT, True))) == []
    assert found(group((WRONG, False), (wrong, True))) == []


def test_cut_unscored_and_overlong_samples_make_no_journey():
    scored = group((WRONG, False), (RIGHT, True))
    cut = replace(scored.group.completions[0], finish_reason="length")
    assert found(replace(scored, group=replace(scored.group, completions=(cut, scored.group.completions[1])))) == []
    failed = (Verdict("infra_error", None, False), scored.verdicts[1])
    assert found(replace(scored, verdicts=failed)) == []
    (journey,) = found(scored)
    size = len(scored.group.prompt.token_ids) + len(journey.journey)
    assert len(found(scored, max_tokens=size)) == 1
    assert found(scored, max_tokens=size - 1) == []


def test_without_tag_tokens_there_is_no_exact_end_and_no_journey():
    assert found(group((WRONG, False), (RIGHT, True)), tags=UNKNOWN_TAGS) == []


def test_a_thought_that_the_prompt_opened_goes_on_from_there():
    wrong, right = WRONG.removeprefix("<think>"), RIGHT.removeprefix("<think>")
    (journey,) = found(group((wrong, False), (right, True), prompt="5=8,2,1:<think>"))
    assert text(journey.journey) == "8+2=10,+1=11!8+2=10;8-2=6,-1=5</think><answer>8-2-1</answer><eos>"


# ---- trees ----

#      0 a            1 b
#    2 aa  3 ab     4 ba
#   wrong  5 aba    wrong
#           right
TREE = [
    TreeNode(None, "a", 0.4),
    TreeNode(None, "b", 0.6),
    TreeNode(0, "aa", 0.0),
    TreeNode(0, "ab", 0.5),
    TreeNode(1, "ba", 0.0),
    TreeNode(3, "aba", 1.0),
]


def told(walk: Sequence[int | None] | None) -> str:
    assert walk is not None
    return " ".join("!" if step is None else TREE[step].text for step in walk)


def test_a_tree_is_walked_to_its_right_leaf_with_a_detour_at_each_fork():
    assert told(tree_walk(TREE)) == "b ba ! a aa ! ab aba"


def test_the_detour_is_the_wrong_sibling_that_looked_best():
    nodes = [TreeNode(None, "r", 1.0), TreeNode(None, "x", 0.2), TreeNode(None, "y", 0.3), TreeNode(None, "z", 0.1)]
    assert tree_walk(nodes) == [2, None, 0]


def test_a_sibling_with_a_right_leaf_is_no_detour_and_of_right_leaves_the_nearest_is_gone_to():
    nodes = [TreeNode(None, "long", 0.9), TreeNode(0, "end", 1.0), TreeNode(None, "short", 1.0)]
    assert tree_walk(nodes) == [2]


def test_a_tree_without_a_right_leaf_has_no_walk():
    assert tree_walk([TreeNode(None, "a", 0.9)]) is None
    assert tree_walk([]) is None
    assert tree_walk([TreeNode(None, "a", 0.9)], right=0.9) == [0]
    assert tree_walk([TreeNode(None, "a", 1.0), TreeNode(0, "b", 0.0)]) is None  # an inner node is no solution


@pytest.mark.parametrize("parent", [0, 1, -1])
def test_a_node_that_does_not_come_after_its_parent_is_refused(parent: int):
    with pytest.raises(ValueError, match="earlier node"):
        tree_walk([TreeNode(parent, "a", 1.0)])


def test_a_walk_is_spelled_in_the_tokens_of_its_steps():
    steps = [np.array(ids(node.text.replace("a", "1").replace("b", "2"))[:-1], dtype=np.int32) for node in TREE]
    walk = tree_walk(TREE)
    assert walk is not None
    assert text(spell_walk(walk, steps, TURN)) == "221!111!12121"
    assert spell_walk([], steps, TURN).shape == (0,)
