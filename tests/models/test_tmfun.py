"""TMFUN as a model: the contract, limits, invariances, and that it learns from content.

Its equations are held against literal ones in test_tmfun_equations.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, PairBatch, Pairs, Queries
from fuserec.errors import ConfigError
from fuserec.models.modality_graph import ModalityGraph
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.two_tower import TwoTower
from fuserec.testing.contract import GradientContract, all_scores, permute_items
from fuserec.testing.corpora import NUM_GROUPS, opposed_neighbours, tiny_corpus
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

SMALL: dict[str, Any] = {"dim": 8, "num_neighbours": 4}
EARLY = frozenset({"early_query", "early_key", "early_value"})
MULTI = frozenset({"multi_query", "multi_key", "graph_logits_M"})


class TestContract(GradientContract):
    model: ClassVar[Any] = Tmfun
    config: ClassVar[Any] = TmfunConfig(**SMALL)
    loss_weights: ClassVar[dict[str, float]] = {"contrastive": 0.03, "l2": 1e-4}


class TestContractOfLateFusionAlone(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, steps=("late",))
    without_gradient: ClassVar[frozenset[str]] = EARLY | MULTI


class TestContractOfEarlyAndLateFusion(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, steps=("early", "late"))
    without_gradient: ClassVar[frozenset[str]] = MULTI


class TestContractOfEarlyFusionAlone(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, steps=("early",))
    without_gradient: ClassVar[frozenset[str]] = MULTI


class TestContractOfDirectedGraphs(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, directed=True, item_layers=2)


class TestContractOfIdsOnTheGraphs(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, feature_graph_input="id")


class TestContractWithoutModalityGraphs(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, modality_graphs=False)


class TestContractOfTheMeanInPlaceOfAttention(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, attention=False)
    without_gradient: ClassVar[frozenset[str]] = frozenset({"early_query", "early_key"})


class TestContractOfPairScope(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, scope="pair")


class TestContractOfPairScopeWithoutItemGraph(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, scope="pair", steps=("early", "late"))
    without_gradient: ClassVar[frozenset[str]] = MULTI


class TestContractOfOneQueryForAllItems(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, scope="global")
    without_gradient: ClassVar[frozenset[str]] = frozenset({"early_query"})


class TestContractOfGraphsWithoutFeatures(TestContract):
    config: ClassVar[Any] = TmfunConfig(**SMALL, graph_features=6)

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(ready_graph=("audio",), repeats=repeats)


class TestContractOfOneModality(TestContract):
    # one answer is taken whatever is asked, so only its value is learnt
    without_gradient: ClassVar[frozenset[str]] = frozenset({"early_query", "early_key", "graph_logits_M"})

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(modalities=("text",), repeats=repeats)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(corpus: Corpus, **options: Any) -> Tmfun:
    return Tmfun(TmfunConfig(**{**SMALL, **options}), corpus, generator=rng())


def graph_of(model: Tmfun, name: str) -> ModalityGraph:
    part = model.modalities[f"{name}_graph"]
    assert isinstance(part, ModalityGraph)
    return part


def towers(model: Tmfun) -> TwoTower:
    scorer = model.scorer()
    assert isinstance(scorer, TwoTower)
    return scorer


def scored(model: Tmfun) -> Tensor:
    corpus_users = len(model.collaborative.user)
    everybody = Queries(users=torch.arange(corpus_users), histories=Histories.from_lists([[]] * corpus_users))
    return all_scores(model.scorer(), everybody)


def drawn_batch(corpus: Corpus, size: int, *, seed: int = 0) -> PairBatch:
    chosen = torch.randint(len(corpus.train), (size,), generator=rng(seed))
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    return PairBatch(
        users=corpus.train.users[chosen],
        positives=corpus.train.items[chosen],
        negatives=warm[torch.randint(len(warm), (size,), generator=rng(seed + 1))],
    )


# -- by hand


def two_items(*, cold: bool = False) -> Corpus:
    """One user with item 0 (and item 1 unless it is cold); the items are neighbours with weight 1, features 1 and 3."""
    items = torch.tensor([0] if cold else [0, 1])
    content = Modality(
        name="text",
        present=torch.ones(2, dtype=torch.bool),
        features=torch.tensor([[1.0], [3.0]]),
        graph=KnnGraph(neighbours=torch.tensor([[1], [0]]), weights=torch.ones(2, 1)),
    )
    train = Pairs(users=torch.zeros(len(items), dtype=torch.int64), items=items)
    return Corpus(num_users=1, num_items=2, train=train, modalities=(content,))


def with_numbers(model: Tmfun, **numbers: list[list[float]]) -> Tmfun:
    with torch.no_grad():
        for name, value in numbers.items():
            model.get_parameter(name.replace("__", ".")).copy_(torch.tensor(value))
    model.begin_epoch()
    return model


def test_two_items_by_hand() -> None:
    # S is all ones, so A is all 1/2. Features 1 and 3, W = (2, -2): F = (2, -2) and (6, -6), H = (4, -4) for both.
    # Late only, no layers: z + H / |H|.
    model = with_numbers(
        Tmfun(
            TmfunConfig(dim=2, num_layers=0, steps=("late",), frozen_share=1.0), two_items(), generator=rng()
        ),
        modalities__text_graph__projection__weight=[[2.0], [-2.0]],
        collaborative__item=[[1.0, 0.0], [5.0, 5.0]],
    )
    torch.testing.assert_close(graph_of(model, "text").adjacency.matrix.dense(), torch.full((2, 2), 0.5))
    h = model.modality_features(torch.tensor([0, 1]))
    torch.testing.assert_close(h, torch.tensor([[[4.0, -4.0], [4.0, -4.0]]]))
    half = 0.5**0.5
    expected = torch.tensor([[1 + half, -half], [5 + half, 5 - half]])
    torch.testing.assert_close(towers(model).item, expected)


def test_attention_and_the_second_step_by_hand() -> None:
    # d = 1 and all weights 1: logits are z h. z = 1; h = log 3 and 0 weigh 3/4 and 1/4; then e against h^I = e + log 4
    corpus = tiny_corpus(missing=0.0)
    one = [[1.0]]
    model = with_numbers(
        built(corpus, dim=1),
        early_query=one, early_key=one, early_value=one, multi_query=one, multi_key=one,
    )  # fmt: skip
    z, log3 = torch.ones(1, 1), math.log(3)
    e = model.early_fusion(z, torch.tensor([[[log3]], [[0.0]]]), torch.tensor([[True, True]]))
    torch.testing.assert_close(e, torch.tensor([[0.75 * log3]]))
    id_feature = e + math.log(4)
    g = model.multi_step_fusion(z, e, id_feature, torch.tensor([[True, True]]))
    torch.testing.assert_close(g, 0.2 * e + 0.8 * id_feature)


def test_a_cold_item_by_hand() -> None:
    # item 1 is cold: z_1 is z_0 (its only warm neighbour), H^I = A (E_0, 0) = E_0 / 2 for both, all else missing from W = 0
    corpus = two_items(cold=True)
    model = with_numbers(
        Tmfun(TmfunConfig(dim=2, num_layers=0, frozen_share=1.0), corpus, generator=rng()),
        modalities__text_graph__projection__weight=[[0.0], [0.0]],
        collaborative__item=[[3.0, 4.0], [100.0, 100.0]],
        multi_query=[[0.0, 0.0], [0.0, 0.0]],
    )
    torch.testing.assert_close(model.id_features(), torch.tensor([[1.5, 2.0], [1.5, 2.0]]))
    # e = 0 W_V = 0 and h^I weigh half each, and only the direction counts
    torch.testing.assert_close(towers(model).item, torch.tensor([[3.6, 4.8], [3.6, 4.8]]))


def test_an_opposed_neighbour_neither_cancels_nor_blows_up_a_cold_item() -> None:
    """Item 2 is cold, like item 0 and the opposite of item 1: it is item 0, though its row of A sums to less than 0."""
    config = TmfunConfig(dim=1, num_layers=0, frozen_share=1.0, feature_graph_input="id")
    model = Tmfun(config, opposed_neighbours(), generator=rng())
    warm_I1 = torch.tensor([[1.0], [1.0], [0.0]])
    assert model.item_graph(warm_I1)[2] < 0
    z_I1 = torch.tensor([[2.0], [4.0], [100.0]])
    assert model.with_cold_items(z_I1)[:, 0].tolist() == pytest.approx([2.0, 4.0, 2.0])


def test_a_cold_item_without_a_warm_neighbour_starts_from_zero() -> None:
    corpus = tiny_corpus(missing=1.0)
    model = built(corpus)
    cold = corpus.popularity() == 0
    assert not towers(model).item[cold].any()


# -- limits


def test_an_item_without_any_modality_is_its_collaborative_signal() -> None:
    corpus = tiny_corpus()
    present = torch.stack([modality.present for modality in corpus.modalities]).any(0)
    alone = torch.nonzero(~present & (corpus.popularity() > 0)).squeeze(1)
    assert len(alone) > 0
    for steps in (("late",), ("early", "late"), ("early", "multi", "late")):
        model = built(corpus, steps=steps)
        assert torch.equal(towers(model).item[alone], model.collaborative()[1][alone])


def test_modality_weights_start_equal_and_sum_to_one_over_what_an_item_has() -> None:
    corpus = tiny_corpus(modalities=("text", "image", "audio"), missing=0.4)
    present = torch.stack([modality.present for modality in corpus.modalities], 1)
    weights = built(corpus).modality_weights(present)
    torch.testing.assert_close(weights, present / present.sum(1, keepdim=True).clamp_min(1))


def test_one_modality_has_nothing_to_contrast() -> None:
    corpus = tiny_corpus(modalities=("text",))
    loss = built(corpus).losses(drawn_batch(corpus, 8))["contrastive"]
    assert loss.item() == 0.0
    loss.backward()


def test_graphs_that_are_frozen_alone_are_built_once() -> None:
    corpus = tiny_corpus(ready_graph=("audio",))
    model = built(corpus, frozen_share=1.0)
    graphs = [graph_of(model, name) for name in ("text", "image", "audio")]
    before = [graph.adjacency.matrix.forward for graph in graphs]
    model.begin_epoch()
    assert all(graph.adjacency.matrix.forward is kept for graph, kept in zip(graphs, before, strict=True))


def test_the_learnt_part_follows_the_projection_at_the_next_epoch_and_not_before() -> None:
    corpus = tiny_corpus()
    model, batch = built(corpus, frozen_share=0.5), drawn_batch(corpus, 16)
    before = graph_of(model, "text").adjacency.matrix.dense()
    optimiser = torch.optim.SGD(model.parameters(), lr=10.0)
    model.losses(batch)["contrastive"].backward()
    optimiser.step()
    model.losses(batch)
    assert torch.equal(graph_of(model, "text").adjacency.matrix.dense(), before)
    model.begin_epoch()
    assert not torch.equal(graph_of(model, "text").adjacency.matrix.dense(), before)


def test_graphs_and_features_are_not_part_of_the_saved_state() -> None:
    model = built(tiny_corpus())
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()


def test_a_present_item_of_zero_features_gets_no_exploding_gradient() -> None:
    # its H is zero as long as the bias is: no direction, neither for the late step nor for the contrastive term
    corpus = tiny_corpus(missing=0.0)
    for modality in corpus.modalities:
        assert modality.features is not None
        modality.features[corpus.train.items[0]] = 0.0
    for steps in (("late",), ("early", "late"), ("early", "multi", "late")):
        model = built(corpus, steps=steps)
        torch.stack(list(model.losses(drawn_batch(corpus, 200)).values())).sum().backward()
        sizes = [p.grad.abs().max().item() for p in model.parameters() if p.grad is not None]
        assert max(sizes) < 100


def test_without_an_item_graph_all_steps_are_the_early_and_the_late_one() -> None:
    # ablation A2, g := e: with H^I missing everywhere, the second step has e alone to choose
    corpus = tiny_corpus()
    whole, without = built(corpus), built(corpus, steps=("early", "late"))
    with torch.no_grad():
        for model in (whole, without):
            model.collaborative.item.zero_()
    assert not whole.id_features().any()
    torch.testing.assert_close(scored(whole), scored(without))
    with torch.no_grad():
        whole.collaborative.item.fill_(1.0)
        without.collaborative.item.fill_(1.0)
    assert not torch.allclose(scored(whole), scored(without))


def test_without_modality_graphs_the_features_are_the_projected_ones() -> None:
    corpus = tiny_corpus()
    model = built(corpus, modality_graphs=False)
    every = torch.arange(corpus.num_items)
    for name, modality, h_ID in zip(
        ("text", "image"), corpus.modalities, model.modality_features(every), strict=True
    ):
        expected = graph_of(model, name).projected()
        torch.testing.assert_close(h_ID[modality.present], expected[modality.present])
        assert not h_ID[~modality.present].any()


def test_the_mean_is_what_attention_gives_to_alternatives_that_are_alike() -> None:
    corpus = tiny_corpus(modalities=("text", "image", "audio"), missing=0.4)
    asking, mean = built(corpus), built(corpus, attention=False)
    with torch.no_grad():
        asking.early_query.zero_()
    torch.testing.assert_close(scored(asking), scored(mean))


def test_one_query_asks_every_item_alike() -> None:
    # of two items with the same features and modalities, e is the same whatever is known of their users
    corpus = tiny_corpus(missing=0.0)
    h, present = torch.randn(2, 1, 8, generator=rng()).expand(2, 2, 8), torch.ones(2, 2, dtype=torch.bool)
    z = torch.randn(2, 8, generator=rng(1))
    one, other = built(corpus, scope="global").early_fusion(z, h, present)
    assert torch.equal(one, other)
    one, other = built(corpus).early_fusion(z, h, present)
    assert not torch.allclose(one, other)


def test_pair_scope_whose_users_ask_nothing_is_item_scope() -> None:
    corpus = tiny_corpus(modalities=("text", "image", "audio"), missing=0.4)
    for steps in (("early", "late"), ("early", "multi", "late")):
        pair, item = built(corpus, scope="pair", steps=steps), built(corpus, steps=steps)
        batch = drawn_batch(corpus, 16)
        assert not torch.allclose(scored(pair), scored(item), rtol=1e-3)
        assert not torch.equal(pair.losses(batch)["bpr"], item.losses(batch)["bpr"])
        with torch.no_grad():
            pair.early_user_query.zero_()
        torch.testing.assert_close(scored(pair), scored(item))
        torch.testing.assert_close(pair.losses(batch), item.losses(batch))


def test_in_pair_scope_users_who_differ_get_different_features_of_one_item() -> None:
    model = built(tiny_corpus(missing=0.0), scope="pair")
    z, h = torch.zeros(2, 8), torch.randn(2, 1, 8, generator=rng()).expand(2, 2, 8)
    present = torch.ones(2, 2, dtype=torch.bool)
    user = torch.randn(2, 8, generator=rng(1))
    one, other = model.early_fusion(z, h, present, user=user)
    assert not torch.allclose(one, other)
    one, other = model.early_fusion(z, h, present, user=user[:1].expand(2, 8))
    assert torch.equal(one, other)


# -- invariances


@pytest.mark.parametrize("directed", [False, True])
def test_renumbering_the_items_changes_no_loss_and_only_renumbers_the_vectors(*, directed: bool) -> None:
    corpus = tiny_corpus(ready_graph=("image",))
    new_row = torch.randperm(corpus.num_items, generator=rng(1))
    one, other = (built(c, directed=directed) for c in (corpus, permute_items(corpus, new_row)))
    state = one.state_dict()
    other.load_state_dict(
        {**state, "collaborative.item": state["collaborative.item"][torch.argsort(new_row)]}
    )
    for model in (one, other):
        model.begin_epoch()
    batch = drawn_batch(corpus, 32)
    moved = replace(batch, positives=new_row[batch.positives], negatives=new_row[batch.negatives])
    expected = one.losses(batch)
    for name, value in other.losses(moved).items():
        torch.testing.assert_close(value, expected[name])
    torch.testing.assert_close(towers(other).item[new_row], towers(one).item, rtol=1e-5, atol=1e-6)


def test_naming_the_modalities_picks_and_orders_them() -> None:
    corpus = tiny_corpus(modalities=("text", "image", "audio"))
    model = built(corpus, modalities=("audio", "text"))
    assert list(model.modalities) == ["audio_graph", "text_graph"]
    assert graph_of(model, "audio").features is corpus.modalities[2].features
    assert torch.equal(model.present_IM[:, 0], corpus.modalities[2].present)


@pytest.mark.parametrize("name", ["type", "items", "train", "forward", "text-2"])
def test_a_modality_may_have_any_name_that_the_data_allow(name: str) -> None:
    corpus = tiny_corpus(modalities=(name, "text"))
    assert len(built(corpus).losses(drawn_batch(corpus, 4))) == 3


# -- any corpus


@settings(deadline=None, max_examples=25)
@given(
    corpora(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(1, 8),
    st.integers(1, 20),
    st.sampled_from(["item", "pair", "global"]),
)
def test_losses_gradients_and_scores_are_finite_on_any_corpus(
    corpus: Corpus, directed: bool, num_layers: int, graph_features: int, neighbours: int, scope: str
) -> None:
    if not corpus.modalities:
        with pytest.raises(ConfigError, match="at least one modality"):
            built(corpus)
        return
    model = built(
        corpus,
        directed=directed,
        num_layers=num_layers,
        graph_features=graph_features,
        num_neighbours=neighbours,
        scope=scope,
    )
    losses = torch.stack(list(model.losses(drawn_batch(corpus, 16)).values()))
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert bool(scored(model).isfinite().all())
    if scope != "pair":  # where infinity says that an answer is missing
        assert all(bool(tensor.isfinite().all()) for tensor in model.scorer().tensors().values())


# -- learning


def trained(corpus: Corpus, *, steps: int = 80) -> TwoTower:
    model = built(corpus)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        if step % 10 == 0:
            model.begin_epoch()
        terms = model.losses(drawn_batch(corpus, 256, seed=step))
        optimiser.zero_grad()
        (terms["bpr"] + 0.03 * terms["contrastive"] + 1e-4 * terms["l2"]).backward()
        optimiser.step()
    return towers(model)


def own_group_wins(scorer: TwoTower, among: Tensor) -> float:
    """How often an item of the user's own group is ranked before one of another; 1/2 by chance."""
    scores = (scorer.user @ scorer.item.T)[:, among]
    groups = torch.arange(scorer.num_items)[among] % NUM_GROUPS
    wins = [
        (row[groups == user % NUM_GROUPS][:, None] > row[groups != user % NUM_GROUPS]).float().mean()
        for user, row in enumerate(scores)
    ]
    return torch.stack(wins).mean().item()


