"""What TMFUN says to options and datasets that it cannot use."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from fuserec.batch import Corpus, Modality
from fuserec.errors import ConfigError
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.testing.corpora import tiny_corpus


def built_on(corpus: Corpus, **options: Any) -> Tmfun:
    config = TmfunConfig(dim=4, num_neighbours=3, **options)
    return Tmfun(config, corpus, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
        ({"item_layers": 0}, "item_layers must be at least 1, got 0"),
        ({"num_neighbours": 0}, "num_neighbours must be at least 1, got 0"),
        ({"graph_features": -2}, "graph_features must be at least 0, got -2"),
        ({"frozen_share": 1.1}, "frozen_share must be between 0 and 1, got 1.1"),
        ({"frozen_share": -0.1}, "frozen_share must be between 0 and 1, got -0.1"),
        ({"frozen_share": math.nan}, "frozen_share must be between 0 and 1, got nan"),
        ({"temperature": 0.0}, r"temperature must be above 0, got 0\.0"),
        ({"temperature": math.nan}, "temperature must be above 0, got nan"),
        ({"feature_graph_input": "ids"}, "feature_graph_input must be 'feature' or 'id', got 'ids'"),
        ({"scope": "user"}, "scope must be 'item', 'pair' or 'global', got 'user'"),
        (
            {"modality_graphs": False, "feature_graph_input": "id"},
            "expected feature_graph_input = 'feature' with modality_graphs = false, got 'id', which travels on them",
        ),
        (
            {"scope": "global", "steps": ("late",)},
            r"expected the step 'early' with scope = 'global' and attention = true, got \['late'\], which take the mean "
            "of the modalities; leave scope and attention out",
        ),
        (
            {"attention": False, "steps": ("late",)},
            r"expected the step 'early' with scope = 'item' and attention = false, got \['late'\], .*",
        ),
        (
            {"attention": False, "scope": "global"},
            "expected scope = 'item' with attention = false, which asks nothing, got 'global'",
        ),
        (
            {"attention": False, "scope": "pair"},
            "expected scope = 'item' with attention = false, which asks nothing, got 'pair'",
        ),
        (
            {"scope": "pair", "steps": ("late",)},
            r"expected the step 'early' with scope = 'pair' and attention = true, got \['late'\], .*",
        ),
        (
            {"steps": ("multi",)},
            r"steps must be \['late'\] or \['early'\] or \['early', 'late'\] or \['early', 'multi', 'late'\], got \['multi'\]",
        ),
        (
            {"scope": "pair", "steps": ("early",)},
            r"expected the step 'late' with scope = 'pair', whose scores have it built in, got \['early'\]",
        ),
    ],
)
def test_a_wrong_option_says_what_is_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TmfunConfig(**options)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("txt",), r"expected a modality of the dataset, got 'txt'; did you mean 'text'\?"),
        (
            ("text", "image", "text"),
            r"modalities must name each modality once, got \['text', 'image', 'text'\]",
        ),
    ],
)
def test_wrong_names_of_modalities_are_told(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        built_on(tiny_corpus(), modalities=names)


def test_a_dataset_without_content_is_told_what_to_use_instead() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected a dataset with at least one modality, got none; .*or use lightgcn$"
    ):
        built_on(tiny_corpus(modalities=()))


def test_a_modality_with_neither_features_nor_graph_is_refused() -> None:
    corpus = tiny_corpus(modalities=())
    empty = Modality(name="text", present=torch.ones(corpus.num_items, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"^expected features or a graph for modality 'text', got neither$"):
        built_on(replace(corpus, modalities=(empty,)))


def test_without_modality_graphs_a_graph_alone_needs_eigenvectors() -> None:
    corpus = tiny_corpus(ready_graph=("audio",))
    built_on(corpus, modality_graphs=False, graph_features=2)
    with pytest.raises(
        ConfigError,
        match=r"^expected features for modality 'audio' with modality_graphs = false, got a graph alone; set "
        r"graph_features above 0 or attach features$",
    ):
        built_on(corpus, modality_graphs=False, graph_features=0)
