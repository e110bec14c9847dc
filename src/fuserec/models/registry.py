"""Models and scorers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fuserec.batch import Corpus, StagePlan
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
from fuserec.models.esasrec import EsasrecConfig, esasrec
from fuserec.models.freedom import Freedom, FreedomConfig
from fuserec.models.hstu import HstuConfig, hstu
from fuserec.models.item_knn import ItemKnn, ItemKnnConfig
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.models.markov import Markov, MarkovConfig
from fuserec.models.mgcn import Mgcn, MgcnConfig
from fuserec.models.mufasa import Mufasa, mufasa_stages
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.pair_fusion import PairFusion
from fuserec.models.popularity import Popularity, PopularityConfig, PopularityScorer
from fuserec.models.protocol import ClosedForm, Gradient, Scorer
from fuserec.models.sasrec import SasrecConfig, sasrec
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.models.transition_table import TransitionTable
from fuserec.models.two_tower import TwoTower

__all__ = ["CLOSED_FORMS", "GRADIENT_MODELS", "SCORERS", "by_content", "config_class"]


def _by_pairs(config: Any) -> tuple[StagePlan, ...]:  # noqa: ARG001  (others read it)
    return (StagePlan(batches="pairs"),)


def _by_histories(config: Any) -> tuple[StagePlan, ...]:  # noqa: ARG001
    return (StagePlan(batches="histories"),)


@dataclass(frozen=True, slots=True)
class _Gradient:
    """A model that is trained, in one stage or more; ``by_content`` as `by_content` has it."""

    config: type[Any]
    build: Callable[[Any, Corpus, torch.Generator], Gradient]
    by_content: bool
    stages: Callable[[Any], tuple[StagePlan, ...]] = _by_pairs


@dataclass(frozen=True, slots=True)
class _ClosedForm:
    """A model that is fitted in one go; ``by_content`` as `by_content` has it."""

    config: type[Any]
    build: Callable[[Any], ClosedForm]
    by_content: bool


CLOSED_FORMS: dict[str, _ClosedForm] = {
    "popularity": _ClosedForm(PopularityConfig, Popularity, by_content=False),
    "content_knn": _ClosedForm(ContentKnnConfig, ContentKnn, by_content=True),
    "item_knn": _ClosedForm(ItemKnnConfig, ItemKnn, by_content=False),
    "item_knn_content": _ClosedForm(ItemKnnContentConfig, ItemKnnContent, by_content=True),
    "ease": _ClosedForm(EaseConfig, Ease, by_content=False),
    "ease_content": _ClosedForm(EaseContentConfig, EaseContent, by_content=False),
    "markov": _ClosedForm(MarkovConfig, Markov, by_content=False),
}

GRADIENT_MODELS: dict[str, _Gradient] = {
    "bpr_mf": _Gradient(
        BprMfConfig, lambda config, corpus, g: BprMf(config, corpus, generator=g), by_content=False
    ),
    "freedom": _Gradient(
        FreedomConfig, lambda config, corpus, g: Freedom(config, corpus, generator=g), by_content=True
    ),
    "lightgcn": _Gradient(
        LightGcnConfig, lambda config, corpus, g: LightGcn(config, corpus, generator=g), by_content=False
    ),
    "mgcn": _Gradient(
        MgcnConfig, lambda config, corpus, g: Mgcn(config, corpus, generator=g), by_content=True
    ),
    "esasrec": _Gradient(
        EsasrecConfig,
        lambda config, corpus, g: esasrec(config, corpus, generator=g),
        by_content=False,
        stages=_by_histories,
    ),
    "hstu": _Gradient(
        HstuConfig,
        lambda config, corpus, g: hstu(config, corpus, generator=g),
        by_content=False,
        stages=_by_histories,
    ),
    "mufasa": _Gradient(
        MufasaConfig,
        lambda config, corpus, g: Mufasa(config, corpus, generator=g),
        by_content=True,
        stages=mufasa_stages,
    ),
    "sasrec": _Gradient(
        SasrecConfig,
        lambda config, corpus, g: sasrec(config, corpus, generator=g),
        by_content=False,
        stages=_by_histories,
    ),
    "tmfun": _Gradient(
        TmfunConfig, lambda config, corpus, g: Tmfun(config, corpus, generator=g), by_content=True
    ),
    "tmfun_plus": _Gradient(
        TmfunPlusConfig, lambda config, corpus, g: TmfunPlus(config, corpus, generator=g), by_content=True
    ),
}

SCORERS: dict[str, type[Scorer]] = {
    scorer.kind: scorer
    for scorer in (ItemToItem, PairFusion, PopularityScorer, SequenceScorer, TransitionTable, TwoTower)
}


def config_class(name: str) -> type[Any]:
    """The config dataclass of a model.

    Raises:
        ConfigError: there is no such model.
    """
    return _entry(name).config


def by_content(name: str) -> bool:
    """Whether a model tells one item without events from another by their content.

    Not every model that reads content does: EASE with content weighs it by the number of events, so all items without
    any are the same to it.

    Raises:
        ConfigError: there is no such model.
    """
    return _entry(name).by_content


def _entry(name: str) -> _ClosedForm | _Gradient:
    entry = CLOSED_FORMS.get(name) or GRADIENT_MODELS.get(name)
    if entry is None:
        raise ConfigError(f"unknown model {name!r}; {nearest(name, [*CLOSED_FORMS, *GRADIENT_MODELS])}")
    return entry
