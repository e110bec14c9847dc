from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.nn import Dropout, LigrBlock, TransformerBlock
from fuserec.nn.dense_block_state import DenseBlockState

DIM, LENGTH = 8, 12
KINDS = pytest.mark.parametrize("kind", [TransformerBlock, LigrBlock])


def block_and_events(kind: type[TransformerBlock | LigrBlock]) -> tuple[TransformerBlock | LigrBlock, Tensor]:
    draws = torch.Generator().manual_seed(0)
    block = kind(DIM, 2, 12, dropout=Dropout(0.5, generator=draws), generator=draws).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return block, torch.randn(LENGTH, DIM, generator=draws, dtype=torch.float64)


def full(block: TransformerBlock | LigrBlock, x: Tensor) -> Tensor:
    out: Tensor = block.eval()(x, torch.tensor([0, len(x)])).detach()
    return out


@KINDS
def test_from_any_prefix_every_event_gets_its_row_of_the_full_pass(
    kind: type[TransformerBlock | LigrBlock],
) -> None:
    block, x = block_and_events(kind)
    expected = full(block, x)
    for begun in range(LENGTH):
        state = DenseBlockState(block, x[:begun])
        assert len(state) == begun
        torch.testing.assert_close(torch.stack([state.append(row) for row in x[begun:]]), expected[begun:])


@KINDS
def test_a_clone_goes_its_own_way_and_nothing_is_dropped(kind: type[TransformerBlock | LigrBlock]) -> None:
    block, x = block_and_events(kind)
    expected = full(block, x)
    state = DenseBlockState(block.train(), x[:5])
    other = state.clone()
    other.append(-x[5])
    torch.testing.assert_close(state.append(x[5]), expected[5])
    assert state.nbytes == other.nbytes > 0
