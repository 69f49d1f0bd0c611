"""From sequences to what the learner computes on: balanced micro-batches, each packed into one row without padding.

Contract: masks come from lengths, never from token values. Every rank gets the same number of micro-batches; an empty
one packs into a dummy of weight zero, so that no rank leaves a collective out.

Shapes: S sequences, N packed tokens (prompts and responses), R response tokens.
"""

import heapq
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.records import Batch, FloatArray, Sequence, TopTokens


def plan_microbatches(lengths: Seq[int], tokens_per_microbatch: int, ranks: int) -> list[list[list[int]]]:
    """[rank][micro-batch] -> indices into `lengths` (tokens). Each index appears once; an empty list is a dummy.

    Longest first into the emptiest micro-batch (Graham's LPT rule), with the fewest micro-batches per rank for which
    every one stays within `tokens_per_microbatch`. The same input gives the same plan. Raises ValueError for a sequence
    that is longer than the budget.
    """
    if ranks < 1:
        raise ValueError(f"ranks is {ranks}; a step needs at least 1")
    longest = max(lengths, default=0)
    if longest > tokens_per_microbatch:
        raise ValueError(
            f"sequence {list(lengths).index(longest)} has {longest} tokens, more than tokens_per_microbatch = "
            f"{tokens_per_microbatch}; raise it to at least `policy.max_model_len`"
        )
    # Two sequences above half the budget never share a micro-batch.
    large = sum(length * 2 > tokens_per_microbatch for length in lengths)
    per_rank = max(1, -(-sum(lengths) // (tokens_per_microbatch * ranks)), -(-large // ranks))
    while (bins := _fill(lengths, tokens_per_microbatch, per_rank * ranks)) is None:
        per_rank += 1
    return _deal(bins, lengths, ranks)


def plan_batch(batch: Batch, tokens_per_microbatch: int, ranks: int) -> list[list[list[int]]]:
    """`plan_microbatches` of a batch's sequences; the two of a bradley_terry pair stay together, chosen first."""
    lengths = [sequence.num_tokens for sequence in batch.sequences]
    if batch.objective != "bradley_terry":
        return plan_microbatches(lengths, tokens_per_microbatch, ranks)
    pairs = [chosen + rejected for chosen, rejected in zip(lengths[0::2], lengths[1::2], strict=True)]
    plan = plan_microbatches(pairs, tokens_per_microbatch, ranks)
    return [[[i for pair in bin for i in (2 * pair, 2 * pair + 1)] for bin in bins] for bins in plan]


@dataclass(frozen=True, slots=True, eq=False)
class PackedTokens:
    """One micro-batch as a single row of tokens, and one entry per response token. All tensors are on the CPU."""

    input_ids_N: Tensor  # int64
    position_ids_N: Tensor  # int64, from 0 in each sequence
    cu_seqlens_S1: Tensor  # int32 [S+1], where each sequence begins, and N
    max_seqlen: int
    logit_index_R: Tensor  # int64, position in N whose logits predict the response token
    target_ids_R: Tensor  # int64, the response token
    segment_R: Tensor  # int64, number of its sequence in 0..S-1
    weights_R: Tensor  # float32, factor of the token's loss
    advantages_R: Tensor  # float32
    behaviour_logprobs_R: Tensor | None  # float32; None when no sequence has them
    reference_logprobs_R: Tensor | None  # float32; None when no sequence has them
    labels_R: Tensor | None  # float32; None when no sequence has them
    teacher_ids_RK: Tensor | None  # int64, the teacher's top tokens; None when no sequence has them
    teacher_logprobs_RB: Tensor | None  # float32, B = K + 1, of all other tokens last; None likewise


def pack(sequences: Seq[Sequence]) -> PackedTokens:
    """Pack a micro-batch; no sequences give the dummy, whose one response token has weight 0 and logprobs 0.

    Raises ValueError for a sequence without prompt or response, for arrays that are not as long as the response, and
    when only some sequences have behaviour logprobs, reference logprobs, labels or a teacher.
    """
    if not sequences:
        sequences = [_dummy()]
    for number, sequence in enumerate(sequences):
        _check(number, sequence)
    lengths_S = np.array([sequence.num_tokens for sequence in sequences])
    responses_S = np.array([len(sequence.response_ids) for sequence in sequences])
    starts_S1 = np.concatenate([[0], np.cumsum(lengths_S)])
    ids = [part for sequence in sequences for part in (sequence.prompt_ids, sequence.response_ids)]
    # The token at position p is predicted by the logits at p - 1; a response ends where its sequence does.
    logit_index: list[NDArray[np.int64]] = []
    for sequence, end in zip(sequences, accumulate(s.num_tokens for s in sequences), strict=True):
        logit_index.append(np.arange(end - len(sequence.response_ids) - 1, end - 1))
    advantages = [np.broadcast_to(s.advantage, len(s.response_ids)).astype(np.float32) for s in sequences]
    teachers = [None if s.teacher is None else s.teacher.logprobs for s in sequences]
    tops = [s.teacher.token_ids for s in sequences if s.teacher is not None]
    return PackedTokens(
        input_ids_N=_tensor(np.concatenate(ids).astype(np.int64)),
        position_ids_N=_tensor(np.concatenate([np.arange(s.num_tokens) for s in sequences])),
        cu_seqlens_S1=_tensor(starts_S1.astype(np.int32)),
        max_seqlen=int(lengths_S.max()),
        logit_index_R=_tensor(np.concatenate(logit_index)),
        target_ids_R=_tensor(np.concatenate([s.response_ids for s in sequences]).astype(np.int64)),
        segment_R=_tensor(np.repeat(np.arange(len(sequences)), responses_S)),
        weights_R=_tensor(np.concatenate([s.loss_weights for s in sequences]).astype(np.float32)),
        advantages_R=_tensor(np.concatenate(advantages)),
        behaviour_logprobs_R=_joined("behaviour_logprobs", [s.behaviour_logprobs for s in sequences]),
        reference_logprobs_R=_joined("reference_logprobs", [s.reference_logprobs for s in sequences]),
        labels_R=_joined("labels", [s.labels for s in sequences]),
        teacher_ids_RK=_tensor(np.concatenate(tops).astype(np.int64)) if tops else None,
        teacher_logprobs_RB=_joined("teacher", teachers),
    )


def _fill(lengths: Seq[int], budget: int, bins: int) -> list[list[int]] | None:
    """Longest first into the emptiest of so many bins; None when that exceeds the budget."""
    members: list[list[int]] = [[] for _ in range(bins)]
    emptiest = [(0, number) for number in range(bins)]
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        tokens, number = emptiest[0]
        if tokens + lengths[index] > budget:
            return None
        members[number].append(index)
        heapq.heapreplace(emptiest, (tokens + lengths[index], number))
    return members


def _deal(bins: list[list[int]], lengths: Seq[int], ranks: int) -> list[list[list[int]]]:
    """Deal bins of like size in rounds, the fullest of a round to the rank that has least so far."""
    loads = [sum(lengths[index] for index in members) for members in bins]
    fullest = sorted(range(len(bins)), key=lambda number: (-loads[number], number))
    plan: list[list[list[int]]] = [[] for _ in range(ranks)]
    tokens_of_rank = [0] * ranks
    for start in range(0, len(bins), ranks):
        least = sorted(range(ranks), key=lambda rank: (tokens_of_rank[rank], rank))
        for rank, number in zip(least, fullest[start : start + ranks], strict=True):
            plan[rank].append(sorted(bins[number]))
            tokens_of_rank[rank] += loads[number]
    return plan


def _dummy() -> Sequence:
    token, zero = np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.float32)
    teacher = TopTokens(token[:, None], np.array([[0.0, -np.inf]], dtype=np.float32))
    more: dict[str, Any] = {"behaviour_logprobs": zero, "reference_logprobs": zero, "labels": zero}
    return Sequence(token, token, zero, **more, teacher=teacher)


def _check(number: int, sequence: Sequence) -> None:
    response = len(sequence.response_ids)
    if not len(sequence.prompt_ids) or not response:
        raise ValueError(
            f"sequence {number} has {len(sequence.prompt_ids)} prompt and {response} response tokens; both need at "
            "least one, for a response token is predicted from the token before it"
        )
    for name in ("loss_weights", "behaviour_logprobs", "reference_logprobs", "labels"):
        array: FloatArray | None = getattr(sequence, name)
        if array is not None and len(array) != response:
            raise ValueError(f"sequence {number}: {name} has {len(array)} entries for {response} response tokens")
    if sequence.teacher is not None and len(sequence.teacher.logprobs) != response:
        given = len(sequence.teacher.logprobs)
        raise ValueError(f"sequence {number}: the teacher scored {given} positions for {response} response tokens")


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]  # torch leaves its argument untyped


def _joined(name: str, arrays: Seq[FloatArray | None]) -> Tensor | None:
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    if len(present) != len(arrays):
        raise ValueError(f"{name} is given for {len(present)} of {len(arrays)} sequences; give it for all or for none")
    return _tensor(np.concatenate(present).astype(np.float32))
