"""The tiny corpora keep what they promise, for any size asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.batch import Histories, Prepared
from fuserec.errors import ConfigError
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus, tiny_prepared


def _tensors(prepared: Prepared) -> list[Tensor]:
    found = [
        prepared.corpus.train.users,
        prepared.corpus.train.items,
        prepared.valid.items,
        prepared.test.items,
    ]
    for modality in prepared.corpus.modalities:
        found.append(modality.present)
        if modality.features is not None:
            found.append(modality.features)
        if modality.graph is not None:
            found += [modality.graph.neighbours, modality.graph.weights]
    return found


def test_same_seed_gives_the_same_corpus_and_another_seed_another() -> None:
    first, again, other = (tiny_prepared(seed=seed, ready_graph=("audio",)) for seed in (3, 3, 4))
    for a, b in zip(_tensors(first), _tensors(again), strict=True):
        assert torch.equal(a, b)
    assert first.split_hash == again.split_hash
    assert first.split_hash != other.split_hash
    assert first.dataset_hash != other.dataset_hash


def test_tiny_corpus_is_the_corpus_of_tiny_prepared() -> None:
    corpus = tiny_corpus(seed=5, num_items=24, num_cold=1)
    assert torch.equal(corpus.train.items, tiny_prepared(seed=5, num_items=24, num_cold=1).corpus.train.items)


@pytest.mark.parametrize("num_cold", [0, 3, 7])
def test_exactly_the_cold_items_have_no_training_interaction(num_cold: int) -> None:
    for seed in range(5):
        popularity = tiny_corpus(seed=seed, num_cold=num_cold).popularity()
        assert int((popularity == 0).sum()) == num_cold


def test_cold_items_are_among_the_test_items() -> None:
    prepared = tiny_prepared(num_cold=4)
    cold = set(torch.nonzero(prepared.corpus.popularity() == 0)[:, 0].tolist())
    assert cold <= set(prepared.test.items.tolist())
    assert not cold & set(prepared.valid.items.tolist())


def test_without_repeats_no_user_meets_an_item_twice() -> None:
    prepared = tiny_prepared(seed=2)
    train = Histories.of(prepared.corpus.train, num_users=40)
    for user in range(40):
        met = train.select(torch.tensor([user])).items.tolist()
        met += [int(prepared.valid.items[user]), int(prepared.test.items[user])]
        assert len(set(met)) == len(met) == 8


def test_with_repeats_items_recur_and_the_two_held_out_differ() -> None:
    prepared = tiny_prepared(seed=2, repeats=True)
    assert prepared.repeats
    pairs = torch.stack([prepared.corpus.train.users, prepared.corpus.train.items], dim=1)
    assert len(torch.unique(pairs, dim=0)) < len(pairs)
    assert not torch.any(prepared.valid.items == prepared.test.items)
    assert int((prepared.corpus.popularity() == 0).sum()) == 3


def test_users_prefer_their_own_group_and_content_tells_it() -> None:
    corpus = tiny_corpus(seed=1, num_users=60)
    own = (corpus.train.users % NUM_GROUPS == corpus.train.items % NUM_GROUPS).float().mean()
    assert own > 0.6  # a third by chance
    text = corpus.modalities[0]
    assert text.features is not None
    rows = torch.nonzero(text.present)[:, 0]
    distance = torch.cdist(text.features[rows], text.features[rows]).fill_diagonal_(torch.inf)
    nearest = rows[distance.argmin(1)]
    assert (nearest % NUM_GROUPS == rows % NUM_GROUPS).float().mean() > 0.9


def test_an_absent_modality_is_a_zero_row_and_one_warm_item_lacks_them_all() -> None:
    corpus = tiny_corpus(missing=0.2)
    lacking = torch.ones(30, dtype=torch.bool)
    for modality in corpus.modalities:
        assert int((~modality.present).sum()) == 6
        assert modality.features is not None
        assert torch.equal(modality.features.abs().sum(1) > 0, modality.present)
        lacking &= ~modality.present
    assert torch.any(lacking & (corpus.popularity() > 0))


def test_nothing_is_missing_when_none_is_asked_to() -> None:
    assert all(modality.present.all() for modality in tiny_corpus(missing=0.0).modalities)


def test_a_ready_graph_is_directed_padded_and_partly_holds_the_item_itself() -> None:
    corpus = tiny_corpus(modalities=("text",), ready_graph=("text", "audio"), num_items=12, num_cold=1)
    text, audio = corpus.modalities
    assert text.features is not None
    assert audio.features is None
    for modality in (text, audio):
        assert modality.graph is not None
        neighbours, weights = modality.graph.neighbours, modality.graph.weights
        real = neighbours >= 0
        assert torch.equal(real, weights > 0)
        assert torch.equal(real.any(1), modality.present)
        assert not real.all()
        assert modality.present[neighbours[real]].all()
    corpus = tiny_corpus(modalities=(), ready_graph=("audio",))
    graph = corpus.modalities[0].graph
    assert graph is not None
    dense = torch.zeros(30, 31).scatter_(1, graph.neighbours % 31, graph.weights)[:, :30]
    assert not torch.equal(dense, dense.T)
    assert 0 < int((dense.diagonal() > 0).sum()) < 30


def test_modalities_have_different_widths() -> None:
    widths = [m.features.shape[1] for m in tiny_corpus().modalities if m.features is not None]
    assert widths == [8, 10]


def test_impossible_sizes_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"events_per_user must be 3 \.\. 27 \(the warm items\), got 28"):
        tiny_prepared(events_per_user=28)
    with pytest.raises(ConfigError, match="num_users must be at least 3, one for each group, got 2"):
        tiny_prepared(num_users=2)
    with pytest.raises(ConfigError, match=r"num_cold must be 0 \.\. num_items - 3, got 28 of 30"):
        tiny_prepared(num_cold=28)
    with pytest.raises(ConfigError, match=r"missing must be 0 \.\. 1, a share of the items, got 1\.5"):
        tiny_prepared(missing=1.5)
    with pytest.raises(ConfigError, match="raise num_users or events_per_user, or raise num_cold"):
        tiny_prepared(num_users=6, num_items=40)
