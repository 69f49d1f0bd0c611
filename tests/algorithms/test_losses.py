"""The policy loss against a slow reference, over layouts, and with hostile values at untrained tokens.

Shapes: R response tokens of all sequences, end to end.
"""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms.losses import LossOutput, cross_entropy_loss, merge_sums, policy_loss, reduce_metrics
from configs.algorithm import Algorithm, Cispo, Gspo, Kl, OffPolicy, PpoClip

pytestmark = pytest.mark.unit

LOSSES = [PpoClip(), Gspo(clip_low=0.05, clip_high=0.08), Cispo(clip_low=0.1, clip_high=0.15)]
CORRECTIONS = [
    OffPolicy(type="truncated", maximum=1.1),
    OffPolicy(type="icepop", minimum=0.8, maximum=1.25),
    OffPolicy(type="sequence_mask", minimum=0.9, maximum=1.15),
    OffPolicy(type="none"),
]
KLS = [Kl(), Kl(type="k1", coefficient=0.3), Kl(type="k2", coefficient=0.3), Kl(type="k3", coefficient=0.3)]
ALGORITHMS = [Algorithm(loss=loss, off_policy=off, kl=kl) for loss in LOSSES for off in CORRECTIONS for kl in KLS]


def name_of(algorithm: Algorithm) -> str:
    return f"{algorithm.loss.type}-{algorithm.off_policy.type}-{algorithm.kl.type}"


@dataclass(frozen=True)
class Pack:
    """Inputs of the policy loss, all [R]."""

    logprobs: Tensor
    behaviour: Tensor
    advantages: Tensor
    weights: Tensor
    segment: Tensor
    reference: Tensor

    def part(self, index: Tensor | slice) -> "Pack":
        return Pack(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def random_pack(lengths: list[int], seed: int = 0) -> Pack:
    """Sequences with one advantage each, ratios of about 0.5 to 2 and a fifth of the tokens untrained; float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    total = sum(lengths)
    segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths, dtype=torch.int64))
    logprobs = -normal(total).abs() - 0.1
    trained = torch.rand(total, generator=generator) > 0.2
    return Pack(
        logprobs=logprobs,
        behaviour=logprobs + 0.25 * normal(total) + 0.1 * normal(len(lengths))[segment],
        advantages=normal(len(lengths))[segment],
        weights=torch.where(trained, torch.rand(total, generator=generator, dtype=torch.float64) + 0.1, 0.0),
        segment=segment,
        reference=logprobs + 0.3 * normal(total),
    )


def loss_of(algorithm: Algorithm, pack: Pack, logprobs: Tensor) -> LossOutput:
    """The policy loss of a pack at the given logprobs."""
    return policy_loss(
        algorithm,
        logprobs_R=logprobs,
        behaviour_R=pack.behaviour,
        advantages_R=pack.advantages,
        weights_R=pack.weights,
        segment_R=pack.segment,
        reference_R=pack.reference if algorithm.kl.type != "none" else None,
    )


def gradient(algorithm: Algorithm, pack: Pack) -> tuple[LossOutput, Tensor]:
    """The loss and its gradient [R] by the logprobs."""
    logprobs = pack.logprobs.clone().requires_grad_()
    output = loss_of(algorithm, pack, logprobs)
    output.loss.backward()
    assert logprobs.grad is not None
    return output, logprobs.grad


def reference_token(algorithm: Algorithm, pack: Pack, t: int) -> tuple[float, float]:
    """Token loss and its derivative by the token's logprob, written out case by case."""
    low, high = 1 - algorithm.loss.clip_low, 1 + algorithm.loss.clip_high
    sequence = [
        i
        for i in range(len(pack.segment))
        if int(pack.segment[i]) == int(pack.segment[t]) and float(pack.weights[i]) != 0
    ]
    log_ratios = [float(pack.logprobs[i] - pack.behaviour[i]) for i in sequence]
    own = math.exp(float(pack.logprobs[t] - pack.behaviour[t]))
    mean = math.exp(sum(log_ratios) / len(log_ratios))

    off = algorithm.off_policy
    factor = {
        "none": 1.0,
        "truncated": min(own, off.maximum),
        "icepop": own if off.minimum <= own <= off.maximum else 0.0,
        "sequence_mask": min(own, off.maximum) if off.minimum <= mean <= off.maximum else 0.0,
    }[off.type]
    advantage, logprob = float(pack.advantages[t]), float(pack.logprobs[t])
    if algorithm.loss.type == "ppo_clip" and off.type != "none":
        value, slope = -advantage, -advantage  # the ratio is 1
    elif algorithm.loss.type == "cispo":
        factor = float(factor > 0)
        clipped = min(max(own, low), high)
        value, slope = -clipped * advantage * logprob, -clipped * advantage
    else:
        factor = float(factor > 0)
        ratio = own if algorithm.loss.type == "ppo_clip" else mean
        clipped = min(max(ratio, low), high)
        value = -min(ratio * advantage, clipped * advantage)
        slope = -ratio * advantage if ratio * advantage <= clipped * advantage else 0.0
    if algorithm.kl.type != "none":
        d = logprob - float(pack.reference[t])
        kl, kl_slope = {
            "k1": (d, d),
            "k2": (d * d / 2, d),
            "k3": (math.exp(-d) - 1 + d, 1 - math.exp(-d)),
        }[algorithm.kl.type]
        value, slope = value + algorithm.kl.coefficient * kl, slope + algorithm.kl.coefficient * kl_slope
    return factor * value, factor * slope


PACK = random_pack([5, 1, 7, 3, 6, 9, 8])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=name_of)
def test_loss_and_gradient_equal_the_reference(algorithm: Algorithm) -> None:
    output, got = gradient(algorithm, PACK)
    loss, slopes = 0.0, [0.0] * len(PACK.weights)
    for t, weight in enumerate(PACK.weights.tolist()):
        if weight:
            value, slope = reference_token(algorithm, PACK, t)
            loss, slopes[t] = loss + weight * value, weight * slope
    assert float(output.loss.detach()) == pytest.approx(loss, abs=1e-12)
    assert got.tolist() == pytest.approx(slopes, abs=1e-12)


