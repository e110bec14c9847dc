from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops.blocks import (
    Blocks,
    block_means,
    block_means_reference,
    block_softmax,
    block_softmax_reference,
    block_sums,
    of_block,
    of_block_before,
)
from fuserec.ops.borders import content_borders

OFFSETS = torch.tensor([0, 0, 7, 7, 8, 23, 23])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def bordered() -> Blocks:
    begins = content_borders(drawn(23, 2), OFFSETS, threshold=0.0, block=4)
    return Blocks.at(begins, OFFSETS, block=4)


LAYOUTS = [Blocks.every(OFFSETS, block=3), Blocks.every(OFFSETS.int(), block=1), bordered()]


def test_blocks_lie_where_a_person_would_lay_them() -> None:
    blocks = Blocks.every(torch.tensor([0, 5, 5, 6]), block=2)
    assert len(blocks) == 4
    assert blocks.number.tolist() == [0, 0, 1, 1, 2, 3]
    assert blocks.starts.tolist() == [0, 2, 4, 5, 6]
    assert blocks.offsets.tolist() == [0, 3, 3, 4]
    assert blocks.counts.tolist() == [2, 2, 1, 1]
    assert blocks.slots.tolist() == [0, 1, 2, 3, 4, 6]
    assert blocks.first.tolist() == [0, 3]
    assert blocks.longest == 3


def test_given_borders_make_blocks_of_any_length() -> None:
    begins = torch.tensor([1, 1, 0, 0, 1, 0]).bool()
    blocks = Blocks.at(begins, torch.tensor([0, 4, 6]), block=3)
    assert blocks.starts.tolist() == [0, 1, 4, 6]
    assert blocks.slots.tolist() == [0, 3, 4, 5, 6, 7]
    assert not blocks.fixed


def test_nothing_makes_no_blocks() -> None:
    for offsets in (torch.tensor([0]), torch.tensor([0, 0, 0])):
        blocks = Blocks.every(offsets, block=4)
        assert (len(blocks), blocks.longest) == (0, 0)
        assert block_means(torch.zeros(0, 3), blocks).shape == (0, 3)
        assert block_softmax(torch.zeros(0, 3), blocks).shape == (0, 3)
        assert of_block_before(torch.zeros(0, 3), blocks).shape == (0, 3)


def test_a_block_longer_than_the_room_is_refused() -> None:
    begins = torch.tensor([1, 0, 0, 0]).bool()
    with pytest.raises(
        ConfigError, match="expected at most 3 events in a block, got 4; borders must know block"
    ):
        Blocks.at(begins, torch.tensor([0, 4]), block=3)


def test_a_history_that_begins_without_a_border_is_refused() -> None:
    begins = torch.tensor([1, 0, 0, 0]).bool()
    with pytest.raises(ConfigError, match="expected a border before the first event of every history"):
        Blocks.at(begins, torch.tensor([0, 2, 4]), block=4)


@pytest.mark.parametrize("blocks", LAYOUTS, ids=["of 3", "of 1", "bordered"])
@pytest.mark.parametrize("weighed", [False, True])
def test_means_are_the_literal_ones_with_their_gradients(blocks: Blocks, weighed: bool) -> None:
    x = drawn(23, 2, 3)
    inputs = (x, drawn(23, 2, seed=1)) if weighed else (x,)
    fast, literal = (function(x, blocks, *inputs[1:]) for function in (block_means, block_means_reference))
    torch.testing.assert_close(fast, literal)
    upstream = drawn(*fast.shape, seed=2).detach()
    for found, expected in zip(
        torch.autograd.grad(fast, inputs, upstream),
        torch.autograd.grad(literal, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("blocks", LAYOUTS, ids=["of 3", "of 1", "bordered"])
def test_the_softmax_is_the_literal_one_with_its_gradient(blocks: Blocks) -> None:
    scores = drawn(23, 2)
    fast, literal = block_softmax(scores, blocks), block_softmax_reference(scores, blocks)
    torch.testing.assert_close(fast, literal)
    torch.testing.assert_close(block_sums(fast, blocks), torch.ones(len(blocks), 2, dtype=torch.float64))
    upstream = drawn(*fast.shape, seed=2).detach()
    found, expected = (torch.autograd.grad(y, scores, upstream)[0] for y in (fast, literal))
    torch.testing.assert_close(found, expected)


def test_gradients_are_derivatives_twice_over() -> None:
    blocks = bordered()
    assert torch.autograd.gradcheck(lambda x: block_means(x, blocks), (drawn(23, 2),))
    assert torch.autograd.gradgradcheck(lambda x: block_sums(x, blocks).pow(2), (drawn(23, 2),))
    assert torch.autograd.gradcheck(lambda x: of_block(x, blocks), (drawn(len(blocks), 2),))
    assert torch.autograd.gradcheck(lambda x: of_block_before(x, blocks), (drawn(len(blocks), 2),))
    assert torch.autograd.gradcheck(lambda x: block_softmax(x, blocks), (drawn(23, 2),))


def test_events_hear_the_block_before_their_own_by_hand() -> None:
    blocks = Blocks.every(torch.tensor([0, 5, 5, 8]), block=2)
    rows = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    assert of_block(rows, blocks).flatten().tolist() == [1, 1, 2, 2, 3, 4, 4, 5]
    assert of_block_before(rows, blocks).flatten().tolist() == [0, 0, 1, 1, 2, 0, 0, 4]
