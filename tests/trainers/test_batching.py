from dataclasses import replace

import numpy as np
import pytest

from configs.algorithm import Algorithm, Staleness
from tests.trainers.builders import scored_group
from trainers.batching import build_step, judge, oldest_version, unweighted_sequences

pytestmark = pytest.mark.unit

ALGORITHM = Algorithm(advantage="dr_grpo", staleness=Staleness(max_staleness=2))


def test_weights_cover_the_fresh_tokens_of_valid_completions_and_nothing_else():
    groups = [
        scored_group(0, [1.0, 0.0, None], versions=[[1, 2, 5], [5, 5], [5, 5, 5, 5]]),
        scored_group(1, [0.0, 0.0], versions=[[5], [0, 0]]),
    ]
    data = build_step(groups, algorithm=ALGORITHM, version=5, max_completion_tokens=8)
    # Of version 5 and 2 old at most: one token, two tokens, (masked), one token, (none).
    assert [s.loss_weights.tolist() for s in data.sequences] == [
        [0, 0, pytest.approx(1 / 4)],
        [pytest.approx(1 / 4)] * 2,
        [pytest.approx(1 / 4)],
    ]
    assert [s.advantage for s in data.sequences] == [0.5, -0.5, 0.0]
    assert data.advantages[0].tolist() == [0.5, -0.5, 0.0]
    assert (data.sampled_tokens, data.trained_tokens, data.stale_tokens) == (12, 4, 4)
    assert (data.staleness_mean, data.staleness_max) == (0.0, 0)
    assert data.trained_length_mean == pytest.approx(4 / 5)
    assert data.sequences[0].behaviour_logprobs is groups[0].group.completions[0].logprobs


def test_staleness_is_over_trained_tokens_alone():
    group = scored_group(0, [1.0, 0.0], versions=[[0, 3, 5], [4, 4, 4]])
    data = build_step([group], algorithm=ALGORITHM, version=5, max_completion_tokens=8)
    assert data.staleness_max == 2
    assert data.staleness_mean == pytest.approx((2 + 0 + 1 + 1 + 1) / 5)
    assert data.stale_tokens == 1


def test_a_step_of_stale_groups_or_of_none_has_no_signal():
    group = scored_group(0, [1.0, 0.0])
    assert not build_step([group], algorithm=ALGORITHM, version=3, max_completion_tokens=8).has_signal
    assert not build_step([], algorithm=ALGORITHM, version=3, max_completion_tokens=8).has_signal
    assert build_step([group], algorithm=ALGORITHM, version=2, max_completion_tokens=8).has_signal


def test_reference_logprobs_stay_with_their_completion_when_others_are_left_out():
    group = scored_group(0, [1.0, None, 0.0], versions=[[0], [0, 0], [0, 0, 0]])
    order = unweighted_sequences([group])
    reference = [np.full(len(s.response_ids), i, dtype=np.float32) for i, s in enumerate(order)]
    data = build_step([group], algorithm=ALGORITHM, version=0, max_completion_tokens=8, reference_logprobs=reference)
    kept = [s.reference_logprobs for s in data.sequences]
    assert [k.tolist() for k in kept if k is not None] == [[0.0], [2.0, 2.0, 2.0]]


def test_an_empty_completion_is_not_valid():
    group = scored_group(0, [1.0, 0.0], versions=[[], [4, 5]])
    assert judge(group, 2) == "invalid"
    assert oldest_version(group) == 4
    data = build_step([group], algorithm=ALGORITHM, version=5, max_completion_tokens=8)
    assert len(data.sequences) == 1


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1.0, 0.0, 0.0], "trainable"),
        ([0.1 + 0.2, 0.3, None], "trainable"),  # exact equality, not nearness
        ([0.3, 0.3, None], "no_variance"),
        ([1.0, None, None], "invalid"),
        ([None, None, None], "invalid"),
    ],
)
def test_judge(rewards: list[float | None], expected: str):
    assert judge(scored_group(0, rewards), 2) == expected


def test_a_batch_refuses_completions_whose_behaviour_logprobs_are_unknown():
    scored = scored_group(0, [1.0, 0.0])
    taught = replace(scored.group.completions[0], logprobs=np.full(3, np.nan, dtype=np.float32))
    group = replace(scored.group, completions=(taught, scored.group.completions[1]))
    with pytest.raises(ValueError, match="no behaviour logprobs"):
        build_step([replace(scored, group=group)], algorithm=Algorithm(), version=0, max_completion_tokens=8)
