"""What every block of a sequence model keeps, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from fuserec.nn import Dropout, HstuBlock, LigrBlock, TransformerBlock

DIM, HEADS, HIDDEN = 8, 2, 12
LENGTHS = [5, 1, 0, 40, 3]

Build = Callable[[Dropout, torch.Generator], nn.Module]


def transformer(dropout: Dropout, generator: torch.Generator) -> nn.Module:
    return TransformerBlock(DIM, HEADS, HIDDEN, dropout=dropout, generator=generator)


def ligr(dropout: Dropout, generator: torch.Generator) -> nn.Module:
    return LigrBlock(DIM, HEADS, HIDDEN, dropout=dropout, generator=generator)


def hstu(dropout: Dropout, generator: torch.Generator) -> nn.Module:
    return HstuBlock(DIM, HEADS, dropout=dropout, generator=generator)


@pytest.fixture(params=[transformer, ligr, hstu])
def build(request: pytest.FixtureRequest) -> Build:
    found: Build = request.param
    return found


def built(build: Build, *, rate: float = 0.0, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return build(Dropout(rate, generator=generator), generator).double()


def rows(lengths: list[int]) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(sum(lengths), DIM, generator=rng, dtype=torch.float64)
    return x, torch.tensor([0, *lengths]).cumsum(0)


def test_packed_histories_are_computed_as_if_each_were_alone(build: Build) -> None:
    block, (x, offsets) = built(build), rows(LENGTHS)
    together = block(x, offsets)
    assert together.shape == x.shape
    for begin, end in pairwise(offsets.tolist()):
        alone = block(x[begin:end], torch.tensor([0, end - begin]))
        torch.testing.assert_close(together[begin:end], alone)


def test_an_output_hears_its_own_history_up_to_itself_and_nothing_else(build: Build) -> None:
    block, (x, offsets) = built(build), rows([4, 6])
    x.requires_grad_()
    out = block(x, offsets)
    for row in range(10):
        # rows of zero sum pass a normalisation, so the direction is not all ones
        direction = torch.linspace(-1, 2, DIM, dtype=x.dtype)
        heard = torch.autograd.grad(out[row] @ direction, x, retain_graph=True)[0].any(1)
        begin = 0 if row < 4 else 4
        assert heard.tolist() == [begin <= other <= row for other in range(10)]


def test_every_parameter_gets_a_gradient(build: Build) -> None:
    block, (x, offsets) = built(build), rows(LENGTHS)
    out = block(x, offsets)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype))
    named = dict(block.named_parameters())
    assert named
    for name, parameter in named.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_weights_come_from_the_generator_and_the_global_state_is_untouched(build: Build) -> None:
    before = torch.random.get_rng_state()
    one, same, other = built(build, rate=0.5), built(build, rate=0.5), built(build, rate=0.5, seed=1)
    x, offsets = rows(LENGTHS)
    assert torch.equal(one(x, offsets), same(x, offsets))
    assert torch.equal(torch.random.get_rng_state(), before)
    for (name, ours), theirs in zip(one.state_dict().items(), same.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert not torch.equal(one(x, offsets), other(x, offsets))


def test_dropout_is_for_training_alone(build: Build) -> None:
    plain, dropping, (x, offsets) = built(build), built(build, rate=0.5), rows(LENGTHS)
    assert not torch.equal(dropping(x, offsets), plain(x, offsets))
    assert torch.equal(dropping.eval()(x, offsets), plain(x, offsets))


def test_no_history_at_all_is_no_row(build: Build) -> None:
    block = built(build)
    for offsets in (torch.tensor([0]), torch.tensor([0, 0])):
        assert block(rows([])[0], offsets).shape == (0, DIM)
