from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn import CausalAttention
from fuserec.ops.rotary import BASE
from fuserec.testing.literal import randomised

DIM, HEADS = 8, 2
LENGTHS = [[5], [1], [3, 0, 7, 1], [34]]


def built(dim: int = DIM, heads: int = HEADS) -> CausalAttention:
    return randomised(CausalAttention(dim, heads, generator=torch.Generator().manual_seed(0)))


def rows(lengths: list[int], *, dim: int = DIM) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(sum(lengths), dim, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.tensor([0, *lengths]).cumsum(0)


def turned(row: Tensor, place: int) -> Tensor:
    """RoFormer Eq. (34) with a matrix of rotations."""
    half = len(row) // 2
    matrix = torch.zeros(len(row), len(row), dtype=row.dtype)
    for p in range(half):
        angle = place * BASE ** (-p / half)
        a, b = 2 * p, 2 * p + 1
        matrix[a, a] = matrix[b, b] = math.cos(angle)
        matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix @ row


def literal(attention: CausalAttention, x: Tensor, offsets: Tensor) -> Tensor:
    """Softmax over the past, event by event and head by head."""
    dim, width = x.shape[1], x.shape[1] // attention.heads
    qkv = x @ attention.qkv.weight.T + attention.qkv.bias
    out = []
    for begin, end in pairwise(offsets.tolist()):
        for t in range(end - begin):
            heads = []
            for head in range(attention.heads):
                part = slice(head * width, (head + 1) * width)
                q = turned(qkv[begin + t, :dim][part], t)
                logits = [
                    q @ turned(qkv[begin + s, dim : 2 * dim][part], s) / math.sqrt(width)
                    for s in range(t + 1)
                ]
                shares = torch.stack(logits).softmax(0)
                heads.append(shares @ qkv[begin : begin + t + 1, 2 * dim :][:, part])
            out.append(attention.out.weight @ torch.cat(heads) + attention.out.bias)
    return torch.stack(out)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_it_equals_the_softmax_written_out_in_values_and_gradients(lengths: list[int]) -> None:
    attention, (x, offsets) = built(), rows(lengths)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    inputs = [x, *attention.parameters()]
    found = []
    for form in (attention, lambda *given: literal(attention, *given)):
        out = form(x, offsets)
        gradients = torch.autograd.grad((out * weight).sum(), inputs)
        found.append((out.detach(), *gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_histories_are_computed_as_if_each_were_alone(lengths: list[int]) -> None:
    attention, (x, offsets) = built(), rows(lengths)
    together = attention(x, offsets)
    for begin, end in pairwise(offsets.tolist()):
        alone = attention(x[begin:end], torch.tensor([0, end - begin]))
        torch.testing.assert_close(together[begin:end], alone)


def test_an_event_hears_itself_and_the_past_of_its_history_only() -> None:
    attention, (x, offsets) = built(), rows([4, 5])
    out = attention(x, offsets)
    for row in range(9):
        heard = torch.autograd.grad(out[row].sum(), x, retain_graph=True)[0].any(1)
        begin = 0 if row < 4 else 4
        assert heard.tolist() == [begin <= other <= row for other in range(9)]


def test_the_first_event_sees_the_last_of_a_history_of_any_length() -> None:
    attention, (x, offsets) = built(), rows([700])
    out = attention(x, offsets)
    (gradient,) = torch.autograd.grad(out[-1].sum(), x)
    assert gradient.any(1).all()


def test_the_order_of_the_past_matters_and_its_place_in_time_does_not() -> None:
    attention, (x, offsets) = built(), rows([4])
    swapped = attention(x[[1, 0, 2, 3]], offsets)
    assert not torch.allclose(attention(x, offsets)[-1], swapped[-1])
    # relative: keys two places later are turned by two places more, as queries are
    q, k, _ = attention.projected(x, torch.arange(4))
    later_q, later_k, _ = attention.projected(x, torch.arange(4) + 1000)
    torch.testing.assert_close(
        torch.einsum("thd,shd->ths", q, k), torch.einsum("thd,shd->ths", later_q, later_k)
    )


def test_no_history_at_all_gives_no_row() -> None:
    x, offsets = rows([])
    assert built()(x, offsets).shape == (0, DIM)
    x, offsets = rows([0, 0])
    assert built()(x, offsets).shape == (0, DIM)


@pytest.mark.parametrize(("dim", "heads"), [(6, 2), (8, 0), (8, 3), (2, 2)])
def test_heads_that_do_not_divide_the_width_into_even_parts_are_refused(dim: int, heads: int) -> None:
    with pytest.raises(
        ConfigError,
        match=f"^expected dim to be a multiple of twice the heads, got dim {dim}, heads {heads}$",
    ):
        CausalAttention(dim, heads, generator=torch.Generator())
