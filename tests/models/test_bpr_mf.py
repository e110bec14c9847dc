from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings

from fuserec.batch import Corpus, Histories, PairBatch, Pairs
from fuserec.errors import ConfigError
from fuserec.models.bpr_mf import BprMf, BprMfConfig
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class TestContract(GradientContract):
    model: ClassVar[Any] = BprMf
    config: ClassVar[Any] = BprMfConfig(dim=8)
    loss_weights: ClassVar[dict[str, float]] = {"l2": 1e-4}


def built(corpus: Corpus, *, dim: int = 4) -> BprMf:
    """In float64, with embeddings of length about 1."""
    model = BprMf(BprMfConfig(dim=dim), corpus, generator=torch.Generator().manual_seed(0)).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in model.parameters():
            table.copy_(torch.randn(table.shape, generator=rng))
    return model


def small(*, repeats: bool = False) -> Corpus:
    return tiny_corpus(num_users=15, num_items=14, events_per_user=6, num_cold=2, repeats=repeats)


BATCH = PairBatch(
    users=torch.tensor([0, 3, 3, 14]),
    positives=torch.tensor([1, 4, 1, 7]),
    negatives=torch.tensor([4, 9, 4, 2]),
)


def test_the_losses_are_the_literal_ones_in_value_and_gradient() -> None:
    model = built(small())
    w, h = (table.detach().clone().requires_grad_() for table in model.parameters())
    ranking, penalty = [], []
    for u, i, j in zip(
        *(part.tolist() for part in (BATCH.users, BATCH.positives, BATCH.negatives)), strict=True
    ):
        x_uij = w[u] @ h[i] - w[u] @ h[j]
        ranking.append(-torch.log(1 / (1 + torch.exp(-x_uij))))
        penalty.append((w[u] ** 2).sum() + (h[i] ** 2).sum() + (h[j] ** 2).sum())
    expected = {"bpr": torch.stack(ranking).mean(), "l2": torch.stack(penalty).mean()}
    found = model.losses(BATCH)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
        gradients = torch.autograd.grad(found[name], list(model.parameters()), retain_graph=True)
        literal = torch.autograd.grad(value, [w, h], retain_graph=True)
        torch.testing.assert_close(gradients, literal)


def test_it_is_lightgcn_without_layers_but_for_new_users() -> None:
    corpus = small()
    model = built(corpus)
    other = LightGcn(
        LightGcnConfig(dim=4, num_layers=0), corpus, generator=torch.Generator().manual_seed(0)
    ).double()
    other.load_state_dict(model.state_dict())
    ours, theirs = model.losses(BATCH), other.losses(BATCH)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(model.scorer().user, other.scorer().user)
    assert torch.equal(model.scorer().item, other.scorer().item)
    assert model.scorer().fold.any()
    assert not other.scorer().fold.any()


def test_three_pairs_by_hand() -> None:
    # user 0 had item 0, user 1 had item 1: their vectors are twice those of their items, so A = 2
    train = Pairs(users=torch.tensor([0, 1, 1]), items=torch.tensor([0, 1, 1]))
    model = BprMf(
        BprMfConfig(dim=1),
        Corpus(num_users=2, num_items=3, train=train),
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        model.collaborative.user.copy_(torch.tensor([[2.0], [6.0]]))
        model.collaborative.item.copy_(torch.tensor([[1.0], [3.0], [100.0]]))
    scorer = model.scorer()
    assert scorer.user.tolist() == [[2.0], [6.0]]
    assert scorer.item.tolist() == [[1.0], [3.0], [0.0]]
    torch.testing.assert_close(scorer.fold, torch.tensor([[2.0], [6.0], [0.0]]))
    # one who had both, and the item that nobody had: (2 + 6) / sqrt 2
    new = scorer.fold_in(Histories.from_lists([[0, 1, 2], [], [2]]))
    torch.testing.assert_close(new, torch.tensor([[8 / 2**0.5], [0.0], [0.0]]))


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("dim", [1, 4, 14, 20])
def test_a_new_user_is_folded_in_by_the_literal_least_squares(dim: int, *, repeats: bool) -> None:
    # 15 users and 12 warm items: with 14 and 20 columns many maps fit alike, and the shortest is wanted
    corpus = small(repeats=repeats)
    model = built(corpus, dim=dim)
    user, item = (table.detach() for table in model.parameters())
    had = [sorted(set(corpus.train.items[corpus.train.users == u].tolist())) for u in range(corpus.num_users)]
    x = torch.stack([item[items].sum(0) / len(items) ** 0.5 for items in had])
    best = torch.linalg.pinv(x, rtol=1e-4) @ user
    warm = torch.nonzero(corpus.popularity())[:4, 0].tolist()
    cold = torch.nonzero(corpus.popularity() == 0)[0, 0].item()
    expected = sum(item[i] for i in warm) @ best / len(warm) ** 0.5
    found = model.scorer().fold_in(Histories.from_lists([[*warm, warm[0], int(cold)]]))
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_items_never_trained_have_a_zero_vector_and_give_nothing() -> None:
    corpus = small()
    scorer = built(corpus).scorer()
    cold = corpus.popularity() == 0
    assert int(cold.sum()) == 2
    assert not scorer.item[cold].any()
    assert not scorer.fold[cold].any()
    assert bool(scorer.item[~cold].any(1).all())


@settings(deadline=None, max_examples=15)
@given(corpora())
def test_losses_gradients_and_scores_are_finite_on_any_corpus(corpus: Corpus) -> None:
    model = BprMf(BprMfConfig(dim=64), corpus, generator=torch.Generator().manual_seed(0))
    batch = PairBatch(
        users=corpus.train.users, positives=corpus.train.items, negatives=corpus.train.items.flip(0)
    )
    terms = torch.stack(list(model.losses(batch).values()))
    terms.sum().backward()
    assert bool(terms.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert all(bool(tensor.isfinite().all()) for tensor in model.scorer().tensors().values())


def test_it_recovers_the_planted_groups_for_trained_and_for_new_users() -> None:
    corpus = tiny_corpus(num_users=60, num_items=45, modalities=())
    model = BprMf(BprMfConfig(dim=8), corpus, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    rng = torch.Generator().manual_seed(1)
    for _ in range(150):
        negatives = warm[torch.randint(len(warm), (len(corpus.train),), generator=rng)]
        terms = model.losses(
            PairBatch(users=corpus.train.users, positives=corpus.train.items, negatives=negatives)
        )
        optimiser.zero_grad()
        (terms["bpr"] + 0.1 * terms["l2"]).backward()
        optimiser.step()
    scorer = model.scorer()
    # a new user of each group, who had three of its items
    by_group = [warm[warm % NUM_GROUPS == group] for group in range(NUM_GROUPS)]
    new = scorer.fold_in(Histories.from_lists([items[:3].tolist() for items in by_group]))
    for users, first in ((scorer.user, 0), (new, 3)):
        wins = []
        for user, row in enumerate(users @ scorer.item.T):
            own = row[by_group[user % NUM_GROUPS][first:]]
            other = torch.cat([row[by_group[(user + shift) % NUM_GROUPS]] for shift in (1, 2)])
            wins.append((own[:, None] > other).float().mean())
        assert torch.stack(wins).mean().item() > 0.9


def test_a_wrong_option_says_what_is_expected() -> None:
    with pytest.raises(ConfigError, match=r"^dim must be at least 1, got 0$"):
        BprMfConfig(dim=0)
