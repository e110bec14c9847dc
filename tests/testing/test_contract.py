"""The contract holds for two small sound models and names the fault of every broken one."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fuserec.batch import Corpus, PairBatch, Queries
from fuserec.testing.contract import GradientContract, ModelContract


class TowerScorer:
    """Two towers; an unseen user is the mean of the items in the history."""

    kind: ClassVar[str] = "test-towers"

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self.users, self.items = users, items

    @property
    def num_items(self) -> int:
        return len(self.items)

    def scores(self, queries: Queries, items: slice) -> Tensor:
        histories = queries.histories
        summed = torch.zeros(len(queries), self.items.shape[1])
        summed.index_add_(0, histories.rows(), self.items[histories.items])
        folded = summed / histories.lengths.clamp(min=1)[:, None]
        known = self.users[queries.users.clamp(min=0)]
        return torch.where((queries.users >= 0)[:, None], known, folded) @ self.items[items].T

    def tensors(self) -> dict[str, Tensor]:
        return {"users": self.users, "items": self.items}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        return cls(tensors["users"], tensors["items"])


class SmallMf(nn.Module):
    """Matrix factorisation with BPR."""

    def __init__(self, config: None, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.user = nn.Parameter(0.1 * torch.randn(corpus.num_users, 8, generator=generator))
        self.item = nn.Parameter(0.1 * torch.randn(corpus.num_items, 8, generator=generator))

    def begin_epoch(self) -> None: ...

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        margin = self.item[batch.positives] - self.item[batch.negatives]
        return {"bpr": softplus(-(self.user[batch.users] * margin).sum(1)).mean()}

    def scorer(self) -> TowerScorer:
        return TowerScorer(self.user.detach().clone(), self.item.detach().clone())


class SmallClosedForm:
    """Users are what they have, items who has them."""

    scorer_class: ClassVar[Any] = TowerScorer

    def __init__(self, config: None) -> None: ...

    def fit(self, corpus: Corpus) -> Any:
        table = torch.zeros(corpus.num_users, corpus.num_items)
        table[corpus.train.users, corpus.train.items] = 1
        items = (table / table.sum(0).clamp(min=1)).T.contiguous()
        return self.scorer_class(table @ items, items)


class TestSmallMf(GradientContract):
    model = SmallMf
    config = None


class TestSmallClosedForm(ModelContract):
    model = SmallClosedForm
    config = None
    ignores_item_order = True


class NanForEmptyHistories(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        return super().scores(queries, items) / queries.histories.lengths.sign()[:, None]


class BlindToBlocks(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        whole = super().scores(queries, slice(0, self.num_items))
        return whole[:, : items.stop - items.start]


class NormalisedByBlock(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        return super().scores(queries, items).softmax(dim=1)


class NormalisedByBatch(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        return super().scores(queries, items).softmax(dim=0)


class Forgetful(TowerScorer):
    def tensors(self) -> dict[str, Tensor]:
        return {"users": self.users.half(), "items": self.items.half()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        return cls(tensors["users"].float(), tensors["items"].float())


class Transposed(TowerScorer):
    def tensors(self) -> dict[str, Tensor]:
        return {"users": self.users, "items": self.items.T.contiguous().T}


class Drifting(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        self.items = self.items * 1.01
        return super().scores(queries, items)


class Wide(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        return super().scores(queries, items).repeat(1, 2)


class Constant(TowerScorer):
    def scores(self, queries: Queries, items: slice) -> Tensor:
        return 0 * super().scores(queries, items)


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (NanForEmptyHistories, "scores_are_finite_for_trained_unseen_and_empty_users", "not finite"),
        (NanForEmptyHistories, "scores_are_finite_where_users_repeat_items", "not finite"),
        (Wide, "scores_are_finite_for_trained_unseen_and_empty_users", r"shape \(5, 60\)"),
        (Constant, "a_trained_user_gets_more_than_one_score", "the same score"),
        (BlindToBlocks, "blocks_of_items_concatenate_to_the_whole", "blocks do not concatenate"),
        (NormalisedByBlock, "blocks_of_items_concatenate_to_the_whole", "blocks do not concatenate"),
        (NormalisedByBatch, "a_query_is_scored_the_same_alone_and_among_others", "depend on the batch"),
        (Forgetful, "a_saved_and_loaded_scorer_gives_bitwise_the_same_scores", "saving and loading"),
        (Transposed, "a_saved_and_loaded_scorer_gives_bitwise_the_same_scores", "items is not contiguous"),
        (Drifting, "a_saved_and_loaded_scorer_gives_bitwise_the_same_scores", "changes the scor"),
    ],
)
def test_a_broken_scorer_fails_the_check_made_for_it(broken: type, check: str, says: str) -> None:
    class Model(SmallClosedForm):
        scorer_class = broken

    class Contract(ModelContract):
        model = Model
        config = None

    with pytest.raises(AssertionError, match=says):
        getattr(Contract(), f"test_{check}")()


def test_a_closed_form_that_counts_on_order_or_global_randomness_fails() -> None:
    class ByRow(SmallClosedForm):
        def fit(self, corpus: Corpus) -> Any:
            scorer = super().fit(corpus)
            return TowerScorer(scorer.users, scorer.items * torch.arange(1, corpus.num_items + 1)[:, None])

    class Dice(SmallClosedForm):
        def fit(self, corpus: Corpus) -> Any:
            scorer = super().fit(corpus)
            return TowerScorer(scorer.users, scorer.items + torch.rand(scorer.items.shape))

    class Greedy(SmallClosedForm):
        def fit(self, corpus: Corpus) -> Any:
            corpus.train.items.zero_()
            return super().fit(corpus)

    class Contract(ModelContract):
        config = None
        ignores_item_order = True

    contract = Contract()
    for model, check, says in [
        (ByRow, contract.test_renumbering_the_items_only_renumbers_the_scores, "order of items"),
        (
            Dice,
            contract.test_learning_twice_gives_bitwise_the_same_scores_and_leaves_the_corpus_alone,
            "twice",
        ),
        (
            Greedy,
            contract.test_learning_twice_gives_bitwise_the_same_scores_and_leaves_the_corpus_alone,
            "pairs",
        ),
        (SmallMf, contract.test_blocks_of_items_concatenate_to_the_whole, "subclasses GradientContract"),
    ]:
        Contract.model = model
        with pytest.raises(AssertionError, match=says):
            check()


class SharedMemory(SmallMf):
    def scorer(self) -> TowerScorer:
        return TowerScorer(self.user.detach(), self.item.detach())


class Stale(SmallMf):
    def __init__(self, config: None, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__(config, corpus, generator=generator)
        self.first = super().scorer()

    def scorer(self) -> TowerScorer:
        return self.first


class GlobalDropout(SmallMf):
    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        return {name: term * (1 + 0.1 * torch.rand(())) for name, term in super().losses(batch).items()}


class FixedSeed(SmallMf):
    def __init__(self, config: None, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__(config, corpus, generator=torch.Generator().manual_seed(0))


class Unreached(SmallMf):
    def __init__(self, config: None, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__(config, corpus, generator=generator)
        self.bias = nn.Parameter(torch.zeros(3))


class ClearsGradients(SmallMf):
    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        self.zero_grad()
        return super().losses(batch)


class Backwards(SmallMf):
    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        flipped = PairBatch(users=batch.users, positives=batch.negatives, negatives=batch.positives)
        return {
            "bpr": super().losses(batch)["bpr"].detach()
            - super().losses(flipped)["bpr"] * 0
            + self.user.sum() * 0
        }


class PerPair(SmallMf):
    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        return {"bpr": super().losses(batch)["bpr"].expand(2)}


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (SharedMemory, "a_scorer_does_not_change_when_training_goes_on", "shares memory"),
        (Stale, "training_changes_the_next_scorer_also_in_a_new_epoch", "does not change"),
        (
            GlobalDropout,
            "the_same_seed_gives_bitwise_the_same_losses_and_another_seed_others",
            "different losses",
        ),
        (
            FixedSeed,
            "the_same_seed_gives_bitwise_the_same_losses_and_another_seed_others",
            "gives the same losses",
        ),
        (Unreached, "every_parameter_gets_a_gradient", r"without a gradient: \['bias'\]"),
        (ClearsGradients, "two_steps_with_zero_grad_differ_from_two_without", "do not accumulate"),
        (Backwards, "eight_pairs_can_be_learnt_by_heart", "the loss went from"),
        (PerPair, "losses_are_named_finite_scalars", r"loss bpr has shape \(2,\)"),
    ],
)
def test_a_broken_gradient_model_fails_the_check_made_for_it(broken: type, check: str, says: str) -> None:
    class Contract(GradientContract):
        model = broken
        config = None

    with pytest.raises(AssertionError, match=says):
        getattr(Contract(), f"test_{check}")()


def test_a_parameter_the_loss_does_not_reach_may_be_named_and_only_such_a_one() -> None:
    class Named(GradientContract):
        model: ClassVar[Any] = Unreached
        config = None
        without_gradient = frozenset({"bias"})

    Named().test_every_parameter_gets_a_gradient()
    Named.model = SmallMf
    with pytest.raises(AssertionError, match=r"without a gradient: \[\]"):
        Named().test_every_parameter_gets_a_gradient()


def test_loss_weights_scale_the_terms_and_must_name_one() -> None:
    class Weighted(GradientContract):
        model = SmallMf
        config = None
        loss_weights: ClassVar[dict[str, float]] = {"bpr": 0.5, "brp": 1.0}

    assert Weighted().total({"bpr": torch.tensor(2.0), "other": torch.tensor(3.0)}).item() == 4.0
    with pytest.raises(AssertionError, match="a weight names no loss term"):
        Weighted().test_losses_are_named_finite_scalars()
