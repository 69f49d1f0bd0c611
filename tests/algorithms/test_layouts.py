"""A step of a real model: packing, attention, logprobs and loss together, in one micro-batch and in many.

Shapes: R response tokens of a micro-batch.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from algorithms.aggregation import loss_weights
from algorithms.logprobs import chunked_logprobs
from algorithms.losses import cross_entropy_loss, merge_sums, policy_loss, reduce_metrics
from algorithms.packed_attention import ATTENTION_NAME, register_packed_attention
from configs.algorithm import Algorithm, Kl, OffPolicy
from data.packing import pack, plan_microbatches
from data.records import Sequence

pytestmark = pytest.mark.unit

EOS = 1  # also the model's pad and bos
ALGORITHM = Algorithm(
    off_policy=OffPolicy(type="sequence_mask", minimum=0.3, maximum=3.0), kl=Kl(type="k3", coefficient=0.1)
)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM, Qwen3Config

    register_packed_attention()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=24,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=24,
        tie_word_embeddings=True,
        initializer_range=0.3,
        pad_token_id=EOS,
        eos_token_id=EOS,
        bos_token_id=EOS,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION_NAME).double()


def batch(ending: str, seed: int = 0) -> list[Sequence]:
    """Nine sequences of 3 to 20 tokens. `ending`: responses end with eos, never hold it, or consist of it."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 16, size=9)
    masks = [rng.random(length) > 0.2 for length in lengths]
    masks[3][:] = False
    weights = loss_weights("sequence_mean", masks, max_completion_tokens=16)
    sequences: list[Sequence] = []
    for length, weights_T in zip(lengths, weights, strict=True):
        response = rng.integers(2, 24, size=length).astype(np.int32)
        if ending == "eos":
            response[-1] = EOS
        elif ending == "only_eos":
            response[:] = EOS
        sequences.append(
            Sequence(
                prompt_ids=rng.integers(0, 24, size=rng.integers(2, 5)).astype(np.int32),
                response_ids=response,
                loss_weights=weights_T,
                advantage=float(rng.normal()),
                behaviour_logprobs=(-3 + 0.5 * rng.normal(size=length)).astype(np.float32),
                reference_logprobs=(-3 + 0.5 * rng.normal(size=length)).astype(np.float32),
            )
        )
    return sequences


def step(model, microbatches: list[list[Sequence]], *, objective: str, chunk_tokens: int):
    """Gradients by name and the metrics, summed over micro-batches."""
    model.zero_grad()
    sums: list[dict[str, Tensor]] = []
    for members in microbatches:
        tokens = pack(members)
        hidden = model.model(
            input_ids=tokens.input_ids_N[None],
            position_ids=tokens.position_ids_N[None],
            cu_seqlens_S1=tokens.cu_seqlens_S1,
            max_seqlen=tokens.max_seqlen,
            use_cache=False,
        ).last_hidden_state[0]
        logprobs_R = chunked_logprobs(
            hidden[tokens.logit_index_R],
            model.lm_head.weight,
            tokens.target_ids_R,
            temperature=0.8,
            chunk_tokens=chunk_tokens,
        )
        if objective == "cross_entropy":
            output = cross_entropy_loss(logprobs_R, tokens.weights_R)
        else:
            assert tokens.behaviour_logprobs_R is not None
            output = policy_loss(
                ALGORITHM,
                logprobs_R=logprobs_R,
                behaviour_R=tokens.behaviour_logprobs_R,
                advantages_R=tokens.advantages_R,
                weights_R=tokens.weights_R,
                segment_R=tokens.segment_R,
                reference_R=tokens.reference_logprobs_R,
            )
        output.loss.backward()
        sums.append(output.sums)
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return gradients, reduce_metrics({key: float(value) for key, value in merge_sums(sums).items()})


@pytest.mark.parametrize("ending", ["eos", "none", "only_eos"])
@pytest.mark.parametrize("objective", ["policy", "cross_entropy"])
def test_one_microbatch_equals_many_on_several_ranks(model, ending: str, objective: str) -> None:
    sequences = batch(ending)
    expected, metrics = step(model, [sequences], objective=objective, chunk_tokens=1000)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
    # Four ranks do not divide nine sequences of at most 20 tokens evenly: some micro-batches may be dummies.
    for ranks, budget in [(1, 40), (2, 30), (4, 20)]:
        plan = plan_microbatches([s.num_tokens for s in sequences], budget, ranks)
        microbatches = [[sequences[i] for i in members] for rank in plan for members in rank]
        gradients, got = step(model, [*microbatches, []], objective=objective, chunk_tokens=7)
        # Dummies train no token, and statistics are sums: both come out the same.
        assert got == pytest.approx(metrics, rel=1e-9)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("ending", ["eos", "none", "only_eos"])
def test_a_token_trains_by_its_weight_and_not_by_what_it_is(model, ending: str) -> None:
    tokens = pack(batch(ending))
    assert tokens.behaviour_logprobs_R is not None
    logprobs_R = torch.full((len(tokens.target_ids_R),), -3.0, requires_grad=True)
    policy_loss(
        Algorithm(),
        logprobs_R=logprobs_R,
        behaviour_R=tokens.behaviour_logprobs_R,
        advantages_R=tokens.advantages_R,
        weights_R=tokens.weights_R,
        segment_R=tokens.segment_R,
    ).loss.backward()
    assert logprobs_R.grad is not None
    assert torch.equal(logprobs_R.grad != 0, tokens.weights_R != 0)
    assert bool(((tokens.target_ids_R == EOS) & (tokens.weights_R != 0)).any()) is (ending != "none")
