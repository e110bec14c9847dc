"""MGCN as a model: the contract, numbers by hand, limits, invariances, and that it learns from content.

Its equations are held against literal ones in test_mgcn_equations.py.
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

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, PairBatch, Pairs
from fuserec.errors import ConfigError
from fuserec.models.mgcn import Mgcn, MgcnConfig, item_graph
from fuserec.models.two_tower import TwoTower
from fuserec.testing.contract import GradientContract, permute_items
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

SMALL: dict[str, Any] = {"dim": 8, "num_neighbours": 4}


class TestContract(GradientContract):
    model: ClassVar[Any] = Mgcn
    config: ClassVar[Any] = MgcnConfig(**SMALL)
    loss_weights: ClassVar[dict[str, float]] = {"contrastive": 0.01, "l2": 1e-4}


class TestContractOfGraphsWithoutFeatures(TestContract):
    config: ClassVar[Any] = MgcnConfig(**SMALL, graph_features=6, item_layers=2)

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(ready_graph=("audio",), repeats=repeats)


class TestContractOfOneModality(TestContract):
    # one modality is all that is shared, so there is nothing to weigh and nothing of its own to prefer
    without_gradient: ClassVar[frozenset[str]] = frozenset(
        {
            "attention.weight",
            "attention.bias",
            "attention_query",
            "views.text_view.preference.weight",
            "views.text_view.preference.bias",
        }
    )

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(modalities=("text",), repeats=repeats)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(corpus: Corpus, **options: Any) -> Mgcn:
    return Mgcn(MgcnConfig(**{**SMALL, **options}), corpus, generator=rng())


def drawn_batch(corpus: Corpus, size: int, *, seed: int = 0) -> PairBatch:
    chosen = torch.randint(len(corpus.train), (size,), generator=rng(seed))
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    return PairBatch(
        users=corpus.train.users[chosen],
        positives=corpus.train.items[chosen],
        negatives=warm[torch.randint(len(warm), (size,), generator=rng(seed + 1))],
    )


# -- by hand


def with_numbers(model: Mgcn, **numbers: Any) -> Mgcn:
    """The parameters named, and zero for all others."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(numbers.get(name.replace(".", "__"), 0.0)))
    return model


def two_items() -> Corpus:
    """One user with item 0; item 1 is cold; they are neighbours with weight 1."""
    content = Modality(
        name="text",
        present=torch.ones(2, dtype=torch.bool),
        features=torch.tensor([[1.0], [3.0]]),
        graph=KnnGraph(neighbours=torch.tensor([[1], [0]]), weights=torch.ones(2, 1)),
    )
    train = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    return Corpus(num_users=1, num_items=2, train=train, modalities=(content,))


def test_two_items_by_hand() -> None:
    # S is all ones, so the graph is all 1/2. The gate of item 0 is sigmoid(log 3 * 1) = 3/4, so 4 is purified to 3;
    # the cold item's own 100 is not trained and does not travel. Content: 3/2 for both items, 3/2 for the user.
    # Behaviour, no layers: 5 for the user, 4 for item 0, nothing for item 1.
    model = with_numbers(
        Mgcn(MgcnConfig(dim=1, num_layers=0), two_items(), generator=rng()),
        collaborative__user=[[5.0]],
        collaborative__item=[[4.0], [100.0]],
        views__text_view__projection__weight=[[1.0]],
        views__text_view__gate__weight=[[math.log(3)]],
    )
    scorer = model.scorer()
    torch.testing.assert_close(scorer.user, torch.tensor([[6.5]]))
    torch.testing.assert_close(scorer.item, torch.tensor([[5.5], [1.5]]))
    torch.testing.assert_close(scorer.fold, torch.tensor([[1.5], [0.0]]))


def test_the_fuser_by_hand() -> None:
    # q tanh(h) with q = log 3 / tanh 1: h = 1 and 0 weigh 3/4 and 1/4, shared 3/4, own 1/4 and -3/4.
    # Preferences sigmoid(b): 1/2 of text, 3/4 of image. 3/4 + (1/2 * 1/4 - 3/4 * 3/4) / 2 = 17/32.
    model = with_numbers(
        built(tiny_corpus(), dim=1),
        attention__weight=[[1.0]],
        attention_query=[[math.log(3) / math.tanh(1)]],
        views__image_view__preference__bias=[math.log(3)],
    )
    h = torch.tensor([[[1.0]], [[0.0]]])
    weights = model.attention_weights(h, torch.tensor([[True, True]]))
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))
    found = model.fuse(torch.ones(1, 1), h, torch.tensor([[True, True]]))
    torch.testing.assert_close(found, torch.tensor([[17 / 32]]))
    # one alone is all shared; none is nothing
    h = torch.tensor([[[5.0], [5.0]], [[7.0], [7.0]]])
    found = model.fuse(torch.ones(2, 1), h, torch.tensor([[False, True], [False, False]]))
    torch.testing.assert_close(found, torch.tensor([[7.0], [0.0]]))


