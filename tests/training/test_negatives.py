from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, PairBatch, Pairs
from fuserec.errors import TrainingError
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.strategies import corpora
from fuserec.training.negatives import PairSampler
from fuserec.training.seeds import named_generator

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def sampler(corpus: Corpus, *, batch_size: int = 32, seed: int = 0) -> PairSampler:
    return PairSampler(
        corpus,
        batch_size=batch_size,
        shuffle=named_generator(seed, "shuffle"),
        negatives=named_generator(seed, "negatives"),
    )


def corpus_of(lists: list[list[int]], *, num_items: int) -> Corpus:
    pairs = [(user, item) for user, items in enumerate(lists) for item in items]
    return Corpus(
        num_users=len(lists),
        num_items=num_items,
        train=Pairs(
            users=torch.tensor([user for user, _ in pairs], dtype=torch.int64),
            items=torch.tensor([item for _, item in pairs], dtype=torch.int64),
        ),
    )


def joined(batches: list[PairBatch]) -> tuple[list[int], list[int], list[int]]:
    return (
        [row for batch in batches for row in batch.users.tolist()],
        [row for batch in batches for row in batch.positives.tolist()],
        [row for batch in batches for row in batch.negatives.tolist()],
    )


@settings(max_examples=25, deadline=None)
@given(corpora(), st.integers(1, 300), st.integers(0, 5))
def test_an_epoch_is_every_pair_once_with_an_unknown_warm_negative(
    corpus: Corpus, batch_size: int, seed: int
) -> None:
    pairs = list(zip(corpus.train.users.tolist(), corpus.train.items.tolist(), strict=True))
    sampling = sampler(corpus, batch_size=batch_size, seed=seed)
    for _ in range(2):
        batches = list(sampling.epoch())
        users, positives, negatives = joined(batches)
        assert Counter(zip(users, positives, strict=True)) == Counter(pairs)
        assert not set(zip(users, negatives, strict=True)) & set(pairs), "a negative is known to its user"
        assert set(negatives) <= set(corpus.train.items.tolist()), "a negative is cold"
        assert len(batches) == len(sampling) == math.ceil(len(pairs) / batch_size)
        assert all(len(batch.users) == batch_size for batch in batches[:-1])


def test_every_epoch_has_another_order_and_other_negatives() -> None:
    sampling = sampler(tiny_corpus())
    one, two = joined(list(sampling.epoch())), joined(list(sampling.epoch()))
    assert one[0] != two[0]
    assert one[2] != two[2]


def test_the_same_generators_give_the_same_epochs_whatever_the_batch_size() -> None:
    corpus = tiny_corpus()
    small, large = sampler(corpus, batch_size=7), sampler(corpus, batch_size=1000)
    for _ in range(2):
        assert joined(list(small.epoch())) == joined(list(large.epoch()))
    assert joined(list(sampler(corpus, seed=1).epoch())) != joined(list(sampler(corpus).epoch()))


def test_the_order_does_not_depend_on_the_generator_of_negatives() -> None:
    corpus = tiny_corpus()
    other = PairSampler(
        corpus, batch_size=32, shuffle=named_generator(0, "shuffle"), negatives=named_generator(9, "x")
    )
    ours, theirs = joined(list(sampler(corpus).epoch())), joined(list(other.epoch()))
    assert ours[:2] == theirs[:2]
    assert ours[2] != theirs[2]


def test_negatives_are_uniform_over_the_items_a_user_lacks() -> None:
    # User 0 has items 0 and 1 of the warm 0 .. 6; 7 and 8 are cold. Popularity must not matter.
    corpus = corpus_of([[0, 1], [2, 2, 2, 2, 3], [4, 5, 6]], num_items=9)
    draws, lacking = 20_000, [2, 3, 4, 5, 6]
    drawn = sampler(corpus).draw(torch.zeros(draws, dtype=torch.int64))
    counts = Counter(drawn.tolist())
    assert sorted(counts) == lacking
    expected = draws / len(lacking)
    chi_square = sum((counts[item] - expected) ** 2 / expected for item in lacking)
    assert chi_square < 18.47, "beyond the 99.9 % quantile of chi-square with 4 degrees of freedom"


def test_a_user_who_lacks_one_item_always_gets_that_one() -> None:
    corpus = corpus_of([[0, 1, 3], [2]], num_items=4)
    assert set(sampler(corpus).draw(torch.zeros(50, dtype=torch.int64)).tolist()) == {2}


@pytest.mark.parametrize("repeated", [[], [0, 1]])
def test_a_user_with_all_items_is_refused_with_the_row(repeated: list[int]) -> None:
    # item 3 is cold: it does not help
    corpus = corpus_of([[0], [0, 1, 2, *repeated], [1]], num_items=4)
    with pytest.raises(
        TrainingError,
        match="user row 1 interacted with all 3 training items, so no negative can be drawn for it; leave",
    ):
        sampler(corpus)


def test_having_an_item_often_is_not_having_all_items() -> None:
    corpus = corpus_of([[0, 0, 0, 0], [1, 2]], num_items=3)
    assert set(sampler(corpus).draw(torch.zeros(50, dtype=torch.int64)).tolist()) == {1, 2}


def test_no_training_pair_is_refused() -> None:
    with pytest.raises(TrainingError, match="expected training interactions, got none; check the split"):
        sampler(corpus_of([[], []], num_items=3))
