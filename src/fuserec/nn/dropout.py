"""Dropout that a resumed training repeats bit by bit."""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn.draws import Draws
from fuserec.ops.dropout import dropout
from fuserec.shapes import Float

__all__ = ["Dropout"]


class Dropout(Draws):
    """`fuserec.ops.dropout.dropout` in training, nothing in evaluation. Blocks of a model may share one.

    Args:
        rate: share of values that become 0, from 0 to below 1.
        generator: draws the seed.

    Raises:
        ConfigError: the rate is none.
    """

    def __init__(self, rate: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        if not 0 <= rate < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {rate}")
        self.rate = rate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``x`` with values dropped in training."""
        if not self.training or self.rate == 0:
            return x
        return dropout(x, self.rate, generator=self.draws(x.device))
