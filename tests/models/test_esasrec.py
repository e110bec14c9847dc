from __future__ import annotations

from typing import Any, ClassVar

import torch

from fuserec.models.esasrec import EsasrecConfig, esasrec
from fuserec.nn import LigrBlock
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus


class TestEsasrec(GradientContract):
    model: ClassVar[Any] = staticmethod(esasrec)
    config = EsasrecConfig(dim=16, num_layers=1)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01


def test_the_feed_forward_is_four_times_as_wide_in_each_of_its_maps() -> None:
    model = esasrec(EsasrecConfig(dim=12), tiny_corpus(), generator=torch.Generator().manual_seed(0))
    for block in model.next_item.encoder.blocks:
        assert isinstance(block, LigrBlock)
        assert block.feed_forward.up.out_features == 2 * 48, "gates and values"
        assert block.feed_forward.down.in_features == 48
