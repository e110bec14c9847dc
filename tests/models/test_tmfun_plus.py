from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, PairBatch, Pairs
from fuserec.errors import ConfigError
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig, item_graph, mean_of_rows
from fuserec.models.two_tower import TwoTower
from fuserec.ops.graph import SparseMatrix, propagate
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import NUM_GROUPS, opposed_neighbours, tiny_corpus
from fuserec.testing.literal import assert_close, randomised, small_corpus


class TestContract(GradientContract):
    model: ClassVar[Any] = TmfunPlus
    config: ClassVar[Any] = TmfunPlusConfig(dim=8)


class TestContractWithoutHistory(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, history=False)


class TestContractWithoutBehaviour(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, behaviour_weight=0.0, max_items=1)


class TestContractTwoItemLayers(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, item_layers=2, weights={"text": 1.0})


class TestContractWholeGraphs(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, kept_share=1.0, thinned_share=0.0)


def small(**options: Any) -> Corpus:
    return small_corpus(**{"num_cold": 2, **options})


def built(corpus: Corpus, *, seed: int = 0, **options: Any) -> TmfunPlus:
    """In float64, before the first epoch, with parameters of about 1."""
    settings: dict[str, Any] = {"dim": 4, "num_neighbours": 3, "behaviour_neighbours": 4, **options}
    generator = torch.Generator().manual_seed(seed)
    return randomised(TmfunPlus(TmfunPlusConfig(**settings), corpus, generator=generator))


# -- by hand


def by_hand(*, num_users: int, pairs: list[tuple[int, int]], neighbours: list[int]) -> TmfunPlus:
    """Width 1, no layers, no behaviour, whole graphs; each item's one neighbour weighs 1."""
    users, items = (torch.tensor(column) for column in zip(*pairs, strict=True))
    ready = KnnGraph(
        neighbours=torch.tensor(neighbours)[:, None],
        weights=(torch.tensor(neighbours) >= 0).float()[:, None],
    )
    present = torch.ones(len(neighbours), dtype=torch.bool)
    corpus = Corpus(
        num_users=num_users,
        num_items=len(neighbours),
        train=Pairs(users=users, items=items),
        modalities=(Modality(name="text", present=present, graph=ready),),
    )
    config = TmfunPlusConfig(dim=1, num_layers=0, behaviour_weight=0.0, kept_share=1.0, thinned_share=0.0)
    return TmfunPlus(config, corpus, generator=torch.Generator().manual_seed(0))


def set_to(model: TmfunPlus, *, user: list[float], item: list[float], history_scale: float) -> None:
    with torch.no_grad():
        model.collaborative.user.copy_(torch.tensor(user)[:, None])
        model.collaborative.item.copy_(torch.tensor(item)[:, None])
        model.item_scale.fill_(1.0)
        model.history_scale.fill_(history_scale)


def test_a_history_leaves_out_the_positive_and_is_still_divided_by_all_of_it() -> None:
    """Items 0 and 1 are neighbours: each row of A is 1/2, 1/2; item 2 has itself alone. g = 3, 3, 6."""
    model = by_hand(num_users=2, pairs=[(0, 0), (0, 2), (1, 1), (1, 2)], neighbours=[1, 0, -1])
    set_to(model, user=[1.0, 1.0], item=[2.0, 4.0, 6.0], history_scale=2.0)
    batch = PairBatch(
        users=torch.tensor([0, 0]), positives=torch.tensor([0, 2]), negatives=torch.tensor([1, 1])
    )
    g = model.neighbour_view(model.item_graph.matrix)
    assert g.squeeze(1).tolist() == pytest.approx([3.0, 3.0, 6.0])
    # user 0 had 0 and 2: without 0, 6 / 2; without 2, 3 / 2
    assert model.others_in_history(batch, g).squeeze(1).tolist() == pytest.approx([3.0, 1.5])
    # users 1 + 2 x 3 and 1 + 2 x 1.5; items 2 + 3 against 4 + 3, and 6 + 6 against 7
    expected = (math.log1p(math.exp(7 * 2)) + math.log1p(math.exp(-4 * 5))) / 2
    assert model.losses(batch)["bpr"].item() == pytest.approx(expected)
    # at scoring the whole history speaks: 1 + 2 x (3 + 6) / 2, 1 + 2 x (3 + 6) / 2
    assert model.scorer().user.squeeze(1).tolist() == pytest.approx([10.0, 10.0])


def test_a_user_of_one_item_has_no_history_while_training() -> None:
    model = by_hand(num_users=1, pairs=[(0, 0)], neighbours=[1, 0])
    batch = PairBatch(users=torch.tensor([0]), positives=torch.tensor([0]), negatives=torch.tensor([0]))
    assert model.others_in_history(batch, torch.tensor([[3.0], [5.0]])).tolist() == [[0.0]]


