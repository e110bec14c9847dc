"""Models and scorers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fuserec.batch import Corpus
from fuserec.errors import ConfigError, nearest
from fuserec.models.bpr_mf import BprMf, BprMfConfig
from fuserec.models.content_graph import (
    EaseContent,
    EaseContentConfig,
    ItemKnnContent,
    ItemKnnContentConfig,
)
from fuserec.models.content_knn import ContentKnn, ContentKnnConfig
from fuserec.models.ease import Ease, EaseConfig
from fuserec.models.freedom import Freedom, FreedomConfig
from fuserec.models.item_knn import ItemKnn, ItemKnnConfig
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.models.mgcn import Mgcn, MgcnConfig
from fuserec.models.pair_fusion import PairFusion
from fuserec.models.popularity import Popularity, PopularityConfig, PopularityScorer
from fuserec.models.protocol import ClosedForm, Gradient, Scorer
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.models.two_tower import TwoTower

__all__ = ["CLOSED_FORMS", "GRADIENT_MODELS", "SCORERS", "config_class"]


@dataclass(frozen=True, slots=True)
class _Gradient:
    config: type[Any]
    build: Callable[[Any, Corpus, torch.Generator], Gradient]


@dataclass(frozen=True, slots=True)
class _ClosedForm:
    config: type[Any]
    build: Callable[[Any], ClosedForm]


CLOSED_FORMS: dict[str, _ClosedForm] = {
    "popularity": _ClosedForm(PopularityConfig, Popularity),
    "content_knn": _ClosedForm(ContentKnnConfig, ContentKnn),
    "item_knn": _ClosedForm(ItemKnnConfig, ItemKnn),
    "item_knn_content": _ClosedForm(ItemKnnContentConfig, ItemKnnContent),
    "ease": _ClosedForm(EaseConfig, Ease),
    "ease_content": _ClosedForm(EaseContentConfig, EaseContent),
}

GRADIENT_MODELS: dict[str, _Gradient] = {
    "bpr_mf": _Gradient(BprMfConfig, lambda config, corpus, g: BprMf(config, corpus, generator=g)),
    "freedom": _Gradient(FreedomConfig, lambda config, corpus, g: Freedom(config, corpus, generator=g)),
    "lightgcn": _Gradient(LightGcnConfig, lambda config, corpus, g: LightGcn(config, corpus, generator=g)),
    "mgcn": _Gradient(MgcnConfig, lambda config, corpus, g: Mgcn(config, corpus, generator=g)),
    "tmfun": _Gradient(TmfunConfig, lambda config, corpus, g: Tmfun(config, corpus, generator=g)),
    "tmfun_plus": _Gradient(
        TmfunPlusConfig, lambda config, corpus, g: TmfunPlus(config, corpus, generator=g)
    ),
}

SCORERS: dict[str, type[Scorer]] = {
    scorer.kind: scorer for scorer in (ItemToItem, PairFusion, PopularityScorer, TwoTower)
}


def config_class(name: str) -> type[Any]:
    """The config dataclass of a model.

    Raises:
        ConfigError: there is no such model.
    """
    entry = CLOSED_FORMS.get(name) or GRADIENT_MODELS.get(name)
    if entry is None:
        raise ConfigError(f"unknown model {name!r}; {nearest(name, [*CLOSED_FORMS, *GRADIENT_MODELS])}")
    return entry.config
