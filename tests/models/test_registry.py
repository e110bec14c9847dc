from __future__ import annotations

import dataclasses
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

import fuserec.models
from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.next_item import NextItemById
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS, SCORERS, by_content, config_class
from fuserec.testing.contract import all_scores, some_queries
from fuserec.testing.corpora import tiny_corpus

NAMES = [*CLOSED_FORMS, *GRADIENT_MODELS]


def config_classes_of_all_model_files() -> set[type]:
    found = set()
    for module in pkgutil.iter_modules(fuserec.models.__path__):
        for value in vars(import_module(f"fuserec.models.{module.name}")).values():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__name__.endswith("Config")
            ):
                found.add(value)
    return found


def scorer_of(name: str, corpus: Corpus) -> Scorer:
    """The model as it is before its first step, if it takes any."""
    config = config_class(name)()
    if name in CLOSED_FORMS:
        return CLOSED_FORMS[name].build(config).fit(corpus)
    model = GRADIENT_MODELS[name].build(config, corpus, torch.Generator().manual_seed(0))
    model.begin_epoch()
    return model.scorer()


def test_no_name_means_two_models() -> None:
    assert not CLOSED_FORMS.keys() & GRADIENT_MODELS.keys()


def test_every_config_of_a_model_file_is_registered_once() -> None:
    registered = [config_class(name) for name in NAMES]
    assert len(set(registered)) == len(registered)
    assert set(registered) == config_classes_of_all_model_files()


@pytest.mark.parametrize("name", NAMES)
def test_every_config_has_a_default_for_everything(name: str) -> None:
    config_class(name)()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_ends_as_a_registered_scorer_that_survives_its_tensors(name: str) -> None:
    corpus = tiny_corpus(ready_graph=("image",), titled=True)
    scorer = scorer_of(name, corpus)
    assert type(scorer) is SCORERS[scorer.kind]
    again = SCORERS[scorer.kind].from_tensors(scorer.tensors())
    queries = some_queries(corpus)
    assert torch.equal(all_scores(again, queries), all_scores(scorer, queries))


@pytest.mark.parametrize("name", NAMES)
def test_every_model_keeps_its_contract(name: str) -> None:
    config = config_class(name)()
    if name in CLOSED_FORMS:
        model: object = CLOSED_FORMS[name].build(config)
    else:
        rng = torch.Generator().manual_seed(0)
        model = GRADIENT_MODELS[name].build(config, tiny_corpus(titled=True), rng)
    contract = "ModelContract" if name in CLOSED_FORMS else "GradientContract"
    # a model of the next item is built by a function that bears its name
    built = name if isinstance(model, NextItemById) else type(model).__name__
    asked = rf"^class Test\w*\({contract}\):\n    model: ClassVar\S* = (staticmethod\()?{built}\)?$"
    files = Path(__file__).parent.glob("test_*.py")
    assert any(re.search(asked, file.read_text(encoding="utf-8"), re.MULTILINE) for file in files)


def test_every_scorer_is_found_by_its_own_kind() -> None:
    assert {kind: scorer.kind for kind, scorer in SCORERS.items()} == {kind: kind for kind in SCORERS}


@pytest.mark.parametrize("name", NAMES)
def test_another_content_of_items_without_events_changes_what_models_by_content_say_of_them(
    name: str,
) -> None:
    corpus = tiny_corpus(missing=0.0, titled=True)
    cold = corpus.popularity() == 0
    modalities = []
    for modality in corpus.modalities:
        assert modality.features is not None
        features = torch.where(cold[:, None], -modality.features, modality.features)
        modalities.append(dataclasses.replace(modality, features=features))
    other = dataclasses.replace(corpus, modalities=tuple(modalities))
    queries = some_queries(corpus)
    one, two = (all_scores(scorer_of(name, each), queries)[:, cold] for each in (corpus, other))
    assert torch.equal(one, two) != by_content(name)


def test_a_mistyped_model_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^unknown model 'tmfum'; did you mean 'tmfun'\?$"):
        config_class("tmfum")
    with pytest.raises(ConfigError, match=r"^unknown model 'zzzz'; known: 'bpr_mf', 'content_knn', 'ease', "):
        config_class("zzzz")
    with pytest.raises(ConfigError, match=r"^unknown model 'zzzz'"):
        by_content("zzzz")
