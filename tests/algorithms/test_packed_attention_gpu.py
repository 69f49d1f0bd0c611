"""The flash kernel's path against the padded one."""

import itertools

import pytest
import torch

from algorithms.packed_attention import packed_causal_attention

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("heads", [(4, 2), (8, 8)])
def test_flash_equals_the_padded_path(dtype: torch.dtype, heads: tuple[int, int]) -> None:
    lengths = [70, 1, 300, 33]
    bounds = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    exact = [
        torch.randn(1, count, sum(lengths), 64, device="cuda", generator=generator, requires_grad=True)
        for count in (heads[0], heads[1], heads[1])
    ]
    rounded = [tensor.detach().to(dtype).requires_grad_() for tensor in exact]
    query, key, value = rounded
    got = packed_causal_attention(query, key, value, bounds, max(lengths), scale=0.125)
    query, key, value = exact
    expected = packed_causal_attention(query, key, value, bounds, max(lengths), scale=0.125)
    torch.testing.assert_close(got.float(), expected, rtol=0, atol=0.02)
    got_grads = torch.autograd.grad(got.float().square().sum(), rounded)
    for mine, right in zip(got_grads, torch.autograd.grad(expected.square().sum(), exact), strict=True):
        torch.testing.assert_close(mine.float(), right, rtol=0.05, atol=0.1)
