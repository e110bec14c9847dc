"""Genres that are turned, and camps: what content shows and what interactions do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.testing.planted import Camps, CrossGenre, camps, cross_genre


def by_genre(seed: int = 0, **options: Any) -> CrossGenre:
    return cross_genre(300, generator=torch.Generator().manual_seed(seed), **options)


def by_camp(seed: int = 0, **options: Any) -> Camps:
    return camps(300, generator=torch.Generator().manual_seed(seed), **options)


def features(corpus: Corpus, name: str) -> Tensor:
    found = next(modality.features for modality in corpus.modalities if modality.name == name)
    assert found is not None
    return normalize(found) if name != "category" else found


def same_topic(found: CrossGenre, one: Tensor, other: Tensor) -> float:
    """How often the nearest item of another genre has the same topic."""
    elsewhere = found.genre[:, None] != found.genre
    nearest = (one @ other.T).masked_fill(~elsewhere, -2).argmax(1)
    return (found.topic[nearest] == found.topic).float().mean().item()


def test_titles_find_the_topic_across_genres_and_images_only_when_turned_back() -> None:
    found = by_genre()
    title, image = features(found.corpus, "title"), features(found.corpus, "image")
    turned_back = (found.turn.transpose(1, 2)[found.genre] @ image[:, :, None])[:, :, 0]
    assert same_topic(found, title, title) > 0.95
    assert same_topic(found, image, image) < 0.3
    assert same_topic(found, turned_back, turned_back) > 0.95


def test_no_one_map_for_all_genres_brings_images_to_titles_and_one_for_each_does() -> None:
    found = by_genre()
    title, image = features(found.corpus, "title"), features(found.corpus, "image")
    shared = normalize(image @ torch.linalg.lstsq(image, title).solution)
    own = torch.zeros_like(title)
    for genre in found.genre.unique():
        here = found.genre == genre
        own[here] = normalize(image[here] @ torch.linalg.lstsq(image[here], title[here]).solution)
    assert same_topic(found, title, shared) < 0.6
    assert same_topic(found, title, own) > 0.95


def test_users_like_topics_whatever_the_genre() -> None:
    found = by_genre(liked=2)
    pairs = found.corpus.train
    topics = [set(found.topic[pairs.items[pairs.users == user]].tolist()) for user in range(300)]
    assert all(1 <= len(mine) <= 2 for mine in topics)
    genres = torch.bincount(found.genre[pairs.items]) / len(pairs)
    assert genres.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_exactly_the_cold_items_of_every_topic_and_genre_have_no_interaction() -> None:
    found = by_genre(cold_each=2)
    cold = found.corpus.popularity() == 0
    of = found.topic * 3 + found.genre
    assert torch.bincount(of[cold], minlength=48).tolist() == [2] * 48


def test_the_category_is_the_genre() -> None:
    found = by_genre()
    assert torch.equal(features(found.corpus, "category").argmax(1), found.genre)
    assert (features(found.corpus, "category").sum(1) == 1).all()


def test_interactions_tell_the_camp_and_nothing_else() -> None:
    found = by_camp(loyalty=0.95)
    pairs = found.corpus.train
    assert (found.camp[pairs.items] == pairs.users % 2).float().mean().item() == pytest.approx(0.95, abs=0.01)
    had = torch.zeros(300, len(found.camp)).index_put_((pairs.users, pairs.items), torch.ones(()))
    spread = torch.linalg.svdvals(had - had.mean(0))
    assert spread[0] > 2 * spread[1]  # one direction
    assert (spread[1] / spread[10]).item() < 1.3  # the rest is noise


def test_content_shows_far_more_than_the_camp() -> None:
    found = by_camp(width=12)
    assert torch.equal(found.camp, (found.about[:, 0] > 0).long())
    for name in ("title", "image"):
        spread = torch.linalg.svdvals(features(found.corpus, name))
        assert (spread[0] / spread[11]).item() < 2  # all twelve columns alike
    title, image = features(found.corpus, "title"), features(found.corpus, "image")
    assert (title @ title.T - image @ image.T).abs().mean() < 0.03  # both show the same


def test_the_same_seed_gives_the_same_corpus_and_another_seed_another() -> None:
    for draw in (by_genre, by_camp):
        first, again, other = (draw(seed).corpus for seed in (3, 3, 4))
        assert torch.equal(first.train.items, again.train.items)
        assert torch.equal(features(first, "title"), features(again, "title"))
        assert not torch.equal(first.train.items, other.train.items)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cold_each": 6}, "cold_each must be 0 .. 5, got 6"),
        ({"liked": 17}, "liked must be 1 .. 16, the topics, got 17"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        by_genre(**options)