def test_the_pack_meets_every_clip_and_mask() -> None:
    """Or the comparison above would miss branches."""
    for algorithm in ALGORITHMS:
        sums = gradient(algorithm, PACK)[0].sums
        if algorithm.loss.type != "ppo_clip" or algorithm.off_policy.type in ("truncated", "none"):
            assert 0 < float(sums["clipped_tokens"]) < float(sums["tokens"])
        if algorithm.off_policy.type in ("icepop", "sequence_mask"):
            assert 0 < float(sums["masked_tokens"]) < float(sums["tokens"])


def test_gspo_has_the_gradient_of_its_sequence_form() -> None:
    """-(sum of weights) min(s A, clip(s) A), with s differentiated through the mean of the log ratios."""
    algorithm = Algorithm(loss=Gspo(clip_low=0.1, clip_high=0.2), off_policy=OffPolicy(type="none"))
    pack = random_pack([4, 6, 2], seed=3)
    trained = pack.weights != 0
    weights = torch.where(trained, torch.tensor([0.3, 0.2, 0.5]).double()[pack.segment], 0.0)
    pack = replace(pack, weights=weights)
    logprobs = pack.logprobs.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for i in range(3):
        mine = (pack.segment == i) & trained
        s = (logprobs - pack.behaviour)[mine].mean().exp()
        advantage = pack.advantages[mine][0]
        total = total - weights[mine].sum() * torch.minimum(s * advantage, s.clamp(0.9, 1.2) * advantage)
    total.backward()
    output, got = gradient(algorithm, pack)
    assert logprobs.grad is not None
    torch.testing.assert_close(output.loss, total)
    torch.testing.assert_close(got, logprobs.grad)


# The sequences of each micro-batch of each rank.
LAYOUTS = [
    [[[0, 1, 2, 3, 4, 5, 6]]],
    [[[0], [1, 2, 5]], [[4, 6], [3]]],
    [[[4, 0], [1, 6]], [[2], [5]], [[3]]],
]


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a.kl.type in ("none", "k3")], ids=name_of)
@pytest.mark.parametrize("ranks", LAYOUTS)
def test_gradient_and_metrics_do_not_depend_on_the_layout(algorithm: Algorithm, ranks: list[list[list[int]]]) -> None:
    """Gradients add up over the micro-batches of all ranks."""
    whole, expected = gradient(algorithm, PACK)
    total, parts = torch.zeros_like(expected), []
    for microbatch in (sequences for rank in ranks for sequences in rank):
        index = torch.cat([(PACK.segment == i).nonzero().squeeze(1) for i in microbatch])
        part = PACK.part(index)
        # Within its micro-batch a sequence has another number.
        renumbered = torch.repeat_interleave(
            torch.arange(len(microbatch)), torch.tensor([int((PACK.segment == i).sum()) for i in microbatch])
        )
        part = replace(part, segment=renumbered)
        output, grad = gradient(algorithm, part)
        total[index] += grad
        parts.append(output.sums)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)
    merged = {key: float(value) for key, value in merge_sums(parts).items()}
    assert reduce_metrics(merged) == pytest.approx(reduce_metrics({k: float(v) for k, v in whole.sums.items()}))


HOSTILE = st.sampled_from([math.nan, math.inf, -math.inf, -1e30, 0.0])


@settings(max_examples=50, deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    poison=st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    cut=st.lists(st.booleans(), min_size=25, max_size=25),
)
def test_untrained_tokens_give_exactly_no_gradient_whatever_their_values(
    algorithm: Algorithm, lengths: list[int], poison: tuple[float, float, float, float], cut: list[bool]
) -> None:
    """Tokens of a pack lie end to end, so that neither padding nor an end token is needed to tell them apart."""
    pack = random_pack(lengths, seed=1)
    trained = torch.tensor(cut[: sum(lengths)], dtype=torch.bool)
    weights = torch.where(trained, pack.weights + 0.1, 0.0)
    clean = replace(pack, weights=weights)
    poisoned = Pack(
        torch.where(trained, pack.logprobs, poison[0]),
        torch.where(trained, pack.behaviour, poison[1]),
        torch.where(trained, pack.advantages, poison[2]),
        weights,
        pack.segment,
        torch.where(trained, pack.reference, poison[3]),
    )
    expected, expected_grad = gradient(algorithm, clean)
    output, grad = gradient(algorithm, poisoned)
    assert (grad[~trained] == 0).all()
    assert torch.equal(grad, expected_grad)
    assert {k: float(v) for k, v in output.sums.items()} == {k: float(v) for k, v in expected.sums.items()}


