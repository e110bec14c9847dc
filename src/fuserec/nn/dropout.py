"""Dropout that a resumed training repeats bit by bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.ops.dropout import dropout, dropout_mask
from fuserec.shapes import Bool, Float, Int

__all__ = ["Dropout"]


class Dropout(nn.Module):
    """`fuserec.ops.dropout.dropout` in training, nothing in evaluation. Blocks of a model may share one.

    Its draws follow from (seed, epoch) alone, and both are saved with the weights.

    Args:
        rate: share of values that become 0, from 0 to below 1.
        generator: draws the seed.

    Raises:
        ConfigError: the rate is none.
    """

    seed: Int[Tensor, ""]
    epoch: Int[Tensor, ""]

    def __init__(self, rate: float, *, generator: torch.Generator) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {rate}")
        self.rate = rate
        self.register_buffer("seed", torch.randint(2**62, (), generator=generator))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self._generator: torch.Generator | None = None

    def begin_epoch(self) -> None:
        """Draws of a new epoch."""
        self.epoch += 1
        self._generator = None

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``x`` with values dropped in training."""
        if not self.training or self.rate == 0:
            return x
        return dropout(x, self.rate, generator=self._draws(x.device))

    def mask(self, shape: tuple[int, ...], *, device: torch.device) -> Bool[Tensor, "*shape"]:
        """True where a thing of that shape is kept; all of it in evaluation."""
        if not self.training or self.rate == 0:
            return torch.ones(shape, dtype=torch.bool, device=device)
        return dropout_mask(shape, self.rate, generator=self._draws(device))

    def _draws(self, device: torch.device) -> torch.Generator:
        if self._generator is None or self._generator.device != device:
            # an odd factor: seeds of neighbouring epochs are no neighbours
            seed = (int(self.seed) + int(self.epoch) * 0x9E3779B97F4A7C15) % 2**63
            self._generator = torch.Generator(device).manual_seed(seed)
        return self._generator