def test_a_cold_item_by_hand() -> None:
    """Item 2 is cold and a neighbour of 0: both rows of A are 1/2, 1/2. It is twice item 0, its own embedding counts for nobody."""
    model = by_hand(num_users=1, pairs=[(0, 0), (0, 1)], neighbours=[2, -1, 0])
    set_to(model, user=[1.0], item=[2.0, 4.0, 100.0], history_scale=2.0)
    scorer = model.scorer()
    assert scorer.item.squeeze(1).tolist() == pytest.approx([2 + 1, 4 + 4, 2 * 3])
    assert scorer.user.squeeze(1).tolist() == pytest.approx([1 + 2 * (1 + 4) / 2])
    assert scorer.foldable.tolist() == [True, True, False]


def test_an_opposed_neighbour_neither_cancels_nor_blows_up_a_cold_item() -> None:
    """Item 2 is cold, like item 0 and the opposite of item 1: it is twice item 0, though its row of A sums to less than 0."""
    config = TmfunPlusConfig(dim=1, num_layers=0, behaviour_weight=0.0)
    model = TmfunPlus(config, opposed_neighbours(), generator=torch.Generator().manual_seed(0))
    set_to(model, user=[1.0], item=[2.0, 4.0, 100.0], history_scale=2.0)
    assert propagate(model.item_graph.full.matrix, torch.tensor([[1.0], [1.0], [0.0]]))[2] < 0
    assert model.scorer().item[[0, 2], 0].tolist() == pytest.approx([2 + 1, 2 * 3])


def test_a_mean_of_rows_has_the_same_places_and_leaves_empty_rows_empty() -> None:
    graph = SparseMatrix.from_entries(
        torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), torch.tensor([5.0, 7.0, 9.0]), shape=(3, 3)
    )
    assert mean_of_rows(graph).dense().tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


# -- scores


@pytest.mark.parametrize("num_layers", [0, 2])
def test_a_new_user_with_a_trained_ones_items_gets_the_same_less_the_own_embedding(num_layers: int) -> None:
    corpus = small()
    model = built(corpus, num_layers=num_layers)
    scorer = model.scorer()
    assert scorer.mean_fold is not None
    folded = scorer.fold_in(Histories.of(corpus.train, num_users=corpus.num_users))
    assert_close(folded, scorer.user - model.collaborative.user.detach() / (num_layers + 1))


def test_scores_come_from_the_whole_graphs() -> None:
    model = built(small(), kept_share=0.5)
    before = model.scorer()
    model.begin_epoch()
    after = model.scorer()
    assert torch.equal(before.user, after.user)
    assert torch.equal(before.item, after.item)


def test_without_history_a_user_is_the_collaborative_one_and_nothing_is_learnt_about_it() -> None:
    model = built(small(), history=False)
    assert "history_scale" not in dict(model.named_parameters())
    user, _ = model.collaborative()
    assert torch.equal(model.scorer().user, user)


# -- the graphs of the epochs


def graphs_of_the_epoch(model: TmfunPlus) -> tuple[Tensor, Tensor]:
    model.begin_epoch()
    return model.pruned.matrix.dense(), model.item_graph.matrix.dense()


def test_every_epoch_has_its_own_graphs_and_the_same_seed_the_same_graphs() -> None:
    first, again, other = built(small()), built(small()), built(small(), seed=9)
    seen = []
    for _ in range(2):
        drawn = graphs_of_the_epoch(first)
        for ours, same in zip(drawn, graphs_of_the_epoch(again), strict=True):
            assert torch.equal(ours, same)
        seen.append(drawn)
    for one, two, foreign in zip(*seen, graphs_of_the_epoch(other), strict=True):
        assert not torch.equal(one, two)
        assert not torch.equal(one, foreign)


def test_a_model_with_the_saved_state_goes_on_with_the_same_graphs() -> None:
    first, other = built(small()), built(small(), seed=9)
    graphs_of_the_epoch(first)
    other.load_state_dict(first.state_dict())
    for ours, same in zip(graphs_of_the_epoch(first), graphs_of_the_epoch(other), strict=True):
        assert torch.equal(ours, same)


def test_the_saved_state_is_the_parameters_and_the_two_draws() -> None:
    model = built(small())
    draws = {
        f"{graph}.draw.{part}" for graph in ("pruned", "item_graph") for part in ("seed", "epochs_begun")
    }
    assert model.state_dict().keys() == dict(model.named_parameters()).keys() | draws


