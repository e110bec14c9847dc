from __future__ import annotations

from typing import Any, ClassVar

import torch

from fuserec.models.sasrec import SasrecConfig, sasrec
from fuserec.nn import TransformerBlock
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus


class TestSasrec(GradientContract):
    model: ClassVar[Any] = staticmethod(sasrec)
    config = SasrecConfig(dim=16, num_layers=1)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01


def test_the_feed_forward_is_four_times_as_wide() -> None:
    model = sasrec(SasrecConfig(dim=12), tiny_corpus(), generator=torch.Generator().manual_seed(0))
    for block in model.next_item.encoder.blocks:
        assert isinstance(block, TransformerBlock)
        assert block.feed_forward.up.out_features == block.feed_forward.down.in_features == 48
