from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Pairs
from fuserec.errors import ConfigError
from fuserec.models.collaborative_space import collaborative_space, partial_correlations, transitions
from fuserec.models.ease import ease_weights
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus, tiny_prepared

TEACHERS = ["ease", "transitions"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corpus_of(*histories: list[int], num_items: int) -> Corpus:
    users = [user for user, history in enumerate(histories) for _ in history]
    items = [item for history in histories for item in history]
    train = Pairs(users=torch.tensor(users), items=torch.tensor(items))
    return Corpus(num_users=len(histories), num_items=num_items, train=train)


def space(corpus: Corpus, **options: Any) -> Tensor:
    drawn: dict[str, Any] = {"dim": 6, "regularisation": 5.0, "generator": rng()}
    return collaborative_space(corpus, **{**drawn, **options})


def test_transitions_by_hand() -> None:
    # 0-1 and 1-2 at distance 1, 0-2 at distance 2; the second user has 2-0, then 2 again, which follows itself at 2
    corpus = corpus_of([0, 1, 2], [2, 0, 2], num_items=4)
    counts = torch.zeros(4, 4)
    for one, other, weight in ((0, 1, 1.0), (1, 2, 1.0), (0, 2, 0.5), (2, 0, 1.0), (0, 2, 1.0)):
        counts[one, other] += weight
        counts[other, one] += weight
    degree = torch.tensor([3.5, 2.0, 3.5])
    expected = torch.zeros(4, 4)
    expected[:3, :3] = counts[:3, :3] / (degree[:, None] * degree).sqrt()
    torch.testing.assert_close(transitions(corpus, window=2), expected)


def test_only_the_window_is_looked_at_and_no_pair_of_two_users() -> None:
    corpus = corpus_of([0, 1, 2], [3], num_items=4)
    near = transitions(corpus, window=1)
    assert near[0, 1] > 0 == float(near[0, 2])
    assert not near[3].any()
    assert transitions(corpus, window=9)[0, 2] > 0


def test_partial_correlations_by_hand() -> None:
    # EASE of the two items is 1/4 one way and 1/3 the other (test_ease.py): their geometric mean, both ways
    corpus = corpus_of([0], [0, 1, 1, 1], num_items=2)
    expected = torch.tensor([[0.0, 12**-0.5], [12**-0.5, 0.0]])
    torch.testing.assert_close(partial_correlations(corpus, regularisation=2.0, max_items=2), expected)


def test_partial_correlations_are_those_of_the_regularised_gram_matrix() -> None:
    corpus = tiny_corpus()
    interactions = torch.zeros(corpus.num_users, corpus.num_items, dtype=torch.float64)
    interactions[corpus.train.users, corpus.train.items] = 1
    gram = interactions.T @ interactions + 5.0 * torch.eye(corpus.num_items, dtype=torch.float64)
    inverse = torch.linalg.inv(gram)
    expected = -inverse / (inverse.diagonal()[:, None] * inverse.diagonal()).sqrt()
    found = partial_correlations(corpus, regularisation=5.0, max_items=100)
    torch.testing.assert_close(found, expected.fill_diagonal_(0).float(), atol=1e-5, rtol=1e-4)
    assert torch.equal(found.sign(), ease_weights(corpus, 5.0, max_items=100).sign())


@pytest.mark.parametrize("teacher", TEACHERS)
def test_inner_products_are_the_best_of_that_rank(teacher: str) -> None:
    corpus = tiny_corpus()
    alike = (
        partial_correlations(corpus, regularisation=5.0, max_items=100)
        if teacher == "ease"
        else transitions(corpus, window=10)
    )
    values, vectors = torch.linalg.eigh(alike)
    expected = vectors[:, -6:] * values[-6:] @ vectors[:, -6:].T
    found = space(corpus, teacher=teacher)
    torch.testing.assert_close(found @ found.T, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_items_of_one_group_of_users_point_the_same_way(teacher: str) -> None:
    corpus = tiny_corpus(num_users=60, num_cold=0, seed=3)
    unit = torch.nn.functional.normalize(space(corpus, teacher=teacher, dim=4), dim=1)
    group = torch.arange(corpus.num_items) % NUM_GROUPS
    cosine = unit @ unit.T
    same = group[:, None] == group
    others = ~torch.eye(corpus.num_items, dtype=torch.bool)
    assert cosine[same & others].mean() > cosine[~same].mean() + 0.3


@pytest.mark.parametrize("teacher", TEACHERS)
def test_items_without_a_training_event_have_exactly_zero_rows_and_others_not(teacher: str) -> None:
    corpus = tiny_corpus()
    found = space(corpus, teacher=teacher)
    assert torch.equal(found.any(1), corpus.popularity() > 0)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_held_out_events_and_content_change_nothing(teacher: str) -> None:
    prepared = tiny_prepared()
    clean = space(prepared.corpus, teacher=teacher)
    poisoned = replace(prepared, valid=prepared.test, test=prepared.valid)
    bare = replace(poisoned.corpus, modalities=())
    assert torch.equal(space(bare, teacher=teacher), clean)
    held_out = Pairs(
        users=torch.cat([prepared.corpus.train.users, prepared.test.users]),
        items=torch.cat([prepared.corpus.train.items, prepared.test.items]),
    )
    assert not torch.equal(space(replace(prepared.corpus, train=held_out), teacher=teacher), clean)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_signs_do_not_depend_on_where_the_search_starts(teacher: str) -> None:
    corpus = tiny_corpus()
    one, same, other = (space(corpus, teacher=teacher, dim=3, generator=rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    torch.testing.assert_close(other, one, atol=5e-3, rtol=0)
    assert bool((one.gather(0, one.abs().argmax(0, keepdim=True)) > 0).all())


def test_the_order_of_events_matters_to_transitions_alone() -> None:
    corpus = tiny_corpus()
    order = torch.randperm(len(corpus.train), generator=rng(1))
    train = Pairs(users=corpus.train.users[order], items=corpus.train.items[order])
    shuffled = replace(corpus, train=train)
    assert torch.equal(space(shuffled, teacher="ease"), space(corpus, teacher="ease"))
    assert not torch.equal(
        space(shuffled, teacher="transitions", window=1), space(corpus, teacher="transitions", window=1)
    )


def test_a_space_wider_than_there_is_likeness_is_padded_with_zeros() -> None:
    corpus = tiny_corpus(num_items=12, num_cold=0)
    wide = space(corpus, teacher="transitions", dim=20)
    assert wide.shape == (12, 20)
    assert not wide[:, 12:].any()
    assert wide.isfinite().all()


def test_what_cannot_be_computed_is_refused() -> None:
    corpus = tiny_corpus(num_items=30)
    with pytest.raises(ConfigError, match=r"expected a known teacher, got 'eas'; did you mean 'ease'\?"):
        space(corpus, teacher="eas")
    with pytest.raises(ConfigError, match="dim must be at least 1, got 0"):
        space(corpus, dim=0)
    with pytest.raises(ConfigError, match="window must be at least 1, got 0"):
        space(corpus, teacher="transitions", window=0)
    for known in TEACHERS:
        with pytest.raises(ConfigError, match=r"at most 29 items .*, got 30; raise teacher_max_items"):
            space(corpus, teacher=known, max_items=29)
