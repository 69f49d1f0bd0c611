"""The KL estimators against the divergence itself, summed over a whole distribution."""

from typing import Literal

import pytest
import torch

from algorithms.kl import k3, kl_penalty

pytestmark = pytest.mark.unit

LOGITS = torch.tensor([0.3, -1.2, 0.8, 0.0], dtype=torch.float64)
OTHER = torch.tensor([0.1, -0.9, 0.6, 0.4], dtype=torch.float64).log_softmax(0)


def divergence(logprobs: torch.Tensor) -> torch.Tensor:
    return (logprobs.exp() * (logprobs - OTHER)).sum()


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(kind: Literal["k1", "k3"]) -> None:
    logprobs = LOGITS.log_softmax(0)
    mean = (logprobs.exp() * kl_penalty(kind, logprobs, OTHER)).sum()
    torch.testing.assert_close(mean, divergence(logprobs))


@pytest.mark.parametrize("kind", ["k1", "k2"])
def test_the_mean_gradient_of_k1_and_k2_is_that_of_the_divergence(kind: Literal["k1", "k2"]) -> None:
    logits = LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(0)
    (expected,) = torch.autograd.grad(divergence(logprobs), logits, retain_graph=True)
    # Tokens are sampled: the probabilities of the mean are constants.
    sampled = (logprobs.exp().detach() * kl_penalty(kind, logprobs, OTHER)).sum()
    torch.testing.assert_close(torch.autograd.grad(sampled, logits)[0], expected)


def test_the_mean_gradient_of_k3_is_that_of_the_reverse_divergence() -> None:
    logits = LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(0)
    reverse = (OTHER.exp() * (OTHER - logprobs)).sum()
    (expected,) = torch.autograd.grad(reverse, logits, retain_graph=True)
    sampled = (logprobs.exp().detach() * kl_penalty("k3", logprobs, OTHER)).sum()
    torch.testing.assert_close(torch.autograd.grad(sampled, logits)[0], expected)


def test_k3_is_never_negative_and_zero_for_equal_policies() -> None:
    logprobs = torch.linspace(-50, 0, 101)
    assert (k3(logprobs, logprobs.flip(0)) >= 0).all()
    assert (k3(logprobs, logprobs) == 0).all()
