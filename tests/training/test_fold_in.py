from __future__ import annotations

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.models.registry import CLOSED_FORMS
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.evaluate import evaluate
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part
from fuserec.training.fold_in import draw_users, measure_fold_in, without_users
from fuserec.training.run import fit


def recipe(model: str, **train: object) -> Recipe:
    table: dict[str, object] = {"name": model, "model": {"name": model}, "evaluation": {"cutoffs": [5]}}
    if train:
        table |= {"train": {"monitor": "Recall@5", **train}, "loss_weights": {"bpr": 1.0, "l2": 1e-4}}
    return parse_recipe(table)


def test_a_share_of_the_users_is_drawn_once_each_and_by_the_seed() -> None:
    prepared = tiny_prepared()
    users = draw_users(prepared, share=0.25, seed=1)
    assert len(users) == 10
    assert torch.equal(users, users.unique())
    assert torch.equal(users, draw_users(prepared, share=0.25, seed=1))
    assert not torch.equal(users, draw_users(prepared, share=0.25, seed=2))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 0.001, 0.999])
def test_a_share_that_leaves_nobody_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="expected a share that leaves somebody of 40 users"):
        draw_users(tiny_prepared(), share=share, seed=0)


def test_the_rest_has_no_pair_of_theirs_and_every_other_pair() -> None:
    prepared = tiny_prepared()
    users = draw_users(prepared, share=0.25, seed=1)
    rest = without_users(prepared, users)
    for before, after in (
        (prepared.corpus.train, rest.corpus.train),
        (prepared.valid, rest.valid),
        (prepared.test, rest.test),
    ):
        others = ~torch.isin(before.users, users)
        assert torch.equal(before.users[others], after.users)
        assert torch.equal(before.items[others], after.items)
    assert rest.corpus.num_users == prepared.corpus.num_users
    assert rest.split_hash != prepared.split_hash


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_model_without_user_vectors_serves_its_own_users_as_new_ones(part: Part) -> None:
    measured = measure_fold_in(recipe("ease"), tiny_prepared(), share=0.5, part=part)
    trained, folded = measured.evaluations["trained"], measured.evaluations["folded"]
    assert torch.equal(trained.values["Recall@5"], folded.values["Recall@5"])
    assert set(trained.users.tolist()) <= set(measured.users.tolist())
    assert measured.losses("Recall@5")["folded"].difference == 0.0


@pytest.mark.parametrize("part", ["valid", "test"])
def test_at_test_they_are_told_what_the_recipe_tells(part: Part) -> None:
    prepared = tiny_prepared()
    table = {"name": "markov", "model": {"name": "markov"}}
    told = parse_recipe(table | {"evaluation": {"cutoffs": [5], "history": "train+valid"}})
    measured = measure_fold_in(told, prepared, share=0.5, part=part)
    run = evaluate(
        fit(told, prepared).scorer,
        prepared,
        part=part,
        protocol=EvaluationProtocol.standard(prepared, part, history="train+valid"),
        cutoffs=(5,),
    )
    found = measured.evaluations["trained"]
    assert found.protocol == run.protocol
    theirs = torch.isin(run.users, found.users)
    assert torch.equal(found.values["NDCG@5"], run.values["NDCG@5"][theirs])


def test_new_is_the_model_that_never_saw_them() -> None:
    prepared = tiny_prepared()
    measured = measure_fold_in(recipe("ease"), prepared, share=0.5)
    again = measure_fold_in(
        recipe("ease"),
        prepared,
        share=0.5,
        trained=CLOSED_FORMS["ease"]
        .build(recipe("ease").model)
        .fit(without_users(prepared, measured.users).corpus),
    )
    values = again.evaluations["trained"].values["Recall@5"]
    assert torch.equal(values, measured.evaluations["new"].values["Recall@5"])
    assert not torch.equal(
        measured.evaluations["trained"].values["NDCG@5"], measured.evaluations["new"].values["NDCG@5"]
    )


def test_a_trained_user_and_the_same_user_by_history_are_told_apart() -> None:
    trained = recipe("lightgcn", epochs=3, batch_size=64)
    prepared = tiny_prepared()
    scorer = fit(trained, prepared).scorer
    measured = measure_fold_in(trained, prepared, trained=scorer, share=0.5)
    values = {name: e.values["NDCG@5"] for name, e in measured.evaluations.items()}
    assert not torch.equal(values["trained"], values["folded"])
    assert not torch.equal(values["folded"], values["new"])
