"""What is held out changes nothing that is learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fuserec.batch import Histories, Pairs, Prepared, Queries
from fuserec.files import hash_json
from fuserec.index.exact import rank_items
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.testing.corpora import NUM_GROUPS, tiny_prepared
from fuserec.training.batches import stages
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe
from fuserec.training.evaluate import evaluate, evaluate_pairs
from fuserec.training.evaluation_protocol import EvaluationProtocol
from fuserec.training.loop import Fitted, fit_by_gradient
from fuserec.training.run import evaluate_run, train

MODELS = [*CLOSED_FORMS, *GRADIENT_MODELS]
HONEST = tiny_prepared(ready_graph=("image",), titled=True)
RecipeOf = Callable[..., Recipe]
Poison = Callable[[Pairs], Pairs]


def shuffled(pairs: Pairs) -> Pairs:
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(5))
    return Pairs(users=pairs.users, items=pairs.items[order])


def removed(pairs: Pairs) -> Pairs:
    return Pairs(users=pairs.users[:0], items=pairs.items[:0])


def all_of_one_item(pairs: Pairs) -> Pairs:
    return Pairs(users=pairs.users, items=torch.full_like(pairs.items, HONEST.corpus.num_items - 1))


def of_the_first_user(pairs: Pairs) -> Pairs:
    every = torch.arange(HONEST.corpus.num_items)
    return Pairs(users=torch.zeros_like(every), items=every)


def with_test(pairs: Pairs) -> Prepared:
    """The same dataset with other test pairs, and with the hash that they would have."""
    changed = [
        [part.users.tolist(), part.items.tolist()] for part in (HONEST.corpus.train, HONEST.valid, pairs)
    ]
    return dataclasses.replace(HONEST, test=pairs, split_hash=hash_json(changed))


def learnt(run: Run) -> dict[str, object]:
    """All that training measured and made, but for times and the hash of the split."""
    bits = {path.name: path.read_bytes() for path in run.path.glob("*.safetensors")}
    timeless = [
        {key: value for key, value in record.items() if not key.endswith("_seconds")} for record in run.log
    ]
    values = {name: array.tolist() for name, array in run.evaluation("valid").values.items()}
    return {"bits": bits, "log": timeless, "valid": run.metrics["valid"]["metrics"], "values": values}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("poison", [shuffled, removed, all_of_one_item, of_the_first_user])
def test_the_test_split_changes_no_number_and_no_bit(
    name: str, poison: Poison, tmp_path: Path, recipe_of: RecipeOf
) -> None:
    poisoned = with_test(poison(HONEST.test))
    assert poisoned.split_hash != HONEST.split_hash
    honest = train(recipe_of(name), HONEST, tmp_path / "honest")
    other = train(recipe_of(name), poisoned, tmp_path / "poisoned")
    assert learnt(honest) == learnt(other)


def test_the_poison_is_one_that_an_evaluation_notices(tmp_path: Path, recipe_of: RecipeOf) -> None:
    poisoned = with_test(shuffled(HONEST.test))
    honest = train(recipe_of("item_knn"), HONEST, tmp_path / "honest")
    other = train(recipe_of("item_knn"), poisoned, tmp_path / "poisoned")
    assert (
        evaluate_run(honest, HONEST, part="test").means()
        != evaluate_run(other, poisoned, part="test").means()
    )


def test_training_reads_no_test_pair(tmp_path: Path, recipe_of: RecipeOf) -> None:
    # rows that do not exist: whoever uses one fails
    nowhere = Pairs(users=torch.tensor([10**12]), items=torch.tensor([-(10**12)]))
    for name in MODELS:
        train(recipe_of(name), dataclasses.replace(HONEST, test=nowhere), tmp_path / name)


# --- validation chooses, and does nothing else


def every_epoch(recipe: Recipe, valid: Pairs) -> tuple[Fitted, list[dict[str, Tensor]]]:
    """A training that is validated on these pairs, and the scorer of each of its epochs."""
    assert recipe.train is not None
    entry, shown = GRADIENT_MODELS[recipe.model_name], []
    protocol = EvaluationProtocol.standard(HONEST, "valid")

    def validate(scorer: Scorer) -> Mapping[str, float]:
        shown.append({name: tensor.clone() for name, tensor in scorer.tensors().items()})
        return evaluate_pairs(
            scorer,
            HONEST.corpus,
            valid,
            masked={"train": HONEST.corpus.train},
            protocol=protocol,
            cutoffs=[20],
        ).means()

    fitted = fit_by_gradient(
        lambda generator: entry.build(recipe.model, HONEST.corpus, generator),
        stages(entry.stages(recipe.model), HONEST.corpus, batch_size=recipe.train.batch_size, seed=0),
        recipe.train,
        recipe.loss_weights,
        seed=0,
        validate=validate,
    )
    return fitted, shown


@pytest.mark.parametrize("name", sorted(GRADIENT_MODELS))
def test_validation_changes_no_weight_of_any_epoch(name: str, recipe_of: RecipeOf) -> None:
    recipe = recipe_of(name, epochs=5)
    honest, epochs = every_epoch(recipe, HONEST.valid)
    other, poisoned_epochs = every_epoch(recipe, shuffled(HONEST.valid))
    assert len(epochs) == len(poisoned_epochs) == 5
    for one, two in zip(epochs, poisoned_epochs, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert [record.losses for record in honest.log] == [record.losses for record in other.log]
    assert [record.validation for record in honest.log] != [record.validation for record in other.log]


def test_validation_does_choose(recipe_of: RecipeOf) -> None:
    # items of one's own group are learnt more and more; a fixed item of another group sinks
    recipe = recipe_of("lightgcn", epochs=5)
    users = torch.arange(HONEST.corpus.num_users)
    foreign = Pairs(users=users, items=(users + 1) % NUM_GROUPS)
    choices = {every_epoch(recipe, pairs)[0].best_epoch for pairs in (HONEST.valid, foreign)}
    assert len(choices) == 2


# --- masking


@pytest.mark.parametrize("name", MODELS)
def test_masked_items_are_never_recommended_nor_counted(
    name: str, tmp_path: Path, recipe_of: RecipeOf
) -> None:
    run = train(recipe_of(name), HONEST, tmp_path / "run")
    corpus, scorer = HONEST.corpus, run.scorer()
    seen = Pairs(
        users=torch.cat([corpus.train.users, HONEST.valid.users]),
        items=torch.cat([corpus.train.items, HONEST.valid.items]),
    )
    masked = Histories.of(seen, num_users=corpus.num_users)
    queries = Queries(
        users=torch.arange(corpus.num_users), histories=Histories.of(corpus.train, num_users=corpus.num_users)
    )
    ranking = rank_items(scorer, queries, k=corpus.num_items, exclude=masked)
    recommended = set(zip(ranking.queries.tolist(), ranking.items.tolist(), strict=True))
    known = set(zip(seen.users.tolist(), seen.items.tolist(), strict=True))
    assert not recommended & known
    assert len(recommended | known) == corpus.num_users * corpus.num_items

    # what is masked cannot be hit, at any rank
    at_valid = dataclasses.replace(HONEST, valid=corpus.train)
    at_test = dataclasses.replace(HONEST, test=seen)
    for measured in (
        evaluate(scorer, at_valid, part="valid", cutoffs=[corpus.num_items]),
        evaluate(scorer, at_test, part="test", cutoffs=[corpus.num_items]),
    ):
        assert set(measured.means().values()) == {0.0}
