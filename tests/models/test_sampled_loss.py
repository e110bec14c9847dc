"""The sampled loss of the models of the next item: what it is, what it touches, and that it learns."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories
from fuserec.errors import ConfigError
from fuserec.models.catalogue_loss import check_next_item
from fuserec.models.esasrec import EsasrecConfig
from fuserec.models.hstu import HstuConfig
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.next_item import NextItemById
from fuserec.models.registry import GRADIENT_MODELS
from fuserec.models.sasrec import SasrecConfig, sasrec
from fuserec.nn.encoder import Encoder
from fuserec.nn.item_vectors import IdItems
from fuserec.nn.negatives import Negatives
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.literal import randomised
from fuserec.testing.planted.layout import corpus_of, even_histories
from fuserec.training.batches import HistorySampler
from fuserec.training.config import TrainConfig
from fuserec.training.loop import optimiser_for, train_epoch
from fuserec.training.progress import Silent
from fuserec.training.row_adam import RowAdam

CORPUS = tiny_corpus()  # 30 items, 3 of them cold
ITEMS, DIM = 50, 8


class TestSampledSasrec(GradientContract):
    model: ClassVar[Any] = staticmethod(sasrec)
    config = SasrecConfig(dim=16, num_layers=1, loss="sampled", num_negatives=40)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01
    optimiser: ClassVar[Any] = staticmethod(functools.partial(RowAdam, weight_decay=0.0))


def built(*, similarity: Any = "dot", law: Any = "uniform", number: int = 6) -> NextItemById:
    generator = torch.Generator().manual_seed(0)
    encoder = Encoder(
        "transformer",
        dim=DIM,
        num_layers=1,
        options={"heads": 2, "hidden": 12},
        dropout=0.0,
        generator=generator,
    )
    negatives = Negatives(CORPUS.popularity(), number=number, law=law, generator=generator)
    return NextItemById(
        CORPUS, encoder, dim=DIM, similarity=similarity, negatives=negatives, generator=generator
    )


WARM = torch.nonzero(CORPUS.popularity())[:, 0]
BATCH = Histories.from_lists([WARM[[0, 5, 3, 5]].tolist(), WARM[[7]].tolist(), WARM[[2, 1]].tolist()])


def redrawn(model: NextItemById) -> tuple[Tensor, Tensor]:
    """What the first step of the epoch draws; the epoch begins anew."""
    negatives = model.next_item.negatives
    assert negatives is not None
    negatives.epoch -= 1
    negatives.begin_epoch()
    drawn: tuple[Tensor, Tensor] = negatives()
    negatives.epoch -= 1
    negatives.begin_epoch()
    return drawn


def literal_loss(model: NextItemById, drawn: Tensor, log_expected: Tensor) -> Tensor:
    """All items' vectors, event by event."""
    item, encoder, log_temperature = (
        model.item.weight,
        model.next_item.encoder,
        model.next_item.log_temperature,
    )
    if log_temperature is not None:
        item = item / item.norm(dim=1, keepdim=True)
    terms = []
    for row in range(len(BATCH)):
        events = BATCH.select(torch.tensor([row])).items
        x = torch.cat([encoder.start[None], item[events[:-1]]])
        user = encoder(x, torch.tensor([0, len(x)]))
        if log_temperature is not None:
            user = user / user.norm(dim=1, keepdim=True) / log_temperature.exp()
        for t, event in enumerate(events):
            others = [
                user[t] @ item[one] - expected
                for one, expected in zip(drawn, log_expected, strict=True)
                if one != event
            ]
            logits = torch.stack([user[t] @ item[event], *others])
            terms.append(-logits.log_softmax(0)[0])
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("similarity", "law"), [("dot", "popularity"), ("cosine", "uniform")])
def test_the_loss_is_the_corrected_softmax_over_the_sample_in_values_and_gradients(
    similarity: str, law: str
) -> None:
    model = randomised(built(similarity=similarity, law=law, number=12))
    model.begin_epoch()
    found = model.losses(BATCH)["softmax"]
    drawn = redrawn(model)
    assert torch.isin(drawn[0], BATCH.items).any(), "the case of a drawn target is among them"
    expected = literal_loss(model, *drawn)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    parameters = list(model.parameters())
    of_found = torch.autograd.grad(found, parameters)
    for ours, theirs in zip(of_found, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(ours.to_dense(), theirs, rtol=1e-7, atol=1e-9)


def test_a_large_sample_gives_what_the_whole_catalogue_gives() -> None:
    model = randomised(built(law="popularity", number=20_000))
    model.begin_epoch()
    exact = model.next_item.loss(model.item(), BATCH)
    assert model.losses(BATCH)["softmax"].item() == pytest.approx(exact.item(), abs=0.03)


def test_a_step_touches_only_the_rows_of_the_batch_and_of_the_sample() -> None:
    model = built(number=9)
    model.begin_epoch()
    drawn = redrawn(model)[0]
    optimiser = optimiser_for(model, TrainConfig(learning_rate=0.1, weight_decay=0.1))
    model.losses(BATCH)["softmax"].backward()
    gradient = model.item.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    used = set(gradient.coalesce().indices()[0].tolist())
    assert used == set(BATCH.items.tolist()) | set(drawn.tolist())
    assert set(BATCH.items.tolist()) < used < set(WARM.tolist())
    before = model.item.weight.detach().clone()
    optimiser.step()
    moved = (model.item.weight.detach() != before).any(1).nonzero()[:, 0].tolist()
    assert set(moved) == used, "neither the step nor the weight decay reaches another row"


def test_the_loop_takes_the_optimiser_of_rows_where_gradients_are_sparse_and_torchs_elsewhere() -> None:
    config = TrainConfig(learning_rate=0.1, weight_decay=0.2)
    generator = torch.Generator().manual_seed(0)
    dense = optimiser_for(sasrec(SasrecConfig(dim=4), CORPUS, generator=generator), config)
    rows = optimiser_for(sasrec(SasrecConfig(dim=4, loss="sampled"), CORPUS, generator=generator), config)
    assert type(dense) is torch.optim.AdamW
    assert type(rows) is RowAdam
    for name in ("lr", "betas", "eps", "weight_decay"):
        assert rows.defaults[name] == dense.defaults[name], name


def cyclic() -> Corpus:
    """Whoever had item n has item n + 1 next."""
    starts = torch.randint(ITEMS, (60, 1), generator=torch.Generator().manual_seed(1))
    return corpus_of(even_histories((starts + torch.arange(12)) % ITEMS), ITEMS)


@pytest.mark.parametrize("name", ["sasrec", "mufasa"])
def test_it_learns_what_comes_next(name: str) -> None:
    corpus, entry = cyclic(), GRADIENT_MODELS[name]
    options = {"items": "id", "block": 4, "group": 4} if name == "mufasa" else {}
    config = entry.config(
        dim=16, num_layers=1, dropout=0.0, loss="sampled", num_negatives=16, negatives="popularity", **options
    )
    model = entry.build(config, corpus, torch.Generator().manual_seed(0))
    assert isinstance(model, NextItemById | Mufasa)
    table = model.item if isinstance(model, NextItemById) else model.item.ids
    assert isinstance(table, IdItems)
    sampler = HistorySampler(corpus, batch_size=120, shuffle=torch.Generator().manual_seed(0))
    optimiser = optimiser_for(model, TrainConfig(learning_rate=0.02))
    for _ in range(20):
        train_epoch(
            model, sampler, optimiser, {"softmax": 1.0}, device=torch.device("cpu"), progress=Silent()
        )
    model.eval()
    vectors = table.weight.detach()
    asked = torch.arange(ITEMS)[:, None].expand(-1, 3) - torch.tensor([2, 1, 0])
    history = even_histories(asked % ITEMS)
    x = torch.cat([model.next_item.encoder.start.detach().expand(ITEMS, 1, -1), vectors[asked % ITEMS]], 1)
    user = model.next_item.encoder(x.flatten(0, 1), history.offsets // 3 * 4)[3::4]
    hit = (user @ vectors.T).argmax(1) == (torch.arange(ITEMS) + 1) % ITEMS
    assert hit.double().mean() > 0.9


@pytest.mark.parametrize("config", [SasrecConfig, EsasrecConfig, HstuConfig, MufasaConfig])
def test_no_negatives_are_refused_by_every_model(config: Any) -> None:
    with pytest.raises(ConfigError, match=r"^num_negatives must be at least 1, got 0$"):
        config(num_negatives=0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "sample", "expected loss to be one of softmax, sampled, got 'sample'; .*'sampled'"),
        ("negatives", "popular", "expected negatives to be one of uniform, popularity, got 'popular'; .*"),
    ],
)
def test_words_that_are_none_are_refused_with_the_nearest_that_is(
    name: str, value: str, message: str
) -> None:
    options = {"loss": "softmax", "num_negatives": 1, "negatives": "uniform"} | {name: value}
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_next_item(SimpleNamespace(dim=1, dropout=0.0, **options))


@pytest.mark.parametrize("items", ["both", "content"])
def test_content_needs_the_whole_table(items: Any) -> None:
    message = (
        f"^expected loss 'softmax' where items = '{items}', got 'sampled': .* for all items in each step"
    )
    with pytest.raises(ConfigError, match=message):
        MufasaConfig(items=items, loss="sampled")
    assert MufasaConfig(items="id", loss="sampled").loss == "sampled"
