"""Divergences over the teacher's top tokens and the rest: values by hand, gradients by differences, bounds."""

from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import Tensor

from algorithms.distillation import (
    chunked_divergence,
    chunked_top_tokens,
    distillation_loss,
    outcome_divergence,
)
from configs.divergence import Divergence

pytestmark = pytest.mark.unit

R, H, V = 7, 4, 11
Kind = Literal["forward_kl", "reverse_kl", "jsd"]
KINDS: tuple[Kind, ...] = ("forward_kl", "reverse_kl", "jsd")


def operands(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weight and bias in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw(R, H), draw(V, H), draw(V)


def teach(top_k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    hidden, weight, bias = operands(seed=1)
    return chunked_top_tokens(hidden, weight, top_k=top_k, temperature=temperature, chunk_tokens=3, head_bias_V=bias)


def full_divergence(kind: Kind, beta: float, temperature: float) -> Tensor:
    """[R] over the whole vocabulary, from the formulas as they stand in the papers."""
    hidden, weight, bias = operands(seed=1)
    p = ((hidden @ weight.T + bias) / temperature).softmax(1)
    hidden, weight, bias = operands()
    q = ((hidden @ weight.T + bias) / temperature).softmax(1)

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a / b).log()).sum(1)

    m = beta * p + (1 - beta) * q
    values = {"forward_kl": kl(p, q), "reverse_kl": kl(q, p), "jsd": beta * kl(p, m) + (1 - beta) * kl(q, m)}
    return values[kind] * temperature**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_with_the_whole_vocabulary_it_is_the_divergence_of_the_papers(kind: Kind, temperature: float):
    ids, logprobs = teach(top_k=99, temperature=temperature)
    assert ids.shape == (R, V)
    assert bool((logprobs[:, -1] == -torch.inf).all())
    hidden, weight, bias = operands()
    divergence = Divergence(type=kind, beta=0.3, temperature=temperature)
    got = chunked_divergence(divergence, hidden, weight, ids, logprobs, chunk_tokens=2, head_bias_V=bias)
    assert torch.allclose(got, full_divergence(kind, 0.3, temperature), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_tokens_give_a_lower_bound_that_rises_with_their_number(kind: Kind):
    hidden, weight, bias = operands()
    values = [
        chunked_divergence(Divergence(type=kind), hidden, weight, *teach(k), chunk_tokens=4, head_bias_V=bias)
        for k in (1, 3, 6, V)
    ]
    for fewer, more in pairwise(values):
        assert bool((fewer >= -1e-7).all())
        assert bool((fewer <= more + 1e-6).all())
    assert float((values[-1] - values[0]).min()) > 1e-4, "the rest hides nothing here"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top_k", [1, 3, V])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradients_are_those_of_finite_differences(kind: Kind, top_k: int, temperature: float):
    ids, logprobs = teach(top_k, temperature)
    divergence = Divergence(type=kind, beta=0.3, temperature=temperature)
    inputs = tuple(part.requires_grad_() for part in operands())

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return chunked_divergence(divergence, hidden, weight, ids, logprobs.double(), chunk_tokens=3, head_bias_V=bias)

    assert torch.autograd.gradcheck(loss, inputs)


def test_the_rest_is_the_mass_of_all_other_tokens():
    ids, logprobs = teach(top_k=3)
    assert torch.allclose(logprobs.exp().sum(1), torch.ones(R))
    hidden, weight, bias = operands(seed=1)
    full = (hidden @ weight.T + bias).log_softmax(1)
    assert torch.allclose(full.gather(1, ids).float(), logprobs[:, :-1], atol=1e-6)
    assert bool((full.argmax(1) == ids[:, 0]).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(kind: Kind):
    hidden, weight, bias = operands(seed=1)
    hidden.requires_grad_()
    loss = chunked_divergence(Divergence(type=kind), hidden, weight, *teach(3), chunk_tokens=9, head_bias_V=bias)
    loss.sum().backward()
    assert float(loss.detach().abs().max()) < 1e-6
    assert hidden.grad is not None
    assert float(hidden.grad.abs().max()) < 1e-5


def test_jensen_shannon_by_hand():
    teacher = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log()
    student = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log()
    # m = (0.375, 0.5, 0.125): 0.5 * 0.5 ln(4/3) + 0.5 * (0.25 ln(2/3) + 0.25 ln 2)
    got = outcome_divergence(Divergence(type="jsd"), teacher, student)
    assert float(got) == pytest.approx(0.5 * 0.5 * 0.28768207 + 0.5 * 0.25 * (-0.40546511 + 0.69314718))


def test_chunks_do_not_change_the_result():
    hidden, weight, bias = operands()
    whole, parts = (
        chunked_divergence(Divergence(), hidden, weight, *teach(3), chunk_tokens=n, head_bias_V=bias) for n in (99, 2)
    )
    assert torch.allclose(whole, parts)


def test_a_token_of_weight_zero_gives_no_gradient_whatever_its_loss():
    loss_R = torch.tensor([1.0, torch.nan, 3.0], requires_grad=True)
    output = distillation_loss(loss_R, torch.tensor([0.5, 0.0, 0.25]))
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(1.25)
    assert loss_R.grad is not None
    assert loss_R.grad.tolist() == [0.5, 0.0, 0.25]
    assert float(output.sums["tokens"]) == 2
