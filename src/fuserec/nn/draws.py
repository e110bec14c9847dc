"""Random numbers of an epoch that a resumed training draws again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.shapes import Int

__all__ = ["Draws", "begin_draws"]


class Draws(nn.Module):
    """A generator for each epoch. It follows from (seed, epoch) alone, and both are saved with the weights.

    Args:
        generator: draws the seed.
    """

    seed: Int[Tensor, ""]
    epoch: Int[Tensor, ""]

    def __init__(self, *, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**62, (), generator=generator))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self._generator: torch.Generator | None = None

    def begin_epoch(self) -> None:
        """Draws of a new epoch."""
        self.epoch += 1
        self._generator = None

    def draws(self, device: torch.device) -> torch.Generator:
        """The generator of this epoch."""
        if self._generator is None or self._generator.device != device:
            # an odd factor: seeds of neighbouring epochs are no neighbours
            seed = (int(self.seed) + int(self.epoch) * 0x9E3779B97F4A7C15) % 2**63
            self._generator = torch.Generator(device).manual_seed(seed)
        return self._generator


def begin_draws(module: nn.Module) -> None:
    """Draws of a new epoch, in every part of the module that draws."""
    for part in module.modules():
        if isinstance(part, Draws):
            part.begin_epoch()
