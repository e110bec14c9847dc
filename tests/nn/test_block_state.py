from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.nn import (
    BlockEvolution,
    BlockState,
    Dropout,
    FeedForward,
    SparseAlignmentBlock,
    SparseAttention,
    normal_linear,
)

DIM, HEADS, LENGTH = 8, 2, 27
SWITCHES: list[dict[str, Any]] = [
    {},
    {"evolution": False},
    {"learnt_pooling": True},
    {"gates": True},
    {"gated": False, "group": 1},
    {"branches": ("window",)},
    {"branches": ("block", "selected")},
    {"branches": ("selected",), "group": 4},
    {"block": 64, "group": 8},
    {"block": 1, "group": 1},
]


def layer(
    *, evolution: bool = True, gates: bool = False, dtype: torch.dtype = torch.float64, **switches: Any
) -> SparseAlignmentBlock:
    draws = torch.Generator().manual_seed(0)
    pattern = {"window": 5, "block": 4, "selected": 2, "group": 2} | switches
    block = SparseAlignmentBlock(
        SparseAttention(DIM, HEADS, **pattern, generator=draws),
        FeedForward(DIM, 3 * DIM, generator=draws),
        dropout=Dropout(0.5, generator=draws),
        evolution=BlockEvolution(DIM, HEADS, generator=draws) if evolution else None,
        gates=(normal_linear(DIM, DIM, generator=draws), normal_linear(DIM, DIM, generator=draws))
        if gates
        else None,
    )
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return block.to(dtype).eval()


def events(length: int = LENGTH, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(length, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def full(block: SparseAlignmentBlock, x: Tensor) -> Tensor:
    out: Tensor = block(x, torch.tensor([0, len(x)])).detach()
    return out


def appended(state: BlockState, x: Tensor) -> Tensor:
    return torch.stack([state.append(row) for row in x])


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_event_gets_its_row_of_the_full_pass(switches: dict[str, Any]) -> None:
    block, x = layer(**switches), events()
    state = BlockState(block, x[:0])
    torch.testing.assert_close(appended(state, x), full(block, x))
    assert len(state) == LENGTH


@pytest.mark.parametrize("switches", SWITCHES[:4], ids=str)
def test_from_any_prefix_it_goes_on_as_if_it_had_been_appended(switches: dict[str, Any]) -> None:
    block, x = layer(**switches), events(14)
    expected = full(block, x)
    for length in range(14):
        state = BlockState(block, x[:length])
        assert len(state) == length
        torch.testing.assert_close(appended(state, x[length:]), expected[length:])


def test_in_single_precision_as_well() -> None:
    block, x = layer(dtype=torch.float32), events(dtype=torch.float32)
    torch.testing.assert_close(appended(BlockState(block, x[:0]), x), full(block, x), rtol=0, atol=1e-4)


def test_a_clone_goes_its_own_way() -> None:
    block, x = layer(), events()
    state = BlockState(block, x[:10])
    other = state.clone()
    appended(other, -x[10:20])
    torch.testing.assert_close(appended(state, x[10:]), full(block, x)[10:])
    assert (len(state), len(other)) == (LENGTH, 20)


def test_nothing_is_dropped_and_nothing_has_a_gradient() -> None:
    block, x = layer(), events().requires_grad_()
    expected = full(block, x)
    out = appended(BlockState(block.train(), x[:9]), x[9:])
    assert not out.requires_grad
    torch.testing.assert_close(out, expected[9:])


def test_memory_grows_with_the_length() -> None:
    block = layer()
    one, four = (BlockState(block, events(length)).nbytes for length in (512, 2048))
    assert 3.5 < four / one < 4.5