def test_the_item_graph_counts_the_item_itself_and_those_that_have_the_modality() -> None:
    # of item 0: itself, then 2 (1 lacks it), then no more with k = 2; item 2 names itself and is found once
    modality = Modality(
        name="text",
        present=torch.tensor([True, False, True, True]),
        graph=KnnGraph(
            neighbours=torch.tensor([[1, 2, 3], [0, 2, 3], [2, 3, 0], [-1, -1, 2]]),
            weights=torch.tensor([[0.9, 3.0, 0.7], [1.0, 1.0, 1.0], [1.0, 8.0, 0.5], [0.0, 0.0, 0.0]]),
        ),
    )
    # row sums 4, -, 9 and 1
    expected = torch.tensor([[1 / 4, 0, 3 / 6, 0], [0, 0, 0, 0], [0, 0, 1 / 9, 8 / 3], [0, 0, 0, 1.0]])
    torch.testing.assert_close(item_graph(modality, k=2).dense(), expected)
    torch.testing.assert_close(
        item_graph(modality, k=1).dense(), torch.diag(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    )


# -- limits


def test_without_any_content_it_is_lightgcn() -> None:
    corpus = tiny_corpus(missing=1.0)
    model = built(corpus)
    user, item = model.collaborative()
    scorer = model.scorer()
    warm = corpus.popularity() > 0
    assert torch.equal(scorer.user, user)
    assert torch.equal(scorer.item[warm], item[warm])
    assert not scorer.item[~warm].any()
    assert torch.equal(scorer.fold, model.collaborative.fold())
    terms = model.losses(drawn_batch(corpus, 8))
    assert terms["contrastive"].item() == 0.0
    torch.stack(list(terms.values())).sum().backward()


def test_what_an_absent_modality_would_say_does_not_matter() -> None:
    corpus = tiny_corpus(missing=0.4)
    other = replace(
        corpus,
        modalities=tuple(
            replace(modality, features=torch.where(modality.present[:, None], modality.features, 9.0))
            for modality in corpus.modalities
            if modality.features is not None
        ),
    )
    one, two = (built(each) for each in (corpus, other))
    batch = drawn_batch(corpus, 32)
    expected = one.losses(batch)
    assert all(torch.equal(value, expected[name]) for name, value in two.losses(batch).items())
    assert torch.equal(one.scorer().item, two.scorer().item)


def test_graphs_and_features_are_not_part_of_the_saved_state() -> None:
    model = built(tiny_corpus())
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()


# -- invariances


def test_renumbering_the_items_changes_no_loss_and_only_renumbers_the_vectors() -> None:
    corpus = tiny_corpus(ready_graph=("image",))
    new_row = torch.randperm(corpus.num_items, generator=rng(1))
    one, other = (built(c) for c in (corpus, permute_items(corpus, new_row)))
    state = one.state_dict()
    other.load_state_dict(
        {**state, "collaborative.item": state["collaborative.item"][torch.argsort(new_row)]}
    )
    batch = drawn_batch(corpus, 32)
    moved = replace(batch, positives=new_row[batch.positives], negatives=new_row[batch.negatives])
    expected = one.losses(batch)
    for name, value in other.losses(moved).items():
        torch.testing.assert_close(value, expected[name])
    torch.testing.assert_close(other.scorer().item[new_row], one.scorer().item, rtol=1e-5, atol=1e-6)


def test_naming_the_modalities_picks_and_orders_them() -> None:
    corpus = tiny_corpus(modalities=("text", "image", "audio"))
    model = built(corpus, modalities=("audio", "text"))
    assert list(model.views) == ["audio_view", "text_view"]
    assert torch.equal(model.present_IM[:, 0], corpus.modalities[2].present)


@pytest.mark.parametrize("name", ["type", "items", "train", "forward", "text-2"])
def test_a_modality_may_have_any_name_that_the_data_allow(name: str) -> None:
    corpus = tiny_corpus(modalities=(name, "text"))
    assert len(built(corpus).losses(drawn_batch(corpus, 4))) == 3


# -- any corpus


@settings(deadline=None, max_examples=20)
@given(corpora(), st.integers(0, 3), st.integers(1, 8), st.integers(1, 20))
def test_losses_gradients_and_scores_are_finite_on_any_corpus(
    corpus: Corpus, num_layers: int, graph_features: int, neighbours: int
) -> None:
    if not corpus.modalities:
        with pytest.raises(ConfigError, match="at least one modality"):
            built(corpus)
        return
    model = built(corpus, num_layers=num_layers, graph_features=graph_features, num_neighbours=neighbours)
    losses = torch.stack(list(model.losses(drawn_batch(corpus, 16)).values()))
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert all(bool(tensor.isfinite().all()) for tensor in model.scorer().tensors().values())


# -- learning


def trained(corpus: Corpus, *, steps: int = 80) -> TwoTower:
    model = built(corpus)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        terms = model.losses(drawn_batch(corpus, 256, seed=step))
        optimiser.zero_grad()
        (terms["bpr"] + 0.01 * terms["contrastive"] + 1e-4 * terms["l2"]).backward()
        optimiser.step()
    return model.scorer()


def own_group_wins(users: Tensor, item: Tensor, among: Tensor) -> float:
    """How often an item of the user's own group is ranked before one of another; 1/2 by chance."""
    scores = (users @ item.T)[:, among]
    groups = torch.arange(len(item))[among] % NUM_GROUPS
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


def test_it_recovers_the_planted_groups_also_of_items_that_nobody_had_and_for_new_users() -> None:
    corpus = tiny_corpus(num_users=60, num_items=45, num_cold=12, missing=0.0)
    cold = corpus.popularity() == 0
    scorer = trained(corpus)
    assert own_group_wins(scorer.user, scorer.item, ~cold) > 0.85
    assert own_group_wins(scorer.user, scorer.item, cold) > 0.85
    folded = scorer.fold_in(Histories.of(corpus.train, num_users=60))
    assert own_group_wins(folded, scorer.item, ~cold) > 0.85
    # the control: what cold items gain must come from content that fits them
    control = trained(with_shuffled_content(corpus))
    assert own_group_wins(control.user, control.item, cold) < 0.65


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, r"dim must be at least 1, got 0"),
        ({"num_layers": -1}, r"num_layers must be at least 0, got -1"),
        ({"item_layers": 0}, r"item_layers must be at least 1, got 0"),
        ({"num_neighbours": 0}, r"num_neighbours must be at least 1, got 0"),
        ({"graph_features": 0}, r"graph_features must be at least 1, got 0"),
        ({"temperature": 0.0}, r"temperature must be above 0, got 0\.0"),
        ({"temperature": math.nan}, r"temperature must be above 0, got nan"),
        ({"modalities": ("a", "a")}, r"modalities must name each modality once, got \['a', 'a'\]"),
    ],
)
def test_a_wrong_option_says_what_is_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        MgcnConfig(**options)


def test_a_modality_that_is_not_there_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected a modality of the dataset, got 'texd'; did you mean 'text'\?$"
    ):
        built(tiny_corpus(), modalities=("texd",))
    with pytest.raises(
        ConfigError, match=r"^expected a dataset with at least one modality, got none; .*or use lightgcn$"
    ):
        built(tiny_corpus(modalities=()))
    bare = Modality(name="text", present=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"^expected features or a graph for modality 'text', got neither$"):
        item_graph(bare, k=3)


# -- elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_losses_and_the_scorer_of_the_cpu() -> None:
    corpus = tiny_corpus(ready_graph=("image", "audio"))
    batch = drawn_batch(corpus, 32)
    on_cpu, on_gpu = built(corpus), built(corpus).cuda()
    moved = PairBatch(
        users=batch.users.cuda(), positives=batch.positives.cuda(), negatives=batch.negatives.cuda()
    )
    expected = on_cpu.losses(batch)
    for name, value in on_gpu.losses(moved).items():
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(on_gpu.scorer().item.cpu(), on_cpu.scorer().item, rtol=1e-4, atol=1e-4)
