"""No output depends on a later event: its own choice of blocks, made anew each time, included."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import (
    BRANCHES,
    Inputs,
    by_loops,
    chosen_by_first,
    chosen_by_latest,
    chosen_by_mean,
    drawn,
)
from fuserec.testing.attention_forms import Form, attended, leaves

BLOCK = 8
FROM, TO = 2 * BLOCK, 4 * BLOCK
"""Cut points: every one of two blocks, with two blocks or more before them to choose from."""
LENGTH = 5 * BLOCK
CHOOSING = [Pattern(window=5, block=BLOCK, selected=1, group=group) for group in (1, 4, BLOCK)]


def changed_from(inputs: Inputs, cuts: list[int], block: int) -> Inputs:
    """One history once for each cut, everything from there on drawn anew; a summary with the last of its events."""
    generator = torch.Generator().manual_seed(0)
    changed = {}
    for name, x in inputs.items():
        if name == "block_bias":
            changed[name] = x
            continue
        axis = 1 if name == "gates" else 2
        last = torch.arange(x.shape[axis])
        if name in {"block_key", "block_value"}:
            last = last * block + block - 1
        later = last[None, :] >= torch.tensor(cuts)[:, None]
        later = later.view(len(cuts), *(-1 if i == axis else 1 for i in range(1, x.dim())))
        other = 3 * torch.randn(len(cuts), *x.shape[1:], generator=generator, dtype=torch.float64).to(x.dtype)
        changed[name] = torch.where(later, other, x)
    return changed


def leaking_cuts(
    attention: Callable[[Inputs], Tensor], inputs: Inputs, cuts: list[int], block: int
) -> list[int]:
    """The cuts t for which a change of everything from t on changed an output before t."""
    before = attention(inputs)
    after = attention(changed_from(inputs, cuts, block))
    moved = ((after - before).abs() > 1e-6).any(-1).any(1)
    assert bool(moved[:, max(cuts) :].any()), "the change has changed nothing at all"
    return [t for i, t in enumerate(cuts) if bool(moved[i, :t].any())]


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("pattern", CHOOSING, ids=lambda pattern: f"group {pattern.group}")
@pytest.mark.parametrize("branch", BRANCHES)
def test_changing_everything_from_a_position_on_changes_no_output_before_it(
    form_once: Form, branch: Branch, pattern: Pattern, summaries: bool
) -> None:
    inputs = drawn(0, pattern, (1, 2, LENGTH, 16), dtype=form_once.dtype, summaries=summaries)
    attention = functools.partial(attended, branch, pattern=pattern, form=form_once)
    assert leaking_cuts(attention, inputs, list(range(1, TO)), BLOCK) == []


@pytest.mark.parametrize("branch", BRANCHES)
def test_outputs_before_a_position_have_no_gradient_by_what_comes_from_there_on(
    form_once: Form, branch: Branch
) -> None:
    pattern = CHOOSING[1]
    one = drawn(2, pattern, (1, 2, LENGTH, 16), dtype=form_once.dtype)
    cuts = torch.arange(FROM, TO)
    later = torch.arange(LENGTH) >= cuts[:, None]
    inputs = leaves(
        {name: x.expand(len(cuts), *x.shape[1:]).clone() for name, x in one.items()}, form_once.dtype
    )
    out = attended(branch, inputs, pattern, form_once)
    used = [x for name, x in inputs.items() if name in "qkv" or branch == "multi_granularity"]
    for found in torch.autograd.grad(out.square().masked_fill(later[:, None, :, None], 0).sum(), used):
        heard = found.transpose(1, 2) if found.shape[1] == 2 else found
        assert not heard[later].any()
        assert heard[~later].any()


def test_a_group_scored_by_the_mean_of_its_queries_is_caught() -> None:
    pattern = CHOOSING[2]
    inputs = drawn(0, pattern, (1, 2, LENGTH, 4))
    cuts = list(range(FROM, TO))

    def leaking(choose: Callable[..., list[int]]) -> list[int]:
        return leaking_cuts(
            lambda changed: by_loops("selective", changed, pattern, choose), inputs, cuts, BLOCK
        )

    assert leaking(chosen_by_first) == []
    assert leaking(chosen_by_latest) == []
    # at a border between groups there is nothing to leak; inside one, most cuts change the choice
    leaks = leaking(chosen_by_mean)
    assert len(leaks) >= 4
    assert all(t % pattern.group for t in leaks)


def test_a_block_mean_that_a_query_of_the_same_block_sees_is_caught() -> None:
    pattern = CHOOSING[0]
    inputs = drawn(0, pattern, (1, 2, LENGTH, 4))

    def own_block_too(changed: Inputs) -> Tensor:
        means = {
            f"block_{name}": changed[x].unflatten(2, (-1, BLOCK)).mean(3).roll(-1, 2)
            for name, x in (("key", "k"), ("value", "v"))
        }
        return by_loops("blockwise", changed | means, pattern)

    cuts = list(range(FROM, TO))
    assert leaking_cuts(own_block_too, inputs, cuts, BLOCK) == [t for t in cuts if t % BLOCK]


def test_the_two_sides_of_every_limit(form: Form) -> None:
    """Who sees whom, read from the gradients of the values: nobody more, nobody less."""
    pattern = Pattern(window=5, block=4, selected=1, group=2)
    L = 14
    zeros = torch.zeros(L, 1, L, 16, dtype=form.dtype)
    seen = {}
    for branch in ("windowed", "blockwise", "selective"):
        v = zeros.clone().requires_grad_()
        out = attended(branch, {"q": zeros, "k": zeros, "v": v}, pattern, form)
        # history b asks about output b
        (gradient,) = torch.autograd.grad(out[torch.arange(L), 0, torch.arange(L), 0].sum(), v)
        seen[branch] = [set(gradient[t, 0, :, 0].nonzero().flatten().tolist()) for t in range(L)]
    # equal scores: the choice is block 0
    assert seen["windowed"] == [set(range(max(0, t - 4), t + 1)) for t in range(L)]
    assert seen["blockwise"] == [set(range(t // 4 * 4)) for t in range(L)]
    assert seen["selective"] == [
        set(range(t // 4 * 4, t + 1)) | (set(range(4)) if t >= 4 else set()) for t in range(L)
    ]
