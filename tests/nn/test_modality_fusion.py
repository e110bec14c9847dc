from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError, DataError
from fuserec.losses import structure, title_alignment, uniformity
from fuserec.nn import Fused, FusionLayer, ItemContent
from fuserec.nn.genre_encoder import GenreEncoder
from fuserec.nn.modality_fusion import CrossAttention

FUSIONS = ["attention", "concat", "mean"]
ANCHORS = ["title", "image", "learnt"]
ITEMS, GENRES = 12, 3


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_content(seed: int = 0, count: int = ITEMS) -> ItemContent:
    """Items of which some lack a modality, some have several genres and the last has none."""
    draw = rng(seed)
    genres = torch.rand(count, GENRES, generator=draw) > 0.5
    genres[-1] = False
    image_present = torch.arange(count) % 3 != 0
    text_present = torch.arange(count) % 4 != 1
    return ItemContent(
        titles=torch.randn(count, 6, generator=draw).double(),
        modalities={
            "text": (torch.randn(count, 5, generator=draw).double(), text_present),
            "image": (torch.randn(count, 7, generator=draw).double(), image_present),
        },
        genres=genres,
    )


def layer(content: ItemContent | None = None, **options: Any) -> FusionLayer:
    """In float64, every parameter drawn so that it matters, also the corrections."""
    chosen: dict[str, Any] = {"dim": 8, "rank": 2, "num_heads": 2, "min_items": 1, "generator": rng()}
    made = FusionLayer(content or some_content(), **{**chosen, **options}).double()
    draw = rng(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return made


def by_name(fused: Fused) -> dict[str, Tensor]:
    return {field.name: getattr(fused, field.name) for field in fields(Fused)}


def unit(x: Tensor) -> Tensor:
    scaled: Tensor = x / x.norm(dim=-1, keepdim=True)
    return scaled


def heads(made: FusionLayer, query: Tensor, sources: Tensor) -> Tensor:
    """Multi-head attention of one query over the sources that there are, head by head."""
    attention = made.attention
    assert isinstance(attention, CrossAttention)
    width = len(query) // attention.num_heads
    answers = []
    for head in range(attention.num_heads):
        part = slice(head * width, (head + 1) * width)
        q, k, v = (
            linear(x)[..., part]
            for linear, x in (
                (attention.query, query),
                (attention.key, sources),
                (attention.value, sources),
            )
        )
        answers.append(torch.softmax(k @ q / width**0.5, 0) @ v)
    answer: Tensor = attention.output(torch.cat(answers))
    return answer


def literal(made: FusionLayer, item: int) -> tuple[Tensor, Tensor]:
    """p and f of one item, from the sources that it has and no mask."""
    content = some_content()
    known = {"title": (content.titles, torch.ones(ITEMS, dtype=torch.bool)), **content.modalities}
    has_anchor = True
    if made.anchor == "learnt":
        p = unit(made.anchor_vector[0])
    else:
        features, present = known[made.anchor]
        has_anchor = bool(present[item])
        p = unit(features[item] @ made.anchor_map) if has_anchor else torch.zeros(8, dtype=torch.float64)
    views = {}
    for name in made.names:
        features, present = known[name]
        if present[item]:
            encoder = made.encoders[f"{name}_encoder"]
            views[name] = encoder(unit(features[item])[None], content.genres[item][None])[0]
    sources = torch.stack([p, *views.values()] if has_anchor else list(views.values()))
    if made.fusion == "attention":
        gathered = heads(made, p, sources)
    elif made.fusion == "concat":
        absent = torch.zeros(8, dtype=torch.float64)
        gathered = made.side_by_side(torch.cat([p, *(views.get(name, absent) for name in made.names)]))
    else:
        gathered = sources.mean(0)
    return p, unit(made.norm(p + gathered) @ made.fused_map)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_batch_is_its_items_one_by_one(fusion: str, anchor: str) -> None:
    made = layer(fusion=fusion, anchor=anchor)
    items = torch.tensor([3, 0, 11, 5, 3])
    found = made(items)
    for row, item in enumerate(items.tolist()):
        p, f = literal(made, item)
        torch.testing.assert_close(found.anchor[row], p)
        torch.testing.assert_close(found.fused[row], f)
    assert found.modalities.shape == (5, len(made.names), 8)
    lengths = found.modalities.norm(dim=2)
    torch.testing.assert_close(lengths, found.present.double())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_in_the_row_of_an_absent_modality_does_not_matter(fusion: str) -> None:
    content = some_content()
    garbage = {
        name: (torch.where(present[:, None], features, 1e3 * torch.ones_like(features)), present)
        for name, (features, present) in content.modalities.items()
    }
    other = ItemContent(titles=content.titles, modalities=garbage, genres=content.genres)
    items = torch.arange(ITEMS)
    found, expected = by_name(layer(other, fusion=fusion)(items)), by_name(layer(fusion=fusion)(items))
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("anchor", ANCHORS)
def test_an_absent_modality_gets_no_gradient_and_gives_none(anchor: str) -> None:
    made = layer(anchor=anchor)
    items = torch.tensor([1])  # has an image and no text
    (made(items).fused * torch.arange(8.0)).sum().backward()
    text = made.encoders["text_encoder"]
    assert isinstance(text, GenreEncoder)
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in text.parameters())


