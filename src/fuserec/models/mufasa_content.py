"""Which modalities of a catalogue are MUFASA's titles, its genres and the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.batch import Modality
from fuserec.errors import ConfigError, nearest
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.nn.item_content import ItemContent
from fuserec.nn.modality_fusion import TITLE

__all__ = ["content_names", "item_content"]


def content_names(modalities: tuple[Modality, ...], config: MufasaConfig) -> tuple[str, ...]:
    """The modalities that a model reads: the title, the others, and the genres where it asks for them."""
    return (config.title, *_others(modalities, config), *filter(None, [config.genres]))


def item_content(modalities: tuple[Modality, ...], config: MufasaConfig) -> ItemContent:
    """Titles, the other modalities and the genres of some items, as the options name them.

    Raises:
        ConfigError: a name is no modality with features.
    """
    known = {one.name: one for one in modalities if one.features is not None}
    for name in content_names(modalities, config):
        if name not in known:
            without = ", or set genres = '' where items have none" if name == config.genres else ""
            raise ConfigError(
                f"expected features of a modality {name!r}; {nearest(name, known)}, or make them with 'fuserec features'{without}"
            )
    if config.title != TITLE and TITLE in _others(modalities, config):
        raise ConfigError(
            f"expected modalities without 'title' where title = {config.title!r}, got it among them; name those to use in "
            "modalities, without 'title'"
        )

    def features(name: str) -> Tensor:
        values = known[name].features
        assert values is not None
        return values.float()

    titles = features(config.title)
    genres = features(config.genres) != 0 if config.genres else torch.zeros(len(titles), 0, dtype=torch.bool)
    return ItemContent(
        titles=titles,
        modalities={name: (features(name), known[name].present) for name in _others(modalities, config)},
        genres=genres,
    )


def _others(modalities: tuple[Modality, ...], config: MufasaConfig) -> tuple[str, ...]:
    named = (one.name for one in modalities if one.features is not None)
    return config.modalities or tuple(name for name in named if name not in (config.title, config.genres))
