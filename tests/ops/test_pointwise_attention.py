from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops import pointwise_attention as module
from fuserec.ops.pointwise_attention import pointwise_attention, pointwise_attention_reference

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short histories fill several tiles, as long ones do."""
    monkeypatch.setattr(module, "QUERIES", 4)
    monkeypatch.setattr(module, "TILE", 64)


def offsets_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def inputs(
    lengths: list[int], *, heads: int = 2, dim: int = 3, more: int = 2, dtype: torch.dtype = torch.float64
) -> Inputs:
    rng = torch.Generator().manual_seed(sum(lengths))
    rows = (sum(lengths), heads, dim)
    q, k, v = (torch.randn(rows, generator=rng, dtype=dtype).requires_grad_() for _ in range(3))
    bias = torch.randn(heads, max([*lengths, 0]) + more, generator=rng, dtype=dtype).requires_grad_()
    return q, k, v, bias


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def test_two_events_by_hand() -> None:
    q = torch.tensor([[[1.0]], [[2.0]]])
    k = torch.tensor([[[3.0]], [[-1.0]]])
    v = torch.tensor([[[10.0]], [[100.0]]])
    bias = torch.tensor([[0.5, -4.0]])
    first = silu(1 * 3 + 0.5) * 10
    second = (silu(2 * 3 - 4.0) * 10 + silu(2 * -1 + 0.5) * 100) / 2
    for form in (pointwise_attention, pointwise_attention_reference):
        found = form(q, k, v, bias, offsets=offsets_of([2]))
        torch.testing.assert_close(found.flatten(), torch.tensor([first, second]))


@pytest.mark.usefixtures("small_tiles")
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 23), max_size=7), st.integers(1, 3), st.integers(0, 2))
def test_values_and_gradients_equal_the_reference(lengths: list[int], heads: int, more: int) -> None:
    given_inputs = inputs(lengths, heads=heads, more=more)
    offsets = offsets_of(lengths)
    fast, literal = (
        form(*given_inputs, offsets=offsets) for form in (pointwise_attention, pointwise_attention_reference)
    )
    torch.testing.assert_close(fast, literal)
    direction = torch.randn(fast.shape, generator=torch.Generator().manual_seed(1), dtype=fast.dtype)
    ours, theirs = (
        torch.autograd.grad(out, given_inputs, direction, materialize_grads=True, allow_unused=True)
        for out in (fast, literal)
    )
    for name, one, other in zip(("q", "k", "v", "bias"), ours, theirs, strict=True):
        torch.testing.assert_close(one, other, msg=f"the gradient by {name} differs")


def test_histories_longer_than_a_tile_equal_the_reference_in_float32() -> None:
    lengths = [module.QUERIES * 2 + 3, 1, module.QUERIES, module.QUERIES + 1]
    given_inputs = inputs(lengths, dim=4, dtype=torch.float32)
    fast, literal = (
        form(*given_inputs, offsets=offsets_of(lengths))
        for form in (pointwise_attention, pointwise_attention_reference)
    )
    torch.testing.assert_close(fast, literal, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("small_tiles")
def test_the_gradient_is_that_of_the_values() -> None:
    offsets = offsets_of([5, 0, 1])

    def out(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return pointwise_attention(q, k, v, bias, offsets=offsets)

    assert torch.autograd.gradcheck(out, inputs([5, 0, 1], dim=2))


@pytest.mark.usefixtures("small_tiles")
def test_an_output_hears_its_own_history_up_to_itself_and_nothing_else() -> None:
    lengths = [7, 10]
    q, k, v, bias = inputs(lengths)
    out = pointwise_attention(q, k, v, bias, offsets=offsets_of(lengths))
    for row in range(sum(lengths)):
        heard = [torch.autograd.grad(out[row].sum(), x, retain_graph=True)[0] for x in (q, k, v)]
        begin = 0 if row < lengths[0] else lengths[0]
        seen = [begin <= other <= row for other in range(sum(lengths))]
        assert heard[0].any(2).any(1).tolist() == [other == row for other in range(sum(lengths))]
        assert heard[1].any(2).any(1).tolist() == seen
        assert heard[2].any(2).any(1).tolist() == seen


@pytest.mark.usefixtures("small_tiles")
def test_packed_histories_are_computed_as_if_each_were_alone() -> None:
    lengths = [5, 18, 0, 17, 2]
    q, k, v, bias = inputs(lengths)
    offsets = offsets_of(lengths)
    together = pointwise_attention(q, k, v, bias, offsets=offsets)
    for begin, end in pairwise(offsets.tolist()):
        part = slice(begin, end)
        alone = pointwise_attention(q[part], k[part], v[part], bias, offsets=torch.tensor([0, end - begin]))
        torch.testing.assert_close(together[part], alone)


def test_a_distance_that_no_history_has_gets_no_gradient() -> None:
    q, k, v, bias = inputs([4, 2], more=3)
    pointwise_attention(q, k, v, bias, offsets=offsets_of([4, 2])).sum().backward()
    assert bias.grad is not None
    assert bias.grad.any(0).tolist() == [True] * 4 + [False] * 3


def test_large_products_stay_numbers() -> None:
    q, k, v, bias = inputs([40], dtype=torch.float32)
    out = pointwise_attention(q * 1e6, k * 1e6, v, bias, offsets=offsets_of([40]))
    out.sum().backward()
    assert bool(out.isfinite().all())
    assert all(bool(x.grad.isfinite().all()) for x in (q, k, v, bias) if x.grad is not None)


def test_what_is_kept_for_backward_is_linear_in_the_length() -> None:
    kept: dict[int, int] = {}
    for length in (200, 400):
        given_inputs = inputs([length], dtype=torch.float32)

        def pack(x: Tensor, length: int = length) -> Tensor:
            kept[length] = kept.get(length, 0) + x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            pointwise_attention(*given_inputs, offsets=offsets_of([length]))
    assert kept[400] <= 2 * kept[200]


def test_a_bias_that_is_too_short_is_refused() -> None:
    q, k, v, bias = inputs([3, 5], more=0)
    for form in (pointwise_attention, pointwise_attention_reference):
        with pytest.raises(ConfigError, match="a bias for each distance in a history of 5 events, got 4"):
            form(q, k, v, bias[:, :4], offsets=offsets_of([3, 5]))
