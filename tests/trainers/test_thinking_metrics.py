import time
from dataclasses import replace

import numpy as np
import pytest

from data.records import Completion, ScoredGroup
from data.thinking import ThoughtTags
from tests.trainers.builders import scored_group
from trainers.step_metrics import group_metrics
from trainers.thinking_metrics import distinct_share, thinking_metrics

pytestmark = pytest.mark.unit

TAGS = ThoughtTags(open_id=1, close_id=2)


def group(*completions: tuple[str, list[int]], prompt: str = "1+1:") -> ScoredGroup:
    scored = scored_group(0, [1.0] * len(completions))
    made = tuple(
        Completion(np.array(ids, np.int32), np.zeros(len(ids), np.float32), np.zeros(len(ids), np.int32), text, "stop")
        for text, ids in completions
    )
    problem = replace(scored.group.prompt, text=prompt)
    return replace(scored, group=replace(scored.group, prompt=problem, completions=made))


def test_length_of_thought_is_inside_the_tags_and_of_all_tokens_without_them():
    figures = thinking_metrics([group(("<think>a</think>b", [1, 7, 2, 8]), ("b", [8, 8, 8]))], TAGS)
    assert figures["length_mean"] == (1 + 3) / 2
    assert figures["tagged_share"] == 0.5


def test_a_thought_that_the_prompt_opened_counts_from_the_first_token():
    figures = thinking_metrics([group(("ab</think>c", [7, 8, 2, 9]), prompt="1+1: <think>\n")], TAGS)
    assert (figures["length_mean"], figures["tagged_share"]) == (2, 1)


def test_phrases_are_counted_per_completion_and_per_1000_words():
    checks, turns, plain = "wait, let me check", "wait wait wait wait", "so it is"
    figures = thinking_metrics([group((checks, [5]), (turns, [5]), (plain, [5]), (plain, [5]))], TAGS)
    assert figures["self_check_share"] == 0.25
    assert figures["backtrack_share"] == 0.5
    assert figures["self_check_per_1000_words"] == pytest.approx(1000 * 1 / 14)
    assert figures["backtrack_per_1000_words"] == pytest.approx(1000 * 5 / 14)


def test_a_completion_is_mixed_when_two_words_and_5_percent_are_of_another_language():
    def share(text: str) -> float:
        return thinking_metrics([group((text, [5]))], TAGS)["mixed_language_share"]

    assert share("So we add the numbers. 我们把它们相加") == 1
    assert share("So we add the numbers and write 数 for it.") == 0  # half a word
    assert share("so " * 100 + "我们把它们") == 0  # 2.5 words of 102
    assert share("12+34=46") == 0


def test_repetition_is_the_share_of_distinct_runs_of_four_tokens():
    assert distinct_share(np.arange(10, dtype=np.int32)) == 1
    assert distinct_share(np.full(13, 5, dtype=np.int32)) == 1 / 10
    assert distinct_share(np.array([1, 2, 3], dtype=np.int32)) == 1
    figures = thinking_metrics([group(("a", [5] * 13), ("b", list(range(13))))], TAGS)
    assert figures["distinct_4gram_share"] == pytest.approx(0.55)


def test_the_figures_are_logged_with_the_groups_and_are_missing_without_groups():
    metrics = group_metrics([group(("<think>a</think>b", [1, 7, 2, 8]))], TAGS)
    assert metrics["thinking/length_mean"] == 1
    assert thinking_metrics([], TAGS) == {}


def test_what_a_step_costs_is_bounded_by_the_texts_that_are_looked_at():
    words = "let us see whether the sum of the two numbers is right, wait, no: 12 + 34 = 46.\n" * 20
    many = [group(*[(words, [5])] * 64)] * 40
    started = time.process_time()
    thinking_metrics(many, TAGS)
    assert time.process_time() - started < 1.0  # 64 texts; all 2,560 would take more