# -- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
        ({"item_layers": 0}, "item_layers must be at least 1, got 0"),
        ({"num_neighbours": 0}, "expected num_neighbours of at least 1, got 0"),
        ({"behaviour_neighbours": 0}, "behaviour_neighbours must be at least 1, got 0"),
        ({"behaviour_weight": -0.1}, "behaviour_weight must be at least 0, got -0.1"),
        ({"behaviour_weight": math.nan}, "behaviour_weight must be at least 0, got nan"),
        ({"regularisation": 0.0}, "regularisation must be above 0, got 0.0"),
        ({"regularisation": math.nan}, "regularisation must be above 0, got nan"),
        ({"max_items": 0}, "max_items must be at least 1, got 0"),
        ({"kept_share": 0.0}, "kept_share must be above 0 and at most 1, got 0.0"),
        ({"kept_share": 1.1}, "kept_share must be above 0 and at most 1, got 1.1"),
        ({"thinned_share": -0.1}, "thinned_share must be at least 0 and below 1, got -0.1"),
        ({"thinned_share": 1.0}, "thinned_share must be at least 0 and below 1, got 1.0"),
        ({"cold_scale": 0.0}, "cold_scale must be above 0, got 0.0"),
        ({"weights": {"text": -1.0}}, "weight of at least 0 for 'text'"),
        ({"weights": {"text": 0.0}}, "weight above 0 for at least one modality"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TmfunPlusConfig(**options)


def test_a_catalogue_too_large_for_ease_is_refused_where_behaviour_counts() -> None:
    with pytest.raises(ConfigError, match="expected at most max_items = 13 items"):
        built(small(), max_items=13)
    config = TmfunPlusConfig(max_items=13, behaviour_weight=0.0)
    assert item_graph(config, small()).shape == (14, 14)


# -- learning


def trained(corpus: Corpus, *, steps: int = 80, **options: Any) -> TwoTower:
    rng = torch.Generator().manual_seed(0)
    model = TmfunPlus(TmfunPlusConfig(dim=8, num_neighbours=5, **options), corpus, generator=rng)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    for step in range(steps):
        if step % 10 == 0:
            model.begin_epoch()
        chosen = torch.randint(len(corpus.train), (256,), generator=rng)
        drawn = warm[torch.randint(len(warm), (256,), generator=rng)]
        batch = PairBatch(
            users=corpus.train.users[chosen], positives=corpus.train.items[chosen], negatives=drawn
        )
        terms = model.losses(batch)
        optimiser.zero_grad()
        (terms["bpr"] + 1e-4 * terms["l2"]).backward()
        optimiser.step()
    return model.scorer()


def own_group_wins(user: Tensor, item: Tensor, among: Tensor) -> float:
    """How often an item of the user's own group is ranked before one of another; 1/2 by chance."""
    scores = (user @ item.T)[:, among]
    groups = torch.arange(len(item))[among] % NUM_GROUPS
    wins = [
        (row[groups == u % NUM_GROUPS][:, None] > row[groups != u % NUM_GROUPS]).float().mean()
        for u, row in enumerate(scores)
    ]
    return torch.stack(wins).mean().item()


def with_shuffled_content(corpus: Corpus) -> Corpus:
    modalities = []
    for modality in corpus.modalities:
        assert modality.features is not None
        order = torch.randperm(corpus.num_items, generator=torch.Generator().manual_seed(7))
        modalities.append(replace(modality, features=modality.features[order]))
    return replace(corpus, modalities=tuple(modalities))


@pytest.mark.parametrize("history", [True, False])
def test_it_learns_the_planted_groups_also_of_items_that_nobody_had_and_of_new_users(
    *, history: bool
) -> None:
    corpus = tiny_corpus(num_users=60, num_items=45, num_cold=12, missing=0.0)
    cold = corpus.popularity() == 0
    scorer = trained(corpus, history=history)
    folded = scorer.fold_in(Histories.of(corpus.train, num_users=corpus.num_users))
    for user in (scorer.user, folded):
        assert own_group_wins(user, scorer.item, ~cold) > 0.85
        assert own_group_wins(user, scorer.item, cold) > 0.85
    # the control: what cold items gain must come from content that fits them
    shuffled = trained(with_shuffled_content(corpus), history=history)
    assert own_group_wins(shuffled.user, shuffled.item, cold) < 0.65


# -- elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_losses_of_the_cpu_after_its_own_draws() -> None:
    corpus = tiny_corpus(ready_graph=("image",))
    on_cpu, on_gpu = (
        TmfunPlus(TmfunPlusConfig(dim=8), corpus, generator=torch.Generator().manual_seed(0))
        for _ in range(2)
    )
    on_gpu.cuda()
    pairs = corpus.train
    batch = PairBatch(users=pairs.users, positives=pairs.items, negatives=pairs.items.flip(0))
    moved = PairBatch(
        users=batch.users.cuda(), positives=batch.positives.cuda(), negatives=batch.negatives.cuda()
    )
    on_cpu.begin_epoch()
    on_gpu.begin_epoch()
    expected = on_cpu.losses(batch)
    for name, value in on_gpu.losses(moved).items():
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(on_gpu.scorer().item.cpu(), on_cpu.scorer().item, rtol=1e-4, atol=1e-4)
