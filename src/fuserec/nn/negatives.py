"""A sample of the catalogue in place of all of it.

Shape legend
    I  items   W  items with a training interaction   N  negatives
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fuserec.nn.draws import Draws
from fuserec.shapes import Float, Int

__all__ = ["Law", "Negatives"]

Law = Literal["uniform", "popularity"]

POWERS: dict[Law, float] = {"uniform": 0.0, "popularity": 0.75}
"""What popularities are raised to. Source of .75: "Distributed Representations of Words and Phrases and their
Compositionality" (arXiv 1310.4546), section 2.2."""


class Negatives(Draws):
    """Items drawn with replacement, one sample for a whole batch, and how often each was to be expected in it.

    Items without a training interaction are never drawn.

    Args:
        popularity: (I,) training interactions of each item.
        number: N, at least 1.
        law: "uniform", or "popularity": by its power .75.
        generator: draws the seed.
    """

    items_W: Int[Tensor, " W"]
    upto_W: Float[Tensor, " W"]
    log_expected_W: Float[Tensor, " W"]

    def __init__(
        self, popularity: Int[Tensor, " I"], *, number: int, law: Law, generator: torch.Generator
    ) -> None:
        super().__init__(generator=generator)
        self.number = number
        items_W = torch.nonzero(popularity)[:, 0]
        weight_W = popularity[items_W].double() ** POWERS[law]
        share_W = weight_W / weight_W.sum()
        self.register_buffer("items_W", items_W, persistent=False)
        self.register_buffer("upto_W", share_W.cumsum(0), persistent=False)
        self.register_buffer("log_expected_W", (number * share_W).log().float(), persistent=False)

    def forward(self) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
        """(N,) item rows, and the logarithm of how often each is expected among them."""
        device = self.upto_W.device
        places_N = torch.rand(self.number, dtype=torch.float64, generator=self.draws(device), device=device)
        # the sum of all shares may round to a little less than 1
        drawn_N = torch.searchsorted(self.upto_W, places_N, right=True).clamp(max=len(self.items_W) - 1)
        return self.items_W[drawn_N], self.log_expected_W[drawn_N]
