from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn import Dropout

X = torch.ones(2000)


def built(rate: float = 0.5, *, seed: int = 0) -> Dropout:
    return Dropout(rate, generator=torch.Generator().manual_seed(seed))


def epoch(dropout: Dropout, *, calls: int = 2) -> list[Tensor]:
    dropout.begin_epoch()
    return [dropout(X) for _ in range(calls)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def test_the_draws_of_a_call_and_of_an_epoch_are_its_own() -> None:
    dropout = built()
    first, second = epoch(dropout), epoch(dropout)
    drawn = [*first, *second]
    for one in range(4):
        assert drawn[one].unique().tolist() == [0.0, 2.0]
        for other in range(one):
            # two independent masks agree on half of their places
            assert ((drawn[one] == drawn[other]).double().mean() - 0.5).abs() < 0.06


def test_seeds_draw_otherwise_and_the_same_seed_the_same() -> None:
    assert same(epoch(built()), epoch(built()))
    assert not same(epoch(built()), epoch(built(seed=1)))


def test_a_resumed_training_repeats_the_same_bits() -> None:
    whole = built()
    epoch(whole, calls=3)
    saved = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    expected = [epoch(whole), epoch(whole)]
    resumed = built(seed=9)
    resumed.load_state_dict(saved)
    assert same([*epoch(resumed), *epoch(resumed)], [*expected[0], *expected[1]])


def test_how_much_an_epoch_drew_does_not_decide_the_next() -> None:
    few, many = built(), built()
    epoch(few, calls=1)
    epoch(many, calls=5)
    assert same(epoch(few), epoch(many))


def test_the_global_random_state_is_neither_read_nor_written() -> None:
    drawn = []
    for noise in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            before = torch.random.get_rng_state()
            drawn.append(epoch(built()))
            assert torch.equal(torch.random.get_rng_state(), before)
    assert same(*drawn)


def test_evaluation_changes_nothing_and_draws_nothing() -> None:
    dropout, other = built(), built()
    dropout.begin_epoch()
    other.begin_epoch()
    dropout.eval()
    assert dropout(X) is X
    dropout.train()
    assert torch.equal(dropout(X), other(X))


def test_a_rate_of_nought_keeps_everything_in_training_too() -> None:
    dropout = built(0.0)
    dropout.begin_epoch()
    assert dropout(X) is X


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=rf"^dropout must be from 0 to below 1, got {rate}$"):
        built(rate)
