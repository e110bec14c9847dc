from __future__ import annotations

import math

import pytest
import torch

from fuserec.nn.negatives import Law, Negatives

POPULARITY = torch.tensor([0, 1, 16, 0, 81, 0])


def built(law: Law = "uniform", *, number: int = 20_000, seed: int = 0) -> Negatives:
    return Negatives(POPULARITY, number=number, law=law, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("law", "shares"), [("uniform", (1, 1, 1)), ("popularity", (1, 8, 27))])
def test_items_come_as_often_as_their_law_says_and_cold_ones_never(law: Law, shares: tuple[int, ...]) -> None:
    negatives = built(law)
    rows, log_expected = negatives()
    assert len(rows) == len(log_expected) == 20_000
    counts = torch.bincount(rows, minlength=6).tolist()
    assert counts[0] == counts[3] == counts[5] == 0
    for item, share in zip((1, 2, 4), shares, strict=True):
        expected = 20_000 * share / sum(shares)
        assert counts[item] == pytest.approx(expected, abs=5 * math.sqrt(expected))
        assert log_expected[rows == item].unique().item() == pytest.approx(math.log(expected), abs=1e-6)


def test_a_resumed_training_draws_the_same() -> None:
    whole = built(number=50)
    whole.begin_epoch()
    whole()
    saved = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    assert saved.keys() == {"seed", "epoch"}, "the rest follows from the corpus"
    resumed = built(number=50, seed=9)
    resumed.load_state_dict(saved)
    whole.begin_epoch()
    resumed.begin_epoch()
    first, second = whole()[0], whole()[0]
    assert torch.equal(resumed()[0], first)
    assert torch.equal(resumed()[0], second)
    assert not torch.equal(first, second)
