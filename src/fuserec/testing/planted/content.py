"""What titles and images show of what items are about.

Shape legend
    I  items   N  rotations   W  their width
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.batch import Modality
from fuserec.shapes import Float

__all__ = ["blurred", "everywhere", "rotations"]


def rotations(count: int, width: int, *, generator: torch.Generator) -> Float[Tensor, "N W W"]:
    """(count, width, width) axes turned at random; lengths and angles stay."""
    turned: Tensor = torch.linalg.qr(torch.randn(count, width, width, generator=generator)).Q
    return turned


def blurred(x: Float[Tensor, "I W"], noise: float, *, generator: torch.Generator) -> Float[Tensor, "I W"]:
    """With noise of that size added to every number."""
    return x + noise * torch.randn(x.shape, generator=generator)


def everywhere(name: str, features: Float[Tensor, "I W"]) -> Modality:
    """A modality that every item has."""
    return Modality(name=name, present=torch.ones(len(features), dtype=torch.bool), features=features)
