"""Packed attention against each sequence on its own: the function, and a whole model through transformers.

Shapes: N tokens of the pack, S sequences (S1 is S + 1), H query heads, K key-value heads, D head size.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms.packed_attention import ATTENTION_NAME, packed_causal_attention, plan_padding, register_packed_attention

pytestmark = pytest.mark.unit


def boundaries(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)])


def alone(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float) -> Tensor:
    """Softmax attention written out, one sequence and one head at a time."""
    parts = []
    for start, end in itertools.pairwise(boundaries(lengths).tolist()):
        mask = torch.full((end - start, end - start), -torch.inf, dtype=query.dtype).triu(1)
        heads = []
        for h in range(query.shape[1]):
            k = h * key.shape[1] // query.shape[1]
            scores = query[0, h, start:end] @ key[0, k, start:end].T * scale + mask
            heads.append(scores.softmax(-1) @ value[0, k, start:end])
        parts.append(torch.stack(heads, dim=1))
    return torch.cat(parts)[None]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    heads=st.sampled_from([(4, 2), (3, 1), (2, 2)]),
)
def test_output_and_gradients_equal_each_sequence_alone(lengths: list[int], heads: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    shapes = [(1, count, sum(lengths), 8) for count in (heads[0], heads[1], heads[1])]
    query, key, value = (torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes)
    got = packed_causal_attention(query, key, value, boundaries(lengths), max(lengths), scale=0.3)
    expected = alone(query, key, value, lengths, scale=0.3)
    assert got.shape == (1, sum(lengths), heads[0], 8)
    torch.testing.assert_close(got, expected)
    slope = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    inputs = (query, key, value)
    torch.testing.assert_close(
        torch.autograd.grad((got * slope).sum(), inputs), torch.autograd.grad((expected * slope).sum(), inputs)
    )


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(0, 1500), max_size=8))
def test_plan_gives_each_token_one_slot_and_bounds_the_padding(lengths: list[int]) -> None:
    plan = plan_padding(boundaries(lengths))
    assert plan.token_of_slot[plan.slot_of_token_N].tolist() == list(range(sum(lengths)))
    assert sum(plan.slots) == len(plan.token_of_slot)
    # At most a quarter of a block, but for blocks too small to matter.
    assert sum(plan.slots) <= sum(lengths) / 0.75 + 2 * 1024 * len(lengths)


def test_sequences_of_very_different_length_do_not_share_a_block() -> None:
    plan = plan_padding(boundaries([2000, 90, 100, 2000, 95] + [100] * 20))
    assert plan.blocks == ((2, 2000), (23, 100))


def test_values_in_other_sequences_do_not_leak() -> None:
    lengths = [5, 30, 9]
    query, key, value = (torch.randn(1, 2, 44, 4, dtype=torch.float64) for _ in range(3))
    before = packed_causal_attention(query, key, value, boundaries(lengths), 30, scale=1.0)
    key[:, :, :5] += 3
    value[:, :, 35:] -= 3
    after = packed_causal_attention(query, key, value, boundaries(lengths), 30, scale=1.0)
    assert torch.equal(before[:, 5:35], after[:, 5:35])
    assert not torch.equal(before[:, :5], after[:, :5])


def test_another_pack_of_the_same_size_gets_its_own_plan() -> None:
    query, key, value = (torch.randn(1, 2, 10, 4) for _ in range(3))
    for lengths in ([4, 6], [6, 4], [10]):
        got = packed_causal_attention(query, key, value, boundaries(lengths), max(lengths), scale=1.0)
        torch.testing.assert_close(got, alone(query, key, value, lengths, scale=1.0))


def test_several_rows_are_refused() -> None:
    rows = torch.zeros(2, 1, 4, 8)
    with pytest.raises(ValueError, match="got 2 rows"):
        packed_causal_attention(rows, rows, rows, boundaries([4]), 4, scale=1.0)


def tiny_qwen3(tied: bool, attention: str = ATTENTION_NAME):
    from transformers import AutoModelForCausalLM, Qwen3Config

    register_packed_attention()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=24,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        # The same token in three roles: nothing may be read from token values.
        pad_token_id=1,
        eos_token_id=1,
        bos_token_id=1,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def pack(lengths: list[int]) -> dict[str, Tensor | int | bool]:
    tokens = torch.randint(0, 32, (1, sum(lengths)), generator=torch.Generator().manual_seed(1))
    return {
        "input_ids": tokens,
        "position_ids": torch.cat([torch.arange(n) for n in lengths])[None],
        "cu_seqlens_S1": boundaries(lengths),
        "max_seqlen": max(lengths),
        "use_cache": False,
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_packed_model_equals_each_sequence_through_sdpa(tied: bool, checkpointing: bool) -> None:
    lengths = [7, 1, 12, 5]
    model = tiny_qwen3(tied)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.train()
    batch = pack(lengths)
    logits = model(**batch).logits[0]
    F.cross_entropy(logits, batch["input_ids"][0]).backward()  # type: ignore[index]

    plain = tiny_qwen3(tied, "sdpa")
    plain.load_state_dict(model.state_dict())
    rows = batch["input_ids"][0].split(lengths)  # type: ignore[index]
    expected = torch.cat([plain(input_ids=row[None], use_cache=False).logits[0] for row in rows])
    F.cross_entropy(expected, torch.cat(rows)).backward()

    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    gradients = dict(plain.named_parameters())
    assert ("lm_head.weight" in gradients) is not tied
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=0, atol=1e-5)


def test_a_model_from_a_folder_takes_the_name(tmp_path) -> None:
    from transformers import AutoModelForCausalLM

    tiny_qwen3(tied=True).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=ATTENTION_NAME)
    assert model(**pack([3, 4])).logits.shape == (1, 7, 32)


def test_what_packed_attention_cannot_do_is_refused() -> None:
    model = tiny_qwen3(tied=True)
    batch = pack([6, 4])
    with pytest.raises(ValueError, match="got no cu_seqlens_S1 and max_seqlen"):
        model(input_ids=batch["input_ids"], use_cache=False)
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 5
    with pytest.raises(ValueError, match="sliding window of 5 tokens and a sequence has 6"):
        model(**batch)
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 6
        layer.self_attn.attention_dropout = 0.1
    assert torch.isfinite(model.eval()(**batch).logits).all()
    with pytest.raises(ValueError, match="asks for dropout"):
        model.train()(**batch)
