"""Linear layers that never draw from the global random state."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["normal_linear"]


def normal_linear(
    inputs: int, outputs: int, *, generator: torch.Generator, bias: bool = True, std: float = 0.02
) -> nn.Linear:
    """W x + b, W drawn from a normal distribution with that standard deviation, and b zero."""
    # skip_init: nn.Linear would draw from the global random state first
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    assert isinstance(layer, nn.Linear)
    nn.init.normal_(layer.weight, std=std, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
