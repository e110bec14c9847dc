"""What every model keeps, as test classes: subclass one, name the model and its config, and pytest does the rest.

    class TestEase(ModelContract):
        model = Ease
        config = EaseConfig(regularisation=200.0)

A model trained by gradient subclasses `GradientContract`, which asks all of `ModelContract` and more. The
checks are plain assertions, so they also run without pytest.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import safetensors.torch
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, PairBatch, Pairs, Queries
from fuserec.models.protocol import Scorer
from fuserec.shapes import Float, Int
from fuserec.testing.corpora import tiny_corpus

__all__ = ["GradientContract", "ModelContract", "all_scores", "permute_items", "some_queries"]


def some_queries(corpus: Corpus) -> Queries:
    """Every kind of query: trained users, an unseen one with a history, an unseen one without."""
    users = torch.tensor([0, 5 % corpus.num_users, 1, -1, -1])
    known = Histories.of(corpus.train, num_users=corpus.num_users).select(users[:3])
    cold = torch.nonzero(corpus.popularity() == 0)[:1, 0].tolist()
    lists = [row.tolist() for row in torch.tensor_split(known.items, known.offsets[1:-1])]
    return Queries(users=users, histories=Histories.from_lists([*lists, [2, 0, *cold], []]))


def all_scores(scorer: Scorer, queries: Queries) -> Float[Tensor, "B I"]:
    """Scores of the whole catalogue in one block."""
    return scorer.scores(queries, slice(0, scorer.num_items))


def permute_items(corpus: Corpus, new_row: Int[Tensor, " I"]) -> Corpus:
    """The same corpus with item i in row ``new_row[i]``."""
    old_row = torch.argsort(new_row)
    modalities = []
    for modality in corpus.modalities:
        features = None if modality.features is None else modality.features[old_row]
        graph = modality.graph
        if graph is not None:
            moved = torch.where(graph.neighbours < 0, -1, new_row[graph.neighbours])
            graph = KnnGraph(neighbours=moved[old_row], weights=graph.weights[old_row])
        modalities.append(
            Modality(name=modality.name, present=modality.present[old_row], features=features, graph=graph)
        )
    return Corpus(
        num_users=corpus.num_users,
        num_items=corpus.num_items,
        train=Pairs(users=corpus.train.users, items=new_row[corpus.train.items]),
        modalities=tuple(modalities),
    )


class ModelContract:
    """What a fitted model promises: its scorer.

    Attributes:
        model: the class under test, built as ``model(config)`` and fitted by ``fit(corpus)``.
        config: its configuration, small enough for a corpus of 40 users and 30 items.
        ignores_item_order: it claims that renumbering the items only renumbers the scores.
    """

    model: ClassVar[Any]
    config: ClassVar[Any]
    ignores_item_order: ClassVar[bool] = False

    def corpus(self, *, repeats: bool = False) -> Corpus:
        """The corpus to learn from; override it for a model that wants other modalities."""
        return tiny_corpus(ready_graph=("image",), repeats=repeats)

    def fitted(self, corpus: Corpus) -> Scorer:
        """The scorer that the model becomes."""
        assert hasattr(self.model, "fit"), (
            f"{self.model.__name__} has no fit; a model trained by gradient subclasses GradientContract"
        )
        scorer: Scorer = self.model(self.config).fit(corpus)
        return scorer

    def test_scores_are_finite_for_trained_unseen_and_empty_users(self) -> None:
        """Cold items, items without content and users without a history included."""
        corpus = self.corpus()
        scorer, queries = self.fitted(corpus), some_queries(corpus)
        assert scorer.num_items == corpus.num_items, "num_items is not the size of the catalogue"
        scores = all_scores(scorer, queries)
        assert scores.shape == (len(queries), corpus.num_items), f"scores have shape {tuple(scores.shape)}"
        assert scores.is_floating_point(), f"scores have dtype {scores.dtype}"
        assert bool(torch.isfinite(scores).all()), "scores are not finite"
        assert not scores.requires_grad, "scores require a gradient"

    def test_scores_are_finite_where_users_repeat_items(self) -> None:
        """The same pair may stand in the log many times."""
        corpus = self.corpus(repeats=True)
        scores = all_scores(self.fitted(corpus), some_queries(corpus))
        assert bool(torch.isfinite(scores).all()), "scores are not finite with repeated pairs"

    def test_a_trained_user_gets_more_than_one_score(self) -> None:
        """A model whose scores are all alike has learnt nothing."""
        corpus = self.corpus()
        scores = all_scores(self.fitted(corpus), some_queries(corpus))
        assert bool((scores[0] != scores[0, 0]).any()), "all items have the same score"

    def test_blocks_of_items_concatenate_to_the_whole(self) -> None:
        """Odd widths, a block of one and the last short one included."""
        corpus = self.corpus()
        scorer, queries = self.fitted(corpus), some_queries(corpus)
        edges = [0, 1, 8, 15, 22, corpus.num_items]
        blocks = [scorer.scores(queries, slice(a, b)) for a, b in pairwise(edges)]
        _close(
            torch.cat(blocks, dim=1), all_scores(scorer, queries), "blocks do not concatenate to the whole"
        )

    def test_a_query_is_scored_the_same_alone_and_among_others(self) -> None:
        """Nothing leaks between the rows of a batch."""
        corpus = self.corpus()
        scorer, queries = self.fitted(corpus), some_queries(corpus)
        alone = [
            all_scores(scorer, Queries(users=queries.users[row], histories=queries.histories.select(row)))
            for row in torch.arange(len(queries)).split(1)
        ]
        _close(torch.cat(alone), all_scores(scorer, queries), "a query's scores depend on the batch")

    def test_a_saved_and_loaded_scorer_gives_bitwise_the_same_scores(self) -> None:
        """By way of safetensors, as in a run folder; scoring changes nothing."""
        corpus = self.corpus()
        scorer, queries = self.fitted(corpus), some_queries(corpus)
        before = all_scores(scorer, queries)
        for name, tensor in scorer.tensors().items():
            assert tensor.is_contiguous(), f"tensor {name} is not contiguous, so safetensors cannot store it"
        stored = safetensors.torch.load(safetensors.torch.save(scorer.tensors()))
        again = type(scorer).from_tensors(stored)
        assert isinstance(scorer.kind, str)
        assert scorer.kind, "kind is empty"
        assert again.num_items == scorer.num_items, "num_items changes by saving and loading"
        assert torch.equal(all_scores(again, queries), before), "saving and loading changes the scores"
        assert torch.equal(all_scores(scorer, queries), before), "scoring changes the scorer"

    def test_learning_twice_gives_bitwise_the_same_scores_and_leaves_the_corpus_alone(self) -> None:
        """Whatever the global random state is."""
        corpus, untouched = self.corpus(), self.corpus()
        queries = some_queries(corpus)
        runs = []
        for noise in (1, 2):
            with torch.random.fork_rng():
                torch.manual_seed(noise)
                runs.append(all_scores(self.fitted(corpus), queries))
        assert torch.equal(*runs), "learning twice gives different scores"
        assert torch.equal(corpus.train.items, untouched.train.items), "learning changes the training pairs"
        for ours, theirs in zip(corpus.modalities, untouched.modalities, strict=True):
            if ours.features is not None and theirs.features is not None:
                assert torch.equal(ours.features, theirs.features), (
                    f"learning changes the {ours.name} features"
                )

    def test_renumbering_the_items_only_renumbers_the_scores(self) -> None:
        """Asked of models that claim it."""
        if not self.ignores_item_order:
            return
        corpus = self.corpus()
        new_row = torch.randperm(corpus.num_items, generator=torch.Generator().manual_seed(1))
        queries = some_queries(corpus)
        moved = Queries(
            users=queries.users,
            histories=Histories(items=new_row[queries.histories.items], offsets=queries.histories.offsets),
        )
        scores = all_scores(self.fitted(permute_items(corpus, new_row)), moved)
        _close(
            scores[:, new_row],
            all_scores(self.fitted(corpus), queries),
            "scores depend on the order of items",
        )


class GradientContract(ModelContract):
    """What a model trained by gradient promises besides.

    Attributes:
        model: the class under test, built as ``model(config, corpus, generator=generator)``.
        loss_weights: weight of each loss term; a term not named has weight 1.
        without_gradient: names of parameters that the loss does not reach, and for a reason.
        optimiser: makes the optimiser of the steps that learn; another than Adam where gradients are sparse.
        learning_rate: of the optimiser, when eight pairs are learnt by heart.
        learning_steps: number of its steps.
        learnt: the loss must fall below this share of its first value.
        batches: kind of its batches, as the registry has it.
    """

    loss_weights: ClassVar[dict[str, float]] = {}
    without_gradient: ClassVar[frozenset[str]] = frozenset()
    optimiser: ClassVar[Any] = torch.optim.Adam
    learning_rate: ClassVar[float] = 0.02
    learning_steps: ClassVar[int] = 150
    learnt: ClassVar[float] = 0.5
    batches: ClassVar[Literal["pairs", "histories"]] = "pairs"

    def built(self, corpus: Corpus, *, seed: int = 0) -> Any:
        """A new model at the start of its first epoch, in training mode."""
        model = self.model(self.config, corpus, generator=torch.Generator().manual_seed(seed))
        model.train()
        model.begin_epoch()
        return model

    def fitted(self, corpus: Corpus) -> Scorer:
        """The scorer after a few steps."""
        model = self.built(corpus)
        optimizer = self.optimiser(model.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            self.total(model.losses(self.batch(corpus, 32))).backward()
            optimizer.step()
        model.eval()
        scorer: Scorer = model.scorer()
        return scorer

    def batch(self, corpus: Corpus, size: int) -> Any:
        """The same training pairs every time, with warm negatives that are not the positives.

        Of whole histories, the first few that have as many events together.
        """
        if self.batches == "histories":
            histories = Histories.of(corpus.train, num_users=corpus.num_users)
            enough = int((histories.offsets < size).sum())
            return histories.select(torch.arange(enough)[histories.lengths[:enough] > 0])
        rng = torch.Generator().manual_seed(7)
        chosen = torch.randperm(len(corpus.train), generator=rng)[:size]
        positives = corpus.train.items[chosen]
        warm = torch.nonzero(corpus.popularity())[:, 0]
        place = torch.searchsorted(warm, positives)
        shift = torch.randint(1, len(warm), (size,), generator=rng)
        return PairBatch(
            users=corpus.train.users[chosen],
            positives=positives,
            negatives=warm[(place + shift) % len(warm)],
        )

    def total(self, losses: dict[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum of the terms."""
        return torch.stack([self.loss_weights.get(name, 1.0) * term for name, term in losses.items()]).sum()

    def test_losses_are_named_finite_scalars(self) -> None:
        """And every weight names a term."""
        corpus = self.corpus()
        losses = self.built(corpus).losses(self.batch(corpus, 16))
        assert losses, "there is no loss term"
        for name, term in losses.items():
            assert term.shape == (), f"loss {name} has shape {tuple(term.shape)}"
            assert bool(torch.isfinite(term)), f"loss {name} is not finite"
        assert self.loss_weights.keys() <= losses.keys(), "a weight names no loss term"

    def test_the_same_seed_gives_bitwise_the_same_losses_and_another_seed_others(self) -> None:
        """Whatever the global random state is: all randomness comes from the generator given."""
        corpus = self.corpus()
        first, again, other = (self._loss_curve(corpus, seed=s, noise=n) for s, n in ((0, 1), (0, 2), (1, 1)))
        assert first == again, "the same seed gives different losses"
        assert first != other, "another seed gives the same losses"

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Or is named in `without_gradient`, which must name nothing else."""
        corpus = self.corpus()
        model = self.built(corpus)
        self.total(model.losses(self.batch(corpus, 64))).backward()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        assert trained, "there is no parameter"
        found = {name: p.grad.to_dense() for name, p in trained.items() if p.grad is not None}
        without = {name for name in trained if name not in found or not bool(found[name].any())}
        assert without == self.without_gradient, f"without a gradient: {sorted(without)}"
        for name, gradient in found.items():
            assert bool(gradient.isfinite().all()), f"gradient of {name} is not finite"

    def test_two_steps_with_zero_grad_differ_from_two_without(self) -> None:
        """The losses leave gradients to the optimiser: they neither clear nor compute them."""
        corpus = self.corpus()
        cleared, accumulated = (self._two_steps(corpus, zero_grad=zero_grad) for zero_grad in (True, False))
        assert cleared != accumulated, "gradients do not accumulate: losses() clears them or trains by itself"

    def test_eight_pairs_can_be_learnt_by_heart(self) -> None:
        """A model that cannot fit these has a broken gradient somewhere."""
        corpus = self.corpus()
        model, batch = self.built(corpus), self.batch(corpus, 8)
        optimizer = self.optimiser(model.parameters(), lr=self.learning_rate)
        values = []
        for _ in range(self.learning_steps):
            optimizer.zero_grad()
            total = self.total(model.losses(batch))
            total.backward()
            optimizer.step()
            values.append(total.item())
        assert values[-1] < self.learnt * values[0], (
            f"the loss went from {values[0]:.4g} to {values[-1]:.4g} only"
        )

    def test_a_scorer_does_not_change_when_training_goes_on(self) -> None:
        """It is kept as the best so far while the loop goes on."""
        corpus = self.corpus()
        model, queries = self.built(corpus), some_queries(corpus)
        scorer = model.scorer()
        before = all_scores(scorer, queries).clone()
        self._step(model, corpus, lr=1.0)
        assert torch.equal(all_scores(scorer, queries), before), "the scorer shares memory with the model"

    def test_training_changes_the_next_scorer_also_in_a_new_epoch(self) -> None:
        """A scorer is the model as it stands now, not as it was built."""
        corpus = self.corpus()
        model, queries = self.built(corpus), some_queries(corpus)
        before = all_scores(model.scorer(), queries).clone()
        self._step(model, corpus, lr=1.0)
        model.begin_epoch()
        assert not torch.equal(all_scores(model.scorer(), queries), before), (
            "training does not change the scores"
        )

    def _step(self, model: Any, corpus: Corpus, *, lr: float) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        self.total(model.losses(self.batch(corpus, 32))).backward()
        optimizer.step()

    def _loss_curve(self, corpus: Corpus, *, seed: int, noise: int) -> list[dict[str, float]]:
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            model = self.built(corpus, seed=seed)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            curve = []
            for _ in range(3):
                optimizer.zero_grad()
                losses = model.losses(self.batch(corpus, 32))
                self.total(losses).backward()
                optimizer.step()
                curve.append({name: term.item() for name, term in losses.items()})
            return curve

    def _two_steps(self, corpus: Corpus, *, zero_grad: bool) -> list[float]:
        model = self.built(corpus)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        for _ in range(2):
            if zero_grad:
                optimizer.zero_grad()
            self.total(model.losses(self.batch(corpus, 32))).backward()
            optimizer.step()
        return [parameter.sum().item() for parameter in model.parameters()]


def _close(actual: Tensor, expected: Tensor, message: str) -> None:
    torch.testing.assert_close(actual, expected, msg=lambda detail: f"{message}: {detail}")
