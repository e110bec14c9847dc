"""Weights that are never drawn from the global random state."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["normal_linear", "xavier_linear", "xavier_uniform"]

STD = 0.02
"""Standard deviation of what is drawn from a normal distribution."""


def normal_linear(inputs: int, outputs: int, *, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """W x + b, W drawn from a normal distribution of standard deviation .02, and b zero."""
    layer = _linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=STD, generator=generator)
    return layer


def xavier_linear(inputs: int, outputs: int, *, generator: torch.Generator) -> nn.Linear:
    """W x + b, W drawn within Xavier's bound and b zero."""
    layer = _linear(inputs, outputs, bias=True)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    return layer


def xavier_uniform(rows: int, columns: int, *, generator: torch.Generator) -> nn.Parameter:
    """(rows, columns) parameter, drawn within Xavier's bound."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator))


def _linear(inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """W not drawn yet, and b zero."""
    # skip_init: nn.Linear would draw from the global random state first
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    assert isinstance(layer, nn.Linear)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