def test_the_shared_anchor_tells_no_item_apart_and_the_title_is_one_modality_more() -> None:
    made = layer(anchor="learnt")
    found = made(torch.arange(ITEMS))
    assert made.names == ("title", "text", "image")
    assert bool((found.anchor == found.anchor[0]).all())
    assert found.anchored.all()
    assert found.present[:, 0].all()
    assert not torch.allclose(found.fused[0], found.fused[1])


def test_an_item_without_the_anchor_is_made_of_what_it_has() -> None:
    made = layer(anchor="image")
    found = made(torch.arange(ITEMS))
    assert made.names == ("title", "text")
    assert found.anchored.tolist() == some_content().modalities["image"][1].tolist()
    assert not found.anchor[~found.anchored].any()
    torch.testing.assert_close(found.fused.norm(dim=1), torch.ones(ITEMS, dtype=torch.float64))


def test_views_are_what_is_fused_and_then_the_modalities() -> None:
    found = layer()(torch.arange(5))
    assert found.views.shape == (3, 5, 8)
    assert torch.equal(found.views[0], found.fused)
    assert torch.equal(found.views[2], found.modalities[:, 1])
    assert torch.equal(found.views_to_align, found.views)
    assert found.views_present[0].all()
    assert torch.equal(found.views_present[1:].T, found.present)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("rows", [1, 5, 100])
def test_all_items_in_parts_are_all_items_at_once(fusion: str, rows: int) -> None:
    made = layer(fusion=fusion)
    found, expected = made.fuse_all(rows=rows), made(torch.arange(ITEMS))
    torch.testing.assert_close(by_name(found), {name: x.detach() for name, x in by_name(expected).items()})
    assert not found.fused.requires_grad


def test_an_item_that_comes_later_is_fused_as_if_it_had_been_there() -> None:
    made, content = layer(), some_content()
    later = content.rows(torch.tensor([7, 2]))
    torch.testing.assert_close(
        made.fuse_all(later).fused, made(torch.tensor([7, 2])).fused.detach(), rtol=1e-10, atol=1e-12
    )
    assert made.fuse_all(content.rows(slice(0, 0))).fused.shape == (0, 8)


def test_later_items_with_other_content_are_refused() -> None:
    made, content = layer(), some_content()
    fewer = ItemContent(
        titles=content.titles, modalities={"text": content.modalities["text"]}, genres=content.genres
    )
    with pytest.raises(DataError, match=r"expected content of the widths \{'title': 6, .*, got \{'title': 6"):
        made.fuse_all(fewer)
    wider = ItemContent(
        titles=content.titles, modalities=content.modalities, genres=content.genres[:, [0, 1, 2, 0]]
    )
    with pytest.raises(DataError, match="'genres': 4"):
        made.fuse_all(wider)


