from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.nn import (
    BlockEvolution,
    Dropout,
    FeedForward,
    GatedFeedForward,
    SparseAlignmentBlock,
    SparseAttention,
    normal_linear,
)
from fuserec.ops.blocks import Blocks
from fuserec.ops.borders import content_borders
from fuserec.testing.literal import assert_same_output

DIM, HEADS, BLOCK = 8, 2, 4
OFFSETS = torch.tensor([0, 13, 13, 14, 30])


def layer(
    *, evolution: bool = True, gated: bool = False, gates: bool = False, rate: float = 0.0, **switches: Any
) -> SparseAlignmentBlock:
    """With weights so large that products differ."""
    draws = torch.Generator().manual_seed(0)
    pattern: dict[str, Any] = {"window": 5, "block": BLOCK, "selected": 2, "group": 2, **switches}
    feed_forward = GatedFeedForward if gated else FeedForward
    block = SparseAlignmentBlock(
        SparseAttention(DIM, HEADS, **pattern, generator=draws),
        feed_forward(DIM, 3 * DIM, generator=draws),
        dropout=Dropout(rate, generator=draws),
        evolution=BlockEvolution(DIM, HEADS, generator=draws) if evolution else None,
        gates=(normal_linear(DIM, DIM, generator=draws), normal_linear(DIM, DIM, generator=draws))
        if gates
        else None,
    )
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return block.double()


def events(count: int = 30, seed: int = 1) -> Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bordered(x: Tensor, offsets: Tensor) -> Blocks:
    begins = content_borders(x, offsets, threshold=-0.3, block=BLOCK)
    return Blocks.at(begins, offsets, block=BLOCK)


@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
@pytest.mark.parametrize("evolution", [False, True])
@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_both_parts_are_added_to_what_they_read_normed(
    rate: float, gates: bool, evolution: bool, own_borders: bool
) -> None:
    block, x = layer(evolution=evolution, gates=gates, rate=rate), events().requires_grad_()
    drop = copy.deepcopy(block.dropout)
    blocks = bordered(x, OFFSETS) if own_borders else Blocks.every(OFFSETS, block=BLOCK)

    def norm(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        spread = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return spread * weight + bias

    def opened(gate: torch.nn.Linear | None, y: Tensor) -> Tensor:
        return torch.ones_like(y) if gate is None else 1 / (1 + (-(y @ gate.weight.T) - gate.bias).exp())

    normed = norm(x, block.attention_norm.weight, block.attention_norm.bias)
    heard = block.attention(normed, OFFSETS, blocks)
    if block.evolution is not None:
        heard = heard + block.evolution(normed, blocks)
    expected = x + opened(block.attention_gate, x) * drop(heard)
    second = norm(expected, block.feed_forward_norm.weight, block.feed_forward_norm.bias)
    expected = expected + opened(block.feed_forward_gate, expected) * drop(block.feed_forward(second))
    found = block(x, OFFSETS, blocks if own_borders else None)
    assert_same_output(found, expected, {"x": x, **dict(block.named_parameters())})


@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("evolution", [False, True])
@pytest.mark.parametrize("gates", [False, True])
def test_changing_everything_from_an_event_on_changes_nothing_before_it(
    gates: bool, evolution: bool, gated: bool, own_borders: bool
) -> None:
    block, x, other = layer(evolution=evolution, gated=gated, gates=gates), events(), events(seed=3)
    cuts = [30, *range(6, 26)]  # the first changes nothing
    changed = torch.cat([torch.cat((x[:t], other[t:])) for t in cuts])
    offsets = torch.arange(len(cuts) + 1) * 30
    out = block(changed, offsets, bordered(changed, offsets) if own_borders else None)
    before, *after = out.split(30)
    for t, rows in zip(cuts[1:], after, strict=True):
        torch.testing.assert_close(rows[:t], before[:t], rtol=0, atol=1e-12)
        assert not torch.allclose(rows[t:], before[t:])


@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
def test_other_histories_change_nothing(own_borders: bool) -> None:
    block, x = layer(), events()
    packed = block(x, OFFSETS, bordered(x, OFFSETS) if own_borders else None)
    for begin, end in itertools.pairwise(OFFSETS.tolist()):
        whole, part = torch.tensor([0, end - begin]), x[begin:end]
        alone = block(part, whole, bordered(part, whole) if own_borders else None)
        torch.testing.assert_close(packed[begin:end], alone)


@pytest.mark.parametrize("gated", [False, True])
def test_every_parameter_gets_a_gradient(gated: bool) -> None:
    block, x = layer(gated=gated, gates=True, learnt_pooling=True), events()
    block(x, OFFSETS).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_without_dropout_training_and_evaluation_are_one() -> None:
    block, x = layer(), events()
    assert torch.equal(block(x, OFFSETS), block.eval()(x, OFFSETS))


def test_dropout_is_drawn_from_its_own_generator_and_off_in_evaluation() -> None:
    one, other, none, x = layer(rate=0.5), layer(rate=0.5), layer(), events()
    before = torch.get_rng_state()
    dropped = one(x, OFFSETS)
    assert torch.equal(dropped, other(x, OFFSETS))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.allclose(dropped, none(x, OFFSETS))
    torch.testing.assert_close(one.eval()(x, OFFSETS), none(x, OFFSETS))


@pytest.mark.parametrize("branches", [("window", "block"), ("window",)], ids=str)
def test_what_was_long_ago_is_learnt_by_a_branch_that_sees_so_far(
    branches: tuple[str, ...],
) -> None:
    """Whether the first event was high or low is asked of the last one, with 20 events of noise between."""
    draws = torch.Generator().manual_seed(0)
    block = SparseAlignmentBlock(
        SparseAttention(
            DIM, HEADS, window=2, block=4, selected=1, group=1, branches=branches, generator=draws
        ),
        FeedForward(DIM, DIM, generator=draws),
        dropout=Dropout(0.0, generator=draws),
    )
    optimiser = torch.optim.Adam(block.parameters(), lr=0.03)
    offsets, losses = torch.arange(33) * 22, []
    for _ in range(80):
        marked = torch.randn(32, generator=draws).sign()
        x = torch.randn(32, 22, DIM, generator=draws)
        x[:, 0, : DIM // 2] = 3 * marked[:, None]
        last = block(x.flatten(0, 1), offsets).view(32, 22, DIM)[:, -1, 0] - x[:, -1, 0]
        loss = (last - marked).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    found = sum(losses[-10:]) / 10
    assert found > 0.8 if branches == ("window",) else found < 0.6
