"""What items say of themselves, before anything is learnt.

Shape legend
    B  items   C  items asked for   W  width of the titles' features   G  genres
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.errors import DataError
from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float, Int

__all__ = ["ItemContent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContent:
    """Titles, other modalities and genres of some items.

    Attributes:
        titles: (B, W) features of the titles.
        modalities: of every other modality by name its features, (B, width), and which items have it, (B,). What
            stands in the rows of the others does not matter.
        genres: (B, G) any number of genres an item, none allowed.
    """

    titles: Float[Tensor, "B W"]
    modalities: dict[str, tuple[Float[Tensor, "B _"], Bool[Tensor, " B"]]]
    genres: Bool[Tensor, "B G"]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.titles)

    def rows(self, items: Int[Tensor, " C"] | slice) -> ItemContent:
        """Those of the given items."""
        return ItemContent(
            titles=self.titles[items],
            modalities={
                name: (features[items], present[items])
                for name, (features, present) in self.modalities.items()
            },
            genres=self.genres[items],
        )

    def standardised(self) -> ItemContent:
        """Unit rows, and zeros where an item lacks a modality.

        Everything that reads features here compares directions: the encoders' answers are scaled to unit length, titles are
        compared by cosine. The length of a row is whatever its encoder or a picture's contrast made of it, and unit rows give
        every modality's map the same scale to start from. Nothing is measured over the catalogue, so an item that comes
        later is standardised as if it had always been there.

        Raises:
            DataError: a title has no direction, or a present feature row is not finite.
        """
        _check_finite("title", self.titles)
        without = torch.nonzero(~self.titles.any(1)).squeeze(1)
        if len(without):
            raise DataError(
                f"expected features of a title for every item, got zeros in row {int(without[0])}; give the text of its "
                "categories in its place, or leave the item out"
            )
        modalities = {}
        for name, (features, present) in self.modalities.items():
            known = torch.where(present[:, None], features, 0.0)
            _check_finite(name, known)
            modalities[name] = (unit_or_zero(known), present)
        return ItemContent(titles=unit_or_zero(self.titles), modalities=modalities, genres=self.genres)


def _check_finite(name: str, features: Float[Tensor, "B _"]) -> None:
    wrong = torch.nonzero(~features.isfinite().all(1)).squeeze(1)
    if len(wrong):
        raise DataError(
            f"expected finite features of {name!r}, got NaN or infinity in row {int(wrong[0])}; encode it again"
        )
