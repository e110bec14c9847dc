"""A corpus with a planted structure: what each loss and each part claims is there with it, and less so without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from fuserec.losses import (
    collaborative_alignment,
    genre_discrepancy,
    sliced_wasserstein,
    structure,
    title_alignment,
    uniformity,
)
from fuserec.metrics.space import space_diagnostics
from fuserec.nn import Fused, FusionLayer, ItemContent, xavier_uniform

pytestmark = pytest.mark.slow

ITEMS, GENRES, LATENT, DIM = 120, 3, 6, 16
ALL = ("title_alignment", "collaborative_alignment", "structure", "uniformity")


@dataclass(frozen=True)
class Planted:
    content: ItemContent
    collaborative: Tensor


@cache
def planted() -> Planted:
    """Titles and pictures tell of the same six traits, but every genre draws its pictures in a way of its own.

    Interactions follow three of the traits, and three habits that pictures alone tell of.
    """
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    traits, habits = draw(ITEMS, LATENT), draw(ITEMS, 3)
    genre = torch.arange(ITEMS) % GENRES
    genres = genre[:, None] == torch.arange(GENRES)
    pictures = torch.einsum("bl,blw->bw", torch.cat([traits, habits], 1), draw(GENRES, LATENT + 3, 12)[genre])
    present = torch.rand(ITEMS, generator=rng) > 0.1
    content = ItemContent(
        titles=traits @ draw(LATENT, 20) + 0.3 * draw(ITEMS, 20),
        modalities={"image": (pictures + 0.1 * draw(ITEMS, 12), present)},
        genres=genres,
    )
    return Planted(content, torch.cat([traits[:, :3], habits], 1))


Terms = Callable[[Fused, Tensor], dict[str, Tensor]]


def all_terms(found: Fused, mapped: Tensor) -> dict[str, Tensor]:
    """The four losses of the layer, with the weights to start from."""
    items, titles = torch.arange(ITEMS), planted().content.titles
    return {
        "title_alignment": title_alignment(
            found.views_to_align,
            found.anchor,
            present=found.views_present & found.anchored,
            titles=titles,
            items=items,
            temperature=0.07,
            same_above=0.95,
        ),
        "collaborative_alignment": collaborative_alignment(
            mapped,
            planted().collaborative,
            known=torch.ones(ITEMS, dtype=torch.bool),
            items=items,
            temperature=0.1,
        ),
        "structure": structure(found.views, titles, present=found.views_present, items=items),
        "uniformity": 0.1 * uniformity(found.fused, items=items),
    }


def trained(
    terms: Terms = all_terms,
    *,
    kept: tuple[str, ...] = ALL,
    min_items: int = 1,
    anchor: str = "title",
    steps: int = 60,
) -> FusionLayer:
    rng = torch.Generator().manual_seed(1)
    layer = FusionLayer(
        planted().content, dim=DIM, rank=4, num_heads=2, min_items=min_items, anchor=anchor, generator=rng
    )
    to_collaborative = nn.Parameter(xavier_uniform(DIM, 6, generator=rng))
    optimiser = torch.optim.Adam([*layer.parameters(), to_collaborative], lr=0.02)
    for _ in range(steps):
        found = layer(torch.arange(ITEMS))
        values = terms(found, found.fused @ to_collaborative)
        optimiser.zero_grad()
        torch.stack([values[name] for name in kept]).sum().backward()
        optimiser.step()
    return layer


def measured(layer: FusionLayer) -> dict[str, float]:
    found, content = layer.fuse_all(), planted().content
    features, present = content.modalities["image"]
    return space_diagnostics(
        anchor=found.anchor,
        fused=found.fused,
        titles=content.titles,
        genres=content.genres,
        modalities={"image": (found.modalities[:, 0], features, present)},
        collaborative=planted().collaborative,
        known=torch.ones(ITEMS, dtype=torch.bool),
        generator=torch.Generator().manual_seed(2),
    )


@cache
def with_all() -> dict[str, float]:
    return measured(trained())


@cache
def without(name: str) -> dict[str, float]:
    return measured(trained(kept=tuple(each for each in ALL if each != name)))


# -- each loss: what it claims is there when it alone is minimised, and falls when it alone is left out


def test_alignment_finds_items_from_their_titles_across_genres() -> None:
    lost = without("title_alignment")
    for view in ("fused", "image"):
        assert with_all()[f"title_retrieval@1/{view}"] > 0.5
        assert lost[f"title_retrieval@1/{view}"] < 0.2


def test_collaborative_alignment_brings_items_near_that_the_same_users_have() -> None:
    lost = without("collaborative_alignment")
    assert with_all()["collaborative_correlation"] > lost["collaborative_correlation"] + 0.02
    alone = measured(trained(kept=("collaborative_alignment",)))
    assert alone["collaborative_correlation"] > 0.7


def test_structure_keeps_the_order_of_the_titles() -> None:
    assert with_all()["title_rank_correlation"] > without("structure")["title_rank_correlation"] + 0.02
    assert measured(trained(kept=("structure",)))["title_rank_correlation"] > 0.98


def test_structure_holds_up_a_space_that_attraction_alone_collapses() -> None:
    def attraction(found: Fused, mapped: Tensor) -> dict[str, Tensor]:
        everywhere = 1.0 - (found.fused * found.fused.roll(1, 0)).sum(1).mean()
        return {"attraction": 0.3 * everywhere, "structure": all_terms(found, mapped)["structure"]}

    held = measured(trained(attraction, kept=("attraction", "structure")))
    collapsed = measured(trained(attraction, kept=("attraction",)))
    assert collapsed["effective_rank/fused"] < 3.0
    assert collapsed["uniformity"] > -0.5
    assert held["effective_rank/fused"] > 5.0


def test_uniformity_spreads_the_items() -> None:
    assert with_all()["uniformity"] < without("uniformity")["uniformity"] - 0.04
    alone = measured(trained(kept=("uniformity",)))
    assert alone["uniformity"] < with_all()["uniformity"] - 0.3
    assert alone["effective_rank/fused"] > with_all()["effective_rank/fused"] + 2


# -- the switches of the fourth


def test_the_discrepancy_of_genres_brings_them_together() -> None:
    genres = planted().content.genres

    def switched(found: Fused, mapped: Tensor) -> dict[str, Tensor]:
        return {**all_terms(found, mapped), "genres": 10.0 * genre_discrepancy(found.fused, genres)}

    mixed = measured(trained(switched, kept=("structure", "genres")))
    apart = measured(trained(kept=("structure",)))
    assert mixed["genre_distance"] < 0.8 * apart["genre_distance"]


def test_the_distance_to_the_sphere_spreads_the_items_too() -> None:
    rng = torch.Generator().manual_seed(3)

    def switched(found: Fused, mapped: Tensor) -> dict[str, Tensor]:
        return {"sphere": 10.0 * sliced_wasserstein(found.fused, num_directions=32, generator=rng)}

    assert measured(trained(switched, kept=("sphere",)))["uniformity"] < with_all()["uniformity"] - 0.1


# -- the parts of the layer


def test_corrections_align_genres_that_say_the_same_in_ways_of_their_own() -> None:
    shared_alone = measured(trained(min_items=ITEMS + 1))
    assert shared_alone["title_retrieval@1/image"] < 0.5 < with_all()["title_retrieval@1/image"]


def test_alignment_alone_forgets_what_pictures_alone_tell() -> None:
    aligned = measured(trained(kept=("title_alignment",)))
    assert aligned["title_retrieval@1/fused"] > 0.95
    assert aligned["probe/image"] < without("title_alignment")["probe/image"] - 0.05


def test_the_title_moves_although_alignment_holds_it_still() -> None:
    def moved(*kept: str) -> bool:
        start = FusionLayer(
            planted().content,
            dim=DIM,
            rank=4,
            num_heads=2,
            min_items=1,
            generator=torch.Generator().manual_seed(1),
        )
        return not torch.equal(trained(kept=kept, steps=2).anchor_map, start.anchor_map)

    assert not moved("title_alignment")
    for name in ALL[1:]:
        assert moved("title_alignment", name), name


def test_one_anchor_for_all_leaves_nothing_to_be_found_by() -> None:
    learnt = trained(anchor="learnt")
    found = learnt.fuse_all()
    value = all_terms(found, torch.zeros(ITEMS, 6))["title_alignment"]
    # the anchor tells no two items apart: in one direction nothing is better than log N
    negatives = torch.tensor(float(ITEMS)).log()
    assert float(value) > 0.45 * float(negatives)
    assert measured(learnt)["title_retrieval@1/fused"] < 0.1
