"""Plans keep the budget and balance; packs hang on lengths alone, whatever the token values."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.packing import pack, plan_microbatches
from data.records import Sequence

pytestmark = pytest.mark.unit

PAD_AND_EOS = 0
# Two token values: pad = eos is everywhere, at the end of responses and inside prompts, or nowhere.
TOKENS = st.lists(st.sampled_from([PAD_AND_EOS, 7]), min_size=1, max_size=9)


def sequence(prompt: list[int], response: list[int], **fields: Any) -> Sequence:
    weights = np.linspace(0.1, 1.0, len(response), dtype=np.float32)
    return Sequence(np.array(prompt, np.int32), np.array(response, np.int32), weights, **fields)


@given(
    st.lists(st.integers(1, 50), max_size=60),
    st.integers(50, 200),
    st.integers(1, 5),
)
@settings(deadline=None)
def test_a_plan_takes_each_sequence_once_within_budget_with_equal_counts(
    lengths: list[int], budget: int, ranks: int
) -> None:
    plan = plan_microbatches(lengths, budget, ranks)
    microbatches = [microbatch for rank in plan for microbatch in rank]
    assert sorted(index for microbatch in microbatches for index in microbatch) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in microbatch) <= budget for microbatch in microbatches)
    assert len(plan) == ranks
    assert len({len(rank) for rank in plan}) == 1
    assert len(plan[0]) >= 1
    assert plan == plan_microbatches(lengths, budget, ranks)


def test_ranks_get_about_the_same_tokens() -> None:
    lengths = np.random.default_rng(0).integers(10, 900, 512).tolist()
    plan = plan_microbatches(lengths, 4096, 4)
    tokens = [sum(lengths[index] for microbatch in rank for index in microbatch) for rank in plan]
    assert max(tokens) / min(tokens) < 1.01
    assert len(plan[0]) <= -(-sum(lengths) // (4096 * 4)) + 1


def test_fewer_sequences_than_ranks_leave_dummies() -> None:
    assert plan_microbatches([5], 10, 3) == [[[0]], [[]], [[]]]
    assert plan_microbatches([], 10, 2) == [[[]], [[]]]


def test_a_sequence_above_the_budget_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="sequence 1 has 11 tokens, more than tokens_per_microbatch = 10"):
        plan_microbatches([5, 11], 10, 1)


def test_many_sequences_just_above_half_the_budget_are_planned_at_once() -> None:
    plan = plan_microbatches([51] * 4000, 100, 8)
    assert {len(rank) for rank in plan} == {500}


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=6))
@settings(deadline=None)
def test_response_tokens_are_found_by_length_with_pad_equal_to_eos_and_with_no_eos(
    pairs: list[tuple[list[int], list[int]]],
) -> None:
    packed = pack([sequence(prompt, response, advantage=float(i)) for i, (prompt, response) in enumerate(pairs)])
    expected_index, expected_segment, start = [], [], 0
    for number, (prompt, response) in enumerate(pairs):
        for offset in range(len(response)):
            expected_index.append(start + len(prompt) + offset - 1)
            expected_segment.append(number)
        start += len(prompt) + len(response)
    assert packed.input_ids_N.tolist() == [token for prompt, response in pairs for token in prompt + response]
    assert packed.logit_index_R.tolist() == expected_index
    assert packed.segment_R.tolist() == expected_segment
    assert packed.advantages_R.tolist() == [float(number) for number in expected_segment]
    assert packed.target_ids_R.tolist() == [token for _, response in pairs for token in response]
    assert torch.equal(packed.input_ids_N[packed.logit_index_R + 1], packed.target_ids_R)


def test_positions_restart_and_boundaries_add_up() -> None:
    packed = pack([sequence([1, 2], [3]), sequence([4], [5, 6, 7])])
    assert packed.position_ids_N.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert packed.cu_seqlens_S1.tolist() == [0, 3, 7]
    assert packed.max_seqlen == 4
    assert packed.cu_seqlens_S1.dtype == torch.int32
    for tensor in (packed.input_ids_N, packed.position_ids_N, packed.logit_index_R, packed.target_ids_R):
        assert tensor.dtype == torch.int64
    assert packed.weights_R.dtype == packed.advantages_R.dtype == torch.float32


def test_weights_and_logprobs_keep_their_order() -> None:
    behaviour = [np.array([-1.0], np.float32), np.array([-2.0, -3.0], np.float32)]
    packed = pack(
        [sequence([1], [2], behaviour_logprobs=behaviour[0]), sequence([1], [2, 3], behaviour_logprobs=behaviour[1])]
    )
    assert packed.behaviour_logprobs_R is not None
    assert packed.behaviour_logprobs_R.tolist() == [-1.0, -2.0, -3.0]
    assert packed.reference_logprobs_R is None
    assert packed.weights_R.tolist() == pytest.approx([0.1, 0.1, 1.0])


def test_the_dummy_is_whole_and_weighs_nothing() -> None:
    packed = pack([])
    assert packed.input_ids_N.tolist() == [0, 0]
    assert packed.logit_index_R.tolist() == [0]
    assert packed.weights_R.tolist() == [0.0]
    assert packed.behaviour_logprobs_R is not None
    assert packed.reference_logprobs_R is not None


def test_packing_copies_so_that_records_are_never_written_to() -> None:
    record = sequence([1], [2], behaviour_logprobs=np.zeros(1, np.float32))
    packed = pack([record])
    packed.weights_R.zero_()
    assert packed.behaviour_logprobs_R is not None
    packed.behaviour_logprobs_R.fill_(5)
    assert record.loss_weights[0] == pytest.approx(0.1)
    assert record.behaviour_logprobs is not None
    assert record.behaviour_logprobs[0] == 0


def test_uneven_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="sequence 0 has 0 prompt and 1 response tokens"):
        pack([sequence([], [1])])
    with pytest.raises(ValueError, match="behaviour_logprobs has 2 entries for 1 response"):
        pack([sequence([1], [1], behaviour_logprobs=np.zeros(2, np.float32))])
    with pytest.raises(ValueError, match="reference_logprobs is given for 1 of 2"):
        pack([sequence([1], [1], reference_logprobs=np.zeros(1, np.float32)), sequence([1], [1])])
