"""Which blocks a group attends to, seen through the public calls: the values say the number of their block."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fuserec.ops.attention.pattern import Pattern
from fuserec.testing.attention import Choose, Inputs, by_loops, chosen_by_first, chosen_by_latest
from fuserec.testing.attention_forms import Form, attended

BLOCK, BLOCKS = 4, 16
FAR = BLOCKS // 2
"""A planted block is earlier than this one."""
PLANTED = Pattern(window=4, block=BLOCK, selected=1, group=2)


def numbered(k: Tensor, block: int) -> Tensor:
    """Values of which column c is 1 in block c: the output's column c is the weight of that block."""
    return one_hot(torch.arange(k.shape[2]) // block, k.shape[3]).to(k.dtype).expand(k.shape)


def seen_blocks(out: Tensor) -> list[set[int]]:
    """For the last query of each history the blocks that it sees, by head 0."""
    return [set(row.nonzero().flatten().tolist()) for row in out[:, 0, -1]]


def share_of_planted_found(attention: Callable[[Inputs], Tensor], dtype: torch.dtype) -> float:
    """How often the one block of a history that suits its last query, far in the past, is among those it sees."""
    generator = torch.Generator().manual_seed(0)
    histories, D = 24, BLOCKS
    q, k = (
        torch.randn(histories, 2, BLOCK * BLOCKS, D, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    wish = torch.randn(histories, 2, 1, D, generator=generator, dtype=torch.float64)
    planted = torch.randint(FAR, (histories,), generator=generator)
    suits = torch.arange(BLOCK * BLOCKS) // BLOCK == planted[:, None]
    k = torch.where(suits[:, None, :, None], k + 2 * wish, k).to(dtype)
    q = torch.cat([q[:, :, :-BLOCK], q[:, :, -BLOCK:] + 2 * wish], dim=2).to(dtype)
    inputs = {"q": q, "k": k, "v": numbered(k, BLOCK), "gates": torch.zeros(histories, q.shape[2], 2, 3)}
    seen = seen_blocks(attention(inputs))
    assert all(len(blocks) == PLANTED.selected + 1 and BLOCKS - 1 in blocks for blocks in seen)
    return sum(block in blocks for block, blocks in zip(planted.tolist(), seen, strict=True)) / histories


def assert_planted_block_is_selected(attention: Callable[[Inputs], Tensor], dtype: torch.dtype) -> None:
    found, by_chance = share_of_planted_found(attention, dtype), PLANTED.selected / (BLOCKS - 1)
    assert found > 10 * by_chance, f"the planted block was selected in {found:.0%} of histories"


def test_one_relevant_block_far_in_the_past_is_selected(form: Form) -> None:
    attention = functools.partial(attended, "selective", pattern=PLANTED, form=form)
    assert_planted_block_is_selected(attention, form.dtype)


def loops(choose: Choose) -> Callable[[Inputs], Tensor]:
    return lambda inputs: by_loops("selective", inputs, PLANTED, choose)


def test_always_taking_the_latest_blocks_misses_the_planted_one() -> None:
    assert_planted_block_is_selected(loops(chosen_by_first), torch.float64)
    with pytest.raises(AssertionError, match="the planted block was selected in 0% of histories"):
        assert_planted_block_is_selected(loops(chosen_by_latest), torch.float64)


@pytest.mark.parametrize("group", [1, 4, 8])
@pytest.mark.parametrize("own", [False, True])
def test_of_equal_blocks_the_earliest_are_chosen(form: Form, own: bool, group: int) -> None:
    block, L = 8, 72
    pattern = Pattern(window=1, block=block, selected=2, group=group)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, 2, L, 16, generator=generator, dtype=form.dtype)
    k = torch.randn(3, 2, block, 16, generator=generator, dtype=form.dtype).repeat(1, 1, L // block, 1)
    inputs = {"q": q, "k": k, "v": numbered(k, block)}
    if own:
        inputs["block_key"] = torch.randn(3, 2, 1, 16, generator=generator, dtype=form.dtype).repeat(
            1, 1, 9, 1
        )
    assert seen_blocks(attended("selective", inputs, pattern, form)) == 3 * [{0, 1, 8}]


def test_of_equal_best_blocks_among_worse_ones_the_earliest_are_chosen(form: Form) -> None:
    block, L = 4, 40
    pattern = Pattern(window=1, block=block, selected=2, group=block)
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(1, 1, 1, 16, generator=generator, dtype=form.dtype)
    liked, disliked = q.repeat(1, 1, block, 1), -q.repeat(1, 1, block, 1)
    k = torch.cat([liked if c in {2, 5, 7, 8} else disliked for c in range(10)], dim=2)
    inputs = {"q": q.expand(1, 1, L, 16), "k": k, "v": numbered(k, block)}
    assert seen_blocks(attended("selective", inputs, pattern, form)) == [{2, 5, 9}]


def test_of_equal_blocks_below_the_best_the_earliest_are_chosen(form: Form) -> None:
    """Also where the best one comes after them and takes the place of one."""
    pattern = Pattern(window=1, block=4, selected=2, group=4)
    zeros = torch.zeros(1, 1, 16, 16, dtype=form.dtype)
    key = torch.zeros(1, 1, 4, 16, dtype=form.dtype)
    key[:, :, 2] = 0.3
    inputs = {"q": zeros + 1, "k": zeros, "v": numbered(zeros, 4), "block_key": key}
    assert seen_blocks(attended("selective", inputs, pattern, form)) == [{0, 2, 3}]


@pytest.mark.parametrize("liked", [(0, 1), (1, 0)])
def test_blocks_that_two_heads_like_the_other_way_round_are_equal(form: Form, liked: tuple[int, int]) -> None:
    pattern = Pattern(window=1, block=8, selected=1, group=8)
    k = torch.zeros(1, 2, 24, 16, dtype=form.dtype)
    for head, block in enumerate(liked):
        k[:, head, 8 * block : 8 * block + 8] = 0.3
    inputs = {"q": torch.ones_like(k), "k": k, "v": numbered(k, 8)}
    assert seen_blocks(attended("selective", inputs, pattern, form)) == [{0, 2}]


def test_each_group_of_a_block_chooses_for_itself(form: Form) -> None:
    # blocks 0 and 1 are liked by opposite queries; block 2 is two groups, and only their first queries count
    pattern = Pattern(window=1, block=8, selected=1, group=4)
    k = torch.zeros(1, 1, 24, 16, dtype=form.dtype)
    k[:, :, :8, 0], k[:, :, 8:16, 0] = 1, -1
    q = torch.zeros_like(k)
    q[:, :, 16:, 0] = torch.tensor([1.0, -1, -1, -1, -1, 1, 1, 1])
    weights = attended("selective", {"q": q, "k": k, "v": numbered(k, 8)}, pattern, form)[0, 0, 16:]
    assert weights[:4, 0].all()
    assert not weights[:4, 1].any()
    assert weights[4:, 1].all()
    assert not weights[4:, 0].any()


@pytest.mark.parametrize("name", ["block_query", "block_key", "block_bias"])
def test_the_choice_has_no_gradient(form: Form, name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = {"q": (1, 2, 40, 16), "k": (1, 2, 40, 16), "v": (1, 2, 40, 16), "block_query": (1, 2, 40, 16)}
    shapes |= {"block_key": (1, 2, 10, 16)}
    inputs = {key: torch.randn(shape, generator=generator, dtype=form.dtype) for key, shape in shapes.items()}
    inputs["block_bias"] = torch.randn(2, 9, generator=generator, dtype=form.dtype)
    inputs = {key: x.requires_grad_() for key, x in inputs.items()}
    out = attended("selective", inputs, PLANTED, form)
    (found,) = torch.autograd.grad(out.sum(), inputs[name], allow_unused=True, materialize_grads=True)
    assert not found.any()
