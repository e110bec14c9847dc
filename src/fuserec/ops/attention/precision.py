"""What holds for the arithmetic of every form, whatever is switched on around a call."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from fuserec.errors import ConfigError

__all__ = ["as_given", "refuse_second_derivatives"]


def as_given(device: torch.device) -> AbstractContextManager[object]:
    """No product in lower precision than its factors have: autocast would make another function of it."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def refuse_second_derivatives(form: str) -> None:
    """To be called in a backward pass that is not differentiable itself.

    With ``create_graph`` torch would otherwise take its result for a constant, in silence.

    Raises:
        ConfigError: a graph of the backward pass is asked for.
    """
    if torch.is_grad_enabled():
        raise ConfigError(
            f"the {form} form of attention has no second derivative; use implementation='reference'"
        )
