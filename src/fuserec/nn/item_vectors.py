"""Vectors of all items, which events are read as and candidates are scored by.

Shape legend
    I  items   N  any items   D  width   F  width of the fused content
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.nn.dropout import Dropout
from fuserec.nn.linear import normal_linear
from fuserec.shapes import Bool, Float, Int

__all__ = ["IdItems", "ItemVectors"]


class IdItems(nn.Module):
    """One learnt vector an item.

    Args:
        num_items: I.
        dim: D.
        generator: draws the vectors.
        sparse: rows that are looked up have a gradient, and no others; all of them have one otherwise. The name is that of
            `torch.nn.Embedding`: by it the training loop knows which optimiser to take.
    """

    def __init__(self, num_items: int, dim: int, *, generator: torch.Generator, sparse: bool = False) -> None:
        super().__init__()
        self.sparse = sparse
        self.weight = nn.Parameter(torch.empty(num_items, dim).normal_(std=0.02, generator=generator))

    def forward(self) -> Float[Tensor, "I D"]:
        """(I, D) as a step of training has them."""
        return self.weight

    def rows(self, items: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """(N, D) of these items as a step of training has them."""
        return F.embedding(items, self.weight, sparse=self.sparse)

    def served(self, warm: Bool[Tensor, " I"]) -> Float[Tensor, "I D"]:
        """(I, D) as they are served; zero for items that nothing trained."""
        return torch.where(warm[:, None], self.weight, 0.0)


class ItemVectors(nn.Module):
    """v_i = W_1 f_i + e_i keep_i / p: content, and what training adds to it for items with interactions.

    Source: MUFASA, docs/papers/mufasa.md, Eq. (V). Without the dropped rows training would put into e_i what content could say,
    and an item without e_i would be served badly. Either part may be left out.

    Args:
        width: F of the content; None leaves W_1 f out, and e is all.
        num_items: I.
        dim: D.
        dropout: share of items whose e_i is dropped in a step, where there is content beside it; None leaves e out, and
            content is all.
        generator: draws W_1 and e.
        sparse: of e, see `IdItems`.

    Raises:
        ConfigError: neither part is left.
    """

    def __init__(
        self,
        width: int | None,
        num_items: int,
        dim: int,
        *,
        dropout: float | None,
        generator: torch.Generator,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        if width is None and dropout is None:
            raise ConfigError("expected content, IDs or both to make item vectors of, got neither")
        # f is a unit vector, so W_1 f and e begin with the same norm
        self.map = None if width is None else normal_linear(width, dim, generator=generator, bias=False)
        self.dropout = None if width is None or dropout is None else Dropout(dropout, generator=generator)
        self.ids = None if dropout is None else IdItems(num_items, dim, generator=generator, sparse=sparse)

    def forward(self, content: Float[Tensor, "I F"] | None) -> Float[Tensor, "I D"]:
        """(I, D) as a step of training has them.

        Args:
            content: (I, F) f; None where there is none.
        """
        if content is None or self.map is None:
            alone: Tensor = self._ids()()
            return alone
        if self.dropout is None:
            return self.of_content(content)
        kept_I1: Tensor = self.dropout(content.new_ones(len(content), 1))
        ids_ID: Tensor = self._ids()()
        return self.of_content(content) + kept_I1 * ids_ID

    def served(self, content: Float[Tensor, "I F"] | None, warm: Bool[Tensor, " I"]) -> Float[Tensor, "I D"]:
        """(I, D) as they are served: items that nothing trained by content alone, or zero."""
        if content is None or self.map is None:
            return self._ids().served(warm)
        mapped = self.of_content(content)
        return mapped if self.ids is None else mapped + self.ids.served(warm)

    def of_content(self, content: Float[Tensor, "N F"]) -> Float[Tensor, "N D"]:
        """(N, D) of items by content alone."""
        assert self.map is not None
        mapped: Tensor = self.map(content)
        return mapped

    def _ids(self) -> IdItems:
        assert self.ids is not None
        return self.ids
