"""Which part of MUFASA learns when, and from what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, ItemBatch, Modality, Pairs, Queries
from fuserec.errors import ConfigError, DataError
from fuserec.models.mufasa import Mufasa, mufasa_stages
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.testing.contract import all_scores, some_queries
from fuserec.testing.corpora import tiny_corpus

CONFIG = MufasaConfig(dim=8, num_layers=1, block=2, group=2, fusion_dim=8, teacher_dim=4, fusion_epochs=7)
CORPUS = tiny_corpus(titled=True)
HISTORIES = Histories.of(CORPUS.train, num_users=CORPUS.num_users)


def built(config: MufasaConfig = CONFIG, corpus: Corpus = CORPUS) -> Mufasa:
    model = Mufasa(config, corpus, generator=torch.Generator().manual_seed(0))
    model.begin_epoch()
    return model


def step(model: Mufasa, batch: ItemBatch | Histories) -> dict[str, Tensor]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    optimiser.zero_grad()
    terms = model.losses(batch)
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    return terms


def fusion_weights(model: Mufasa) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in model.state_dict().items() if name.startswith("layer.")}


def test_items_come_first_then_histories() -> None:
    first, second = mufasa_stages(CONFIG)
    assert (first.batches, first.epochs, first.evaluated) == ("items", 7, False)
    assert (second.batches, second.epochs, second.terms) == ("histories", None, frozenset({"softmax"}))
    assert mufasa_stages(replace(CONFIG, joint=True))[1].terms == frozenset({*(first.terms or ()), "softmax"})
    (only,) = mufasa_stages(replace(CONFIG, items="id"))
    assert only.batches == "histories"


def test_the_terms_of_a_batch_are_those_of_its_stage() -> None:
    spread = ("genre_discrepancy", "sliced_wasserstein")
    for config in (CONFIG, replace(CONFIG, joint=True), replace(CONFIG, spread=spread)):
        first, second = mufasa_stages(config)
        model = built(config)
        assert model.losses(ItemBatch(items=torch.arange(20))).keys() == first.terms
        assert model.losses(HISTORIES).keys() == second.terms


@pytest.mark.parametrize("spread", ["uniformity", "genre_discrepancy", "sliced_wasserstein"])
def test_each_way_to_spread_the_space_is_a_loss_that_training_lowers(spread: str) -> None:
    model = built(replace(CONFIG, spread=(spread,)))
    items = ItemBatch(items=torch.arange(CORPUS.num_items))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    values = []
    for _ in range(60):
        value = model.losses(items)[spread]
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value.detach()))
    # averages: the sphere is seen along other directions in every step
    assert sum(values[-10:]) < sum(values[:10])


def test_the_sphere_is_seen_along_other_directions_in_every_step() -> None:
    model = built(replace(CONFIG, spread=("sliced_wasserstein",)))
    items = ItemBatch(items=torch.arange(CORPUS.num_items))
    first, second = (model.losses(items)["sliced_wasserstein"].item() for _ in range(2))
    assert first != second


def test_a_word_that_spreads_nothing_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected spread to name some of uniformity, .*got 'uniform'.*'uniformity'"
    ):
        replace(CONFIG, spread=("uniform",))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"spread": ("uniformity", "uniformity")},
            "expected spread to name each once, got 'uniformity' twice",
        ),
        ({"modalities": ("image", "image")}, "expected modalities to name each once, got 'image' twice"),
        (
            {"modalities": ("image", "title")},
            "expected modalities beside the title, got the title 'title' among",
        ),
        (
            {"spread": ("genre_discrepancy",), "genres": ""},
            "expected genres where spread names 'genre_discrepancy'",
        ),
        ({"fusion_heads": 0}, "fusion_heads must be at least 1, got 0"),
        ({"fusion_heads": 3}, "expected fusion_dim to be a multiple of fusion_heads, got 8 and 3"),
        ({"fusion_rank": 0}, "fusion_rank must be at least 1, got 0"),
        (
            {"spread": ("sliced_wasserstein",), "fusion_dim": 1, "fusion_heads": 1},
            "fusion_dim must be at least 2 where spread names 'sliced_wasserstein', got 1",
        ),
    ],
)
def test_options_without_sense_are_refused_by_their_names(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        replace(CONFIG, **options)


def test_a_catalogue_without_genres_is_told_how_to_go_without() -> None:
    corpus = replace(CORPUS, modalities=tuple(one for one in CORPUS.modalities if one.name != "category"))
    with pytest.raises(ConfigError, match=r"'category'; .*, or set genres = '' where items have none$"):
        built(corpus=corpus)
    assert built(replace(CONFIG, genres=""), corpus).layer is not None


def test_another_title_leaves_the_one_of_that_name_out() -> None:
    other = replace(CONFIG, title="image")
    with pytest.raises(ConfigError, match=r"^expected modalities without 'title' where title = 'image'"):
        built(other)


def test_the_second_stage_leaves_the_fusion_layer_as_it_is() -> None:
    model = built()
    step(model, ItemBatch(items=torch.arange(CORPUS.num_items)))
    before = fusion_weights(model)
    assert step(model, HISTORIES).keys() == {"softmax"}
    assert all(torch.equal(one, before[name]) for name, one in fusion_weights(model).items())


def test_joint_tuning_moves_the_fusion_layer() -> None:
    model = built(replace(CONFIG, joint=True))
    before = fusion_weights(model)
    step(model, HISTORIES)
    assert not torch.equal(model.state_dict()["layer.fusion.anchor_map"], before["layer.fusion.anchor_map"])


def test_sampled_loss_wants_one_vector_an_item() -> None:
    with pytest.raises(ConfigError, match=r"^expected loss 'softmax' where tied is false, got 'sampled'"):
        replace(CONFIG, items="id", loss="sampled", tied=False)


@pytest.mark.parametrize("tied", [True, False])
def test_items_that_nobody_chose_are_as_loud_as_told_and_are_read_as_before(tied: bool) -> None:
    plain, loud = (built(replace(CONFIG, tied=tied, cold_scale=scale)).scorer() for scale in (1.0, 3.0))
    cold = CORPUS.popularity() == 0
    assert cold.any()
    queries = some_queries(CORPUS)
    torch.testing.assert_close(all_scores(loud, queries)[:, cold], 3 * all_scores(plain, queries)[:, cold])
    assert torch.equal(all_scores(loud, queries)[:, ~cold], all_scores(plain, queries)[:, ~cold])
    row = int(torch.nonzero(cold)[0])
    told = Queries(users=torch.tensor([-1]), histories=Histories.from_lists([[1, row, 2]]))
    assert torch.equal(loud.user_vectors(told), plain.user_vectors(told))


def test_what_the_first_stage_learns_reaches_the_second() -> None:
    model = built()
    before = all_scores(model.scorer(), some_queries(CORPUS))
    step(model, ItemBatch(items=torch.arange(CORPUS.num_items)))
    assert not torch.equal(all_scores(model.scorer(), some_queries(CORPUS)), before)


def test_the_teacher_knows_training_interactions_alone() -> None:
    """What is held out is not in the corpus; items without a training event have no place and no weight in L2."""
    cold = CORPUS.popularity() == 0
    assert cold.any()
    layer = built().layer
    assert layer is not None
    assert not layer.space[cold].any()
    assert not layer.known[cold].any()
    terms = built().losses(ItemBatch(items=torch.nonzero(cold).squeeze(1)))
    assert terms["collaborative"].item() == 0


def test_shuffled_titles_change_the_titles_alone() -> None:
    told, shuffled = built().layer, built(replace(CONFIG, shuffled_titles=True)).layer
    assert told is not None
    assert shuffled is not None
    ours, theirs = told.fusion.content, shuffled.fusion.content
    assert not torch.equal(ours.titles, theirs.titles)
    assert torch.equal(ours.titles.sort(0).values, theirs.titles.sort(0).values)
    for name, (features, _) in ours.modalities.items():
        assert torch.equal(features, theirs.modalities[name][0])


def test_an_item_without_a_title_is_refused_by_its_row() -> None:
    modalities = tuple(
        replace(one, features=one.features.clone().index_fill_(0, torch.tensor([5]), 0.0))
        if one.name == "title" and one.features is not None
        else one
        for one in CORPUS.modalities
    )
    with pytest.raises(DataError, match="title for every item, got zeros in row 5"):
        built(corpus=replace(CORPUS, modalities=modalities))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"title": "titel"}, "features of a modality 'titel'; did you mean 'title'"),
        ({"genres": "genre"}, "features of a modality 'genre'"),
        ({"modalities": ("text", "sound")}, "features of a modality 'sound'"),
    ],
)
def test_a_modality_that_is_not_there_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(replace(CONFIG, **options))  # type: ignore[arg-type]


def test_a_catalogue_without_genres_or_other_modalities_can_be_used() -> None:
    titles = tuple(one for one in CORPUS.modalities if one.name == "title")
    assert isinstance(titles[0], Modality)
    model = built(replace(CONFIG, genres=""), replace(CORPUS, modalities=titles))
    assert torch.isfinite(step(model, HISTORIES)["softmax"])


def test_the_order_of_users_is_nothing_to_the_teacher() -> None:
    order = torch.argsort(CORPUS.train.users, stable=True)
    grouped = Pairs(users=CORPUS.train.users[order], items=CORPUS.train.items[order])
    one, other = built(), built(corpus=replace(CORPUS, train=grouped))
    assert one.layer is not None
    assert other.layer is not None
    torch.testing.assert_close(one.layer.space, other.layer.space)
