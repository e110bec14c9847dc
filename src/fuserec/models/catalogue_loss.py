"""Options that all models of the next item share: their width, their dropout and their loss over a catalogue."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch

from fuserec.batch import Corpus
from fuserec.errors import ConfigError, nearest
from fuserec.nn.negatives import Law, Negatives

__all__ = ["Loss", "check_next_item", "negatives_for"]

Loss = Literal["softmax", "sampled"]


def check_next_item(config: Any) -> None:
    """Check the options ``dim``, ``dropout``, ``loss``, ``num_negatives`` and ``negatives`` of a model.

    Raises:
        ConfigError: one of them has no sense.
    """
    if config.dim < 1:
        raise ConfigError(f"dim must be at least 1, got {config.dim}")
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"dropout must be from 0 to below 1, got {config.dropout}")
    for name, kind in (("loss", Loss), ("negatives", Law)):
        if (value := getattr(config, name)) not in get_args(kind):
            raise ConfigError(
                f"expected {name} to be one of {', '.join(get_args(kind))}, got {value!r}; "
                f"{nearest(value, get_args(kind))}"
            )
    if config.num_negatives < 1:
        raise ConfigError(f"num_negatives must be at least 1, got {config.num_negatives}")


def negatives_for(config: Any, corpus: Corpus, *, generator: torch.Generator) -> Negatives | None:
    """What stands in for the catalogue in a step of training; None for the whole catalogue.

    Args:
        config: of a model, with the options of `check_next_item`.
        corpus: training interactions.
        generator: draws the seed.
    """
    if config.loss == "softmax":
        return None
    return Negatives(
        corpus.popularity(), number=config.num_negatives, law=config.negatives, generator=generator
    )
