"""MUFASA puts its parts together as its options say: every term with its own numbers, every switch where it belongs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Histories, ItemBatch, Queries
from fuserec.losses.info_nce import info_nce_reference
from fuserec.models.collaborative_space import collaborative_space
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.nn import GatedFeedForward, LigrBlock, SparseAlignmentBlock, TransformerBlock
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.literal import randomised

CORPUS = tiny_corpus(titled=True)  # 30 items, 3 of them cold
WARM = torch.nonzero(CORPUS.popularity())[:, 0].tolist()
HISTORIES = Histories.of(CORPUS.train, num_users=CORPUS.num_users)
CONFIG = MufasaConfig(
    dim=8, num_layers=2, dropout=0.0, id_dropout=0.0, block=2, group=2, fusion_dim=8, teacher_dim=4
)


def built(config: MufasaConfig) -> Mufasa:
    model = Mufasa(config, CORPUS, generator=torch.Generator().manual_seed(0))
    model.begin_epoch()
    return model


# -- the fusion layer's losses


def unit(x: Tensor) -> Tensor:
    scaled: Tensor = x / x.norm(dim=1, keepdim=True).clamp_min(1e-8)
    return scaled


@pytest.mark.parametrize("anchor", ["title", "image"])
def test_every_term_over_items_has_its_own_vectors_masks_and_numbers(anchor: str) -> None:
    known_from = int(CORPUS.popularity().sort().values[CORPUS.num_items // 2])
    config = replace(
        CONFIG,
        anchor=anchor,
        alignment_temperature=0.5,
        same_title=0.3,
        teacher="transitions",
        teacher_temperature=0.2,
        teacher_events=known_from,
    )
    model = built(config)
    assert model.layer is not None
    items = torch.arange(CORPUS.num_items)
    found, made = model.losses(ItemBatch(items=items)), model.layer.fusion.fuse_all()
    titles = unit(model.layer.fusion.content.titles)
    alike, others = titles @ titles.T, ~torch.eye(len(items), dtype=torch.bool)
    views = [(made.fused, torch.ones_like(made.anchored))]
    views += [(made.modalities[:, m], made.present[:, m]) for m in range(made.modalities.shape[1])]
    aligned, structured = [], []
    for view, present in views:
        here = present & made.anchored
        same = (alike > 0.3)[here][:, here]
        assert bool((same & others[here][:, here]).any()), "some titles count as the same"
        aligned.append(info_nce_reference(view[here], made.anchor[here], temperature=0.5, same=same))
        cosine = unit(view[present]) @ unit(view[present]).T
        missed = (cosine - alike[present][:, present]).square()
        structured.append(missed[others[present][:, present]].mean())
    space = collaborative_space(
        CORPUS, dim=4, teacher="transitions", generator=torch.Generator().manual_seed(9)
    )
    known = CORPUS.popularity() >= known_from
    assert 2 <= int(known.sum()) < len(WARM)
    assert bool((CORPUS.popularity() == known_from).any())
    mapped = made.fused @ model.layer.collaborative_map
    distances = (made.fused[:, None] - made.fused).square().sum(2)
    expected = {
        "alignment": torch.stack(aligned).mean(),
        "collaborative": info_nce_reference(mapped[known], space[known], temperature=0.2),
        "structure": torch.stack(structured).mean(),
        "uniformity": torch.exp(-2 * distances)[others].mean().log(),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-4, msg=name)


def test_the_title_is_still_in_the_alignment_to_itself_and_moves_by_every_other_term() -> None:
    model = built(CONFIG)
    assert model.layer is not None
    weight = model.layer.fusion.anchor_map
    terms = model.losses(ItemBatch(items=torch.arange(CORPUS.num_items)))
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, [weight], retain_graph=True, materialize_grads=True)
        assert bool(gradient.any()) == (name != "alignment"), name


@pytest.mark.parametrize("joint", [False, True])
def test_the_next_item_moves_the_fusion_layer_where_tuning_is_joint(joint: bool) -> None:
    model = built(replace(CONFIG, joint=joint))
    assert model.layer is not None
    softmax = model.losses(HISTORIES)["softmax"]
    leaves = [model.layer.fusion.anchor_map, model.layer.fusion.fused_map]
    gradients = torch.autograd.grad(softmax, leaves, materialize_grads=True)
    assert [bool(one.any()) for one in gradients] == [joint, joint]


# -- the alignment layer


def test_every_option_of_the_sparse_layer_reaches_its_blocks() -> None:
    """Each other than its default, and than every other number."""
    config = replace(
        CONFIG,
        dim=12,
        num_layers=3,
        heads=3,
        dropout=0.25,
        window=7,
        block=6,
        selected=5,
        group=2,
        branches=("window", "block"),
        gated=False,
        learnt_pooling=True,
        evolution=False,
        gated_residual=True,
        gated_feed_forward=True,
    )
    encoder = built(config).next_item.encoder
    assert len(encoder.blocks) == 3
    assert encoder.dropout.rate == 0.25
    for block in encoder.blocks:
        assert isinstance(block, SparseAlignmentBlock)
        attention, pattern = block.attention, block.attention.pattern
        assert (attention.dim, attention.heads, attention.branches) == (12, 3, ("window", "block"))
        assert (pattern.window, pattern.block, pattern.selected, pattern.group) == (7, 6, 5, 2)
        assert attention.gate is None
        assert attention.pooling is not None
        assert block.evolution is None
        assert block.attention_gate is not None
        assert block.feed_forward_gate is not None
        assert block.attention_gate is not block.feed_forward_gate
        assert isinstance(block.feed_forward, GatedFeedForward)
        assert block.dropout.rate == 0.25


def test_left_alone_the_options_are_those_of_the_page() -> None:
    for block in built(CONFIG).next_item.encoder.blocks:
        assert isinstance(block, SparseAlignmentBlock)
        assert block.attention.gate is not None
        assert block.attention.pooling is None
        assert block.evolution is not None
        assert block.attention_gate is None
        assert not isinstance(block.feed_forward, GatedFeedForward)


@pytest.mark.parametrize(("gated", "kind"), [(False, TransformerBlock), (True, LigrBlock)])
def test_dense_attention_stands_in_blocks_of_as_many_weights(gated: bool, kind: type) -> None:
    options: dict[str, Any] = {"gated_residual": gated, "gated_feed_forward": gated}
    dense, sparse = (
        built(replace(CONFIG, attention=attention, evolution=False, gated=False, **options)).next_item.encoder
        for attention in ("dense", "sparse")
    )
    assert all(isinstance(block, kind) for block in dense.blocks)
    # but for the bias by distance, 24 numbers for each of two heads
    assert _weights(sparse) == _weights(dense) + 2 * 24 * 2


def _weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# -- item vectors


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tied": False},
        {"tied": False, "items": "id"},
        {"tied": False, "items": "content"},
        {"tied": False, "attention": "dense"},
        {"tied": False, "joint": True},
    ],
    ids=str,
)
def test_what_is_read_and_what_is_scored_is_the_same_in_training_and_in_serving(
    options: dict[str, Any],
) -> None:
    model = randomised(built(replace(CONFIG, **options))).float()
    scorer = model.scorer()
    assert (scorer.event is None) == model.config.tied
    row = [WARM[place] for place in (0, 5, 3, 5, 9, 1, 14, 2)]
    terms = []
    for count, item in enumerate(row):
        queries = Queries(users=torch.tensor([-1]), histories=Histories.from_lists([row[:count]]))
        scores = scorer.scores(queries, slice(0, CORPUS.num_items))[0]
        terms.append(torch.logsumexp(scores[WARM], 0) - scores[item])
    found = model.losses(Histories.from_lists([row]))["softmax"]
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-3, atol=1e-3)


def test_events_and_candidates_drop_their_ids_each_by_draws_of_their_own_anew_each_epoch() -> None:
    model = built(replace(CONFIG, tied=False, id_dropout=0.5))
    assert model.layer is not None
    assert model.event is not None
    f, dropped = model.layer.frozen(), []
    for _ in range(2):
        model.begin_epoch()
        for vectors in (model.item, model.event):
            dropped.append((vectors(f) == vectors.of_content(f)).all(1).tolist())
    assert len({tuple(rows) for rows in dropped}) == 4
    assert all(0 < sum(rows) < CORPUS.num_items for rows in dropped)