def test_a_genre_is_rare_by_the_items_that_have_it_and_the_modality() -> None:
    content = some_content()
    counts = {
        name: (content.genres & present[:, None]).sum(0) for name, (_, present) in content.modalities.items()
    }
    least = int(counts["text"].sort().values[1])
    made = layer(min_items=least)
    for name, count in counts.items():
        encoder = made.encoders[f"{name}_encoder"]
        assert isinstance(encoder, GenreEncoder)
        assert torch.equal(encoder.adapted, count >= least)


def test_features_are_no_part_of_the_saved_state_and_the_rest_brings_the_layer_back() -> None:
    made, other = layer(), layer(generator=rng(9))
    assert not any("features" in name or "titles" in name for name in made.state_dict())
    items = torch.arange(ITEMS)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(items).fused, made(items).fused)


def test_every_weight_learns_from_what_is_fused() -> None:
    for fusion in FUSIONS:
        for anchor in ANCHORS:
            made = layer(fusion=fusion, anchor=anchor)
            (made(torch.arange(ITEMS)).fused * torch.arange(8.0)).sum().backward()
            still = [
                name for name, each in made.named_parameters() if each.grad is None or not each.grad.any()
            ]
            # softmax does not see what is added to every logit
            assert still in ([], ["attention.key.bias"]), (fusion, anchor)


def test_the_title_moves_by_all_losses_but_the_alignment_to_itself() -> None:
    content, items = some_content(), torch.arange(ITEMS)

    def gradients(term: str) -> tuple[Tensor, Tensor, Tensor]:
        made = layer()
        found = made(items)
        options: dict[str, Any] = {"titles": content.titles, "items": items}
        if term == "alignment":
            loss = title_alignment(
                found.views_to_align,
                found.anchor,
                present=found.views_present & found.anchored,
                temperature=0.07,
                **options,
            )
        elif term == "structure":
            loss = structure(found.views, present=found.views_present, **options)
        else:
            loss = uniformity(found.fused, items=items)
        encoder = made.encoders["text_encoder"]
        assert isinstance(encoder, GenreEncoder)
        leaves = [made.anchor_map, encoder.shared.weight, made.fused_map]
        of_title, of_text, of_fused = torch.autograd.grad(loss, leaves, materialize_grads=True)
        return of_title, of_text, of_fused

    for term, title_moves in (("alignment", False), ("structure", True), ("uniformity", True)):
        of_title, of_text, of_fused = gradients(term)
        assert bool(of_title.any()) == title_moves, term
        assert of_text.any(), term
        assert of_fused.any(), term


def test_only_the_given_generator_is_drawn_from() -> None:
    before = torch.random.get_rng_state()
    for fusion in FUSIONS:
        one, same = (FusionLayer(some_content(), dim=8, fusion=fusion, generator=rng(3)) for _ in range(2))
        for a, b in zip(one.parameters(), same.parameters(), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "atention"}, "expected a known fusion, got 'atention'; did you mean 'attention'"),
        ({"anchor": "imag"}, "expected a known anchor, got 'imag'; did you mean 'image'"),
        ({"num_heads": 3}, "expected dim to be a multiple of num_heads, got dim = 8 and num_heads = 3"),
        ({"num_heads": 0}, "got dim = 8 and num_heads = 0"),
        ({"rank": 0}, "rank must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer(**options)


def test_a_modality_may_not_take_the_name_of_what_stands_beside_it() -> None:
    content = some_content()
    taken = ItemContent(
        titles=content.titles, modalities={"title": content.modalities["text"]}, genres=content.genres
    )
    with pytest.raises(ConfigError, match=r"modalities of other names than \['title'\]; rename them"):
        layer(taken)