def with_shuffled_content(corpus: Corpus) -> Corpus:
    modalities = []
    for modality in corpus.modalities:
        assert modality.features is not None
        order = torch.randperm(corpus.num_items, generator=rng(7))
        modalities.append(replace(modality, features=modality.features[order]))
    return replace(corpus, modalities=tuple(modalities))


def test_it_recovers_the_planted_groups_also_of_items_that_nobody_had() -> None:
    corpus = tiny_corpus(num_users=60, num_items=45, num_cold=12, missing=0.0)
    cold = corpus.popularity() == 0
    scorer = trained(corpus)
    assert own_group_wins(scorer, ~cold) > 0.85
    assert own_group_wins(scorer, cold) > 0.85
    # the control: what cold items gain must come from content that fits them
    assert own_group_wins(trained(with_shuffled_content(corpus)), cold) < 0.65


# -- elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_losses_of_the_cpu_after_its_own_rebuilding() -> None:
    corpus = tiny_corpus(ready_graph=("image", "audio"))
    batch = drawn_batch(corpus, 32)
    on_cpu, on_gpu = built(corpus), built(corpus).cuda()
    on_gpu.begin_epoch()
    moved = PairBatch(
        users=batch.users.cuda(), positives=batch.positives.cuda(), negatives=batch.negatives.cuda()
    )
    expected = on_cpu.losses(batch)
    for name, value in on_gpu.losses(moved).items():
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(towers(on_gpu).item.cpu(), towers(on_cpu).item, rtol=1e-4, atol=1e-4)
