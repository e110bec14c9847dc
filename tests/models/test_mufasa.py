from __future__ import annotations

from typing import Any, ClassVar

from fuserec.batch import Corpus
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
