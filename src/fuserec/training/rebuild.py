"""The model of a run once more, on another corpus than the one it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from fuserec.batch import Corpus
from fuserec.models.protocol import Gradient, Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.training.config import Recipe
from fuserec.training.seeds import named_generator

__all__ = ["rebuild", "rebuild_model"]

Weights = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def rebuild(recipe: Recipe, corpus: Corpus, weights: Weights) -> Scorer:
    """What the recipe's model comes to on a corpus, without training.

    A closed form, which has no weights, is fitted again.

    Args:
        recipe: of the run.
        corpus: with or without what the run was trained on.
        weights: gets the weights of the model as it is built, and gives those that it shall have, of the same names
            and shapes; it refuses where there are none. A closed form does not ask.
    """
    if recipe.model_name in CLOSED_FORMS:
        return CLOSED_FORMS[recipe.model_name].build(recipe.model).fit(corpus)
    return rebuild_model(recipe, corpus, weights).scorer()


def rebuild_model(recipe: Recipe, corpus: Corpus, weights: Weights) -> Gradient:
    """The recipe's model itself, one that is trained by gradient; see `rebuild`."""
    entry = GRADIENT_MODELS[recipe.model_name]
    model = entry.build(recipe.model, corpus, named_generator(recipe.seed, "init"))
    assert isinstance(model, nn.Module)
    model.load_state_dict(weights(model.state_dict()))
    # What is built anew of the weights in every epoch, such as a learnt graph, follows them.
    model.begin_epoch()
    return model