@pytest.mark.parametrize("lengths", [[3, 2], []])
def test_a_dummy_of_weight_zero_takes_part_in_backward_with_zero_gradient(lengths: list[int]) -> None:
    pack = random_pack(lengths)
    pack = replace(pack, weights=torch.zeros_like(pack.weights))
    for algorithm in ALGORITHMS:
        output, grad = gradient(algorithm, pack)
        assert float(output.loss.detach()) == 0
        assert (grad == 0).all()
        assert reduce_metrics({k: float(v) for k, v in output.sums.items()}) == {"train/loss": 0.0, "train/tokens": 0.0}


def test_half_precision_inputs_are_computed_in_float32() -> None:
    pack = random_pack([4, 3])
    half = replace(
        pack,
        logprobs=pack.logprobs.bfloat16(),
        behaviour=pack.behaviour.bfloat16(),
        advantages=pack.advantages.bfloat16(),
        weights=pack.weights.bfloat16(),
        reference=pack.reference.bfloat16(),
    )
    output, _ = gradient(Algorithm(kl=Kl(type="k3", coefficient=0.1)), half)
    assert output.loss.dtype == torch.float32


def test_extreme_ratios_stay_finite_and_are_counted() -> None:
    pack = random_pack([3])
    far = replace(pack, behaviour=pack.logprobs - 1000, weights=torch.ones(3))
    for algorithm in ALGORITHMS:
        output, grad = gradient(algorithm, far)
        assert torch.isfinite(output.loss)
        assert torch.isfinite(grad).all()
        assert float(output.sums["clamped_tokens"]) == 3
        assert all(math.isfinite(float(value)) for value in output.sums.values())


def test_a_value_that_is_not_a_number_at_a_trained_token_shows_in_the_loss() -> None:
    pack = random_pack([3])
    bad = replace(pack, logprobs=pack.logprobs * math.nan, weights=torch.ones(3))
    assert all(bool(gradient(algorithm, bad)[0].loss.isnan()) for algorithm in ALGORITHMS)


def test_metrics_are_what_their_names_say() -> None:
    pack = random_pack([6, 4], seed=5)
    trained = pack.weights != 0
    output = loss_of(Algorithm(kl=Kl(type="k2", coefficient=0.0)), pack, pack.logprobs)
    metrics = reduce_metrics({k: float(v) for k, v in output.sums.items()})
    ratio = (pack.logprobs - pack.behaviour).exp()[trained]
    kl = (pack.reference - pack.logprobs)[trained]
    assert metrics == pytest.approx(
        {
            "train/loss": float(output.loss),
            "train/tokens": int(trained.sum()),
            "train/mismatch_kl": float((ratio - 1 - ratio.log()).mean()),
            "train/ess": float(ratio.sum() ** 2 / (len(ratio) * ratio.square().sum())),
            "train/ratio_max": float(ratio.max()),
            "train/clip_share": float((ratio > 2).double().mean()),
            "train/correction_mask_share": 0.0,
            "train/kl_reference": float((kl.exp() - 1 - kl).mean()),
        }
    )


def test_on_policy_data_have_full_effective_sample_size() -> None:
    pack = random_pack([6, 4])
    same = replace(pack, behaviour=pack.logprobs)
    metrics = reduce_metrics({k: float(v) for k, v in gradient(Algorithm(), same)[0].sums.items()})
    assert metrics["train/ess"] == 1
    assert metrics["train/ratio_max"] == 1
    assert metrics["train/mismatch_kl"] == 0


def test_a_penalty_without_reference_logprobs_is_refused() -> None:
    pack = random_pack([2])
    with pytest.raises(ValueError, match="no reference logprobs"):
        policy_loss(
            Algorithm(kl=Kl(type="k3", coefficient=0.1)),
            logprobs_R=pack.logprobs,
            behaviour_R=pack.behaviour,
            advantages_R=pack.advantages,
            weights_R=pack.weights,
            segment_R=pack.segment,
        )


def test_cross_entropy_is_the_weighted_sum_and_ignores_untrained_tokens() -> None:
    logprobs = torch.tensor([-1.0, -math.inf, -3.0, math.nan], requires_grad=True)
    output = cross_entropy_loss(logprobs, torch.tensor([0.5, 0.0, 0.25, 0.0]))
    output.loss.backward()
    assert float(output.loss.detach()) == 1.25
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [-0.5, 0.0, -0.25, 0.0]
    assert reduce_metrics({k: float(v) for k, v in output.sums.items()}) == {"train/loss": 1.25, "train/tokens": 2.0}
