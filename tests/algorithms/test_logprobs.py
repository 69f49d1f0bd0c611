"""Chunked log-probabilities against log_softmax in float64, and the cap on live logits.

Shapes: R response tokens, H hidden size, V vocabulary.
"""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms.logprobs import chunked_logprobs

pytestmark = pytest.mark.unit

R, H, V = 23, 8, 50


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(R, H), (V, H), (V,)]
    hidden, weight, bias = (torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes)
    return hidden, weight, bias, torch.randint(0, V, (R,), generator=generator)


def obvious(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float) -> Tensor:
    logits = hidden.double() @ weight.double().T + (0 if bias is None else bias.double())
    return torch.stack([(row / temperature).log_softmax(0)[t] for row, t in zip(logits, targets, strict=True)])


@pytest.mark.parametrize("chunk_tokens", [1, 7, R, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_equal_the_reference(chunk_tokens: int, temperature: float, with_bias: bool) -> None:
    hidden, weight, bias, targets = inputs()
    leaves = [t.requires_grad_() for t in ((hidden, weight, bias) if with_bias else (hidden, weight))]
    head_bias = bias if with_bias else None
    factor = torch.randn(R, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = chunked_logprobs(
        hidden, weight, targets, temperature=temperature, chunk_tokens=chunk_tokens, head_bias_V=head_bias
    )
    expected = obvious(hidden, weight, head_bias, targets, temperature)
    torch.testing.assert_close(got, expected)
    got_grads = torch.autograd.grad((got * factor).sum(), leaves)
    torch.testing.assert_close(got_grads, torch.autograd.grad((expected * factor).sum(), leaves))


@pytest.mark.parametrize("chunk_tokens", [7, 100])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_lower_precision_inputs_give_float32_logprobs_and_gradients_of_their_own_dtype(
    chunk_tokens: int, dtype: torch.dtype, tolerance: float
) -> None:
    hidden, weight, _, targets = inputs(dtype)
    leaves = [hidden.requires_grad_(), weight.requires_grad_()]
    got = chunked_logprobs(hidden, weight, targets, temperature=0.7, chunk_tokens=chunk_tokens)
    expected = obvious(hidden, weight, None, targets, 0.7)
    assert got.dtype == torch.float32
    assert float((got.double() - expected).detach().abs().max()) < tolerance
    for mine, right in zip(
        torch.autograd.grad(got.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True
    ):
        assert mine.dtype == dtype
        assert float((mine.double() - right.double()).abs().max()) < tolerance


def test_a_confident_token_keeps_its_small_gradient_in_bfloat16() -> None:
    """Softmax rounded to bfloat16 would be 1, and the gradient 0."""
    hidden = torch.tensor([[1.0]], dtype=torch.bfloat16, requires_grad=True)
    weight = torch.tensor([[8.0], [0.0]], dtype=torch.bfloat16)
    for chunk_tokens in (1, 2):
        pair = torch.cat([hidden, hidden])
        chunked_logprobs(
            pair, weight, torch.tensor([0, 0]), temperature=1.0, chunk_tokens=chunk_tokens
        ).sum().backward()
        assert hidden.grad is not None
        assert float(hidden.grad) == pytest.approx(2 * 8 / (1 + torch.tensor(8.0).exp().item()), rel=0.02)
        hidden.grad = None


def test_large_and_impossible_logits_stay_exact() -> None:
    hidden = torch.tensor([[1.0]], requires_grad=True)
    weight = torch.tensor([[1e4], [0.0], [0.0]])
    bias = torch.tensor([0.0, 0.0, -torch.inf])
    logprobs = chunked_logprobs(hidden, weight, torch.tensor([1]), temperature=1.0, chunk_tokens=4, head_bias_V=bias)
    assert logprobs.tolist() == [-1e4]
    logprobs.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[-1e4]]


class LargestResult(TorchDispatchMode):
    """Remembers the most elements that one operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_operation_makes_more_logits_than_a_chunk() -> None:
    tokens, vocabulary, chunk = 64, 1000, 5
    hidden, weight = torch.randn(tokens, 2, requires_grad=True), torch.randn(vocabulary, 2, requires_grad=True)
    with LargestResult() as largest:
        targets = torch.randint(0, vocabulary, (tokens,))
        chunked_logprobs(hidden, weight, targets, temperature=1.0, chunk_tokens=chunk).sum().backward()
    assert largest.elements == chunk * vocabulary


def test_backward_can_run_twice() -> None:
    hidden, weight, _, targets = inputs()
    total = chunked_logprobs(hidden.requires_grad_(), weight, targets, temperature=1.0, chunk_tokens=R).sum()
    first = torch.autograd.grad(total, hidden, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, hidden), first, rtol=0, atol=0)


def test_no_tokens_give_no_logprobs_and_zero_gradients() -> None:
    hidden, weight = torch.randn(0, H, requires_grad=True), torch.randn(V, H, requires_grad=True)
    logprobs = chunked_logprobs(hidden, weight, torch.zeros(0, dtype=torch.int64), temperature=1.0, chunk_tokens=4)
    assert logprobs.shape == (0,)
    logprobs.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 0).all()


def test_senseless_arguments_are_refused() -> None:
    hidden, weight, _, targets = inputs()
    with pytest.raises(ValueError, match=r"temperature 0\.0 must be above 0"):
        chunked_logprobs(hidden, weight, targets, temperature=0.0, chunk_tokens=4)
    with pytest.raises(ValueError, match="chunk_tokens 0 must be at least 1"):
        chunked_logprobs(hidden, weight, targets, temperature=1.0, chunk_tokens=0)
