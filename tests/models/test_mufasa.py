from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from fuserec.batch import Corpus
from fuserec.metrics.space import effective_rank
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus


class TestMufasa(GradientContract):
    model: ClassVar[Any] = Mufasa
    config = MufasaConfig(dim=16, num_layers=1, block=2, group=2, fusion_dim=16, teacher_dim=8, joint=True)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01
    # the other half of an adapter begins at zero
    without_gradient: ClassVar[frozenset[str]] = frozenset(
        f"layer.fusion.encoders.{name}_encoder.down" for name in ("image", "text")
    )

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(titled=True, repeats=repeats)


class TestMufasaUntied(TestMufasa):
    config = replace(TestMufasa.config, tied=False)


@pytest.mark.parametrize("anchor", ["title", "image", "learnt"])
def test_what_the_fusion_layer_made_is_told_the_same_whenever_it_is_asked(anchor: str) -> None:
    corpus = tiny_corpus(titled=True)
    config = replace(TestMufasa.config, anchor=anchor)
    model = Mufasa(config, corpus, generator=torch.Generator().manual_seed(0))
    before = {name: one.clone() for name, one in model.state_dict().items()}
    told = model.diagnostics()
    assert model.diagnostics() == told
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    beside = {"title", "image", "text"} - {anchor}
    assert {name.partition("/")[2] for name in told if name.startswith("probe/")} == beside
    assert {name.partition("/")[2] for name in told if name.startswith("effective_rank/")} == {
        "fused",
        "anchor",
        *beside,
    }
    assert told["effective_rank/fused"] == pytest.approx(effective_rank(model.layer.fusion.fuse_all().fused))  # type: ignore[union-attr]


def test_a_model_without_content_has_nothing_to_tell() -> None:
    config = replace(TestMufasa.config, items="id")
    assert Mufasa(config, tiny_corpus(), generator=torch.Generator()).diagnostics() == {}
