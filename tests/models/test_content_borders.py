"""Borders decided from content, in training and in serving."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, ItemBatch, Queries
from fuserec.errors import ConfigError
from fuserec.models.content_borders import ContentBorders
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.ops.blocks import Blocks
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.literal import randomised

CORPUS = tiny_corpus(titled=True)  # 30 items
WARM = (CORPUS.popularity() > 0).nonzero()[:, 0].tolist()
CONFIG = MufasaConfig(
    dim=16,
    num_layers=2,
    dropout=0.0,
    id_dropout=0.0,
    window=3,
    block=4,
    selected=1,
    group=2,
    borders="content",
    border_below=0.75,
    fusion_dim=16,
    teacher_dim=8,
)
LISTS = ([0, 5, 3, 5, 9, 1, 14, 2], [7], [2, 1, 11])


class TestMufasaWithBordersByContent(GradientContract):
    model: ClassVar[Any] = Mufasa
    config = replace(CONFIG, num_layers=1, joint=True)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.02
    learning_steps = 80
    without_gradient: ClassVar[frozenset[str]] = frozenset(
        f"layer.fusion.encoders.{name}_encoder.down" for name in ("image", "text")
    )

    def corpus(self, *, repeats: bool = False) -> Corpus:
        return tiny_corpus(titled=True, repeats=repeats)


def built(**options: Any) -> Mufasa:
    """In double precision, with weights that are not those of the beginning; cosines of f are around .8."""
    return randomised(Mufasa(replace(CONFIG, **options), CORPUS, generator=torch.Generator().manual_seed(0)))


def single(**options: Any) -> Mufasa:
    """The same in single precision, in which scorers are."""
    return built(**options).float()


def batch(*lists: list[int]) -> Histories:
    return Histories.from_lists([[WARM[place] for place in row] for row in lists])


def content(model: Mufasa) -> Tensor:
    assert model.layer is not None
    return model.layer.frozen()


def test_blocks_end_where_the_cosine_of_two_events_is_small_and_where_they_are_full() -> None:
    east, north = [1.0, 0.0], [0.0, 1.0]
    borders = ContentBorders(content=torch.tensor([east, north, east]), below=0.5, block=3)
    # the start, two of the east, one of the north; the start, five of the east
    rows, offsets = torch.tensor([1, 0, 2, 1, 1, 0, 0, 0, 2, 0]), torch.tensor([0, 4, 10])
    blocks = borders.blocks(rows, offsets)
    assert blocks.starts.tolist() == [0, 3, 4, 7, 10]
    assert blocks.offsets.tolist() == [0, 2, 4]
    assert not blocks.fixed


def seen(monkeypatch: pytest.MonkeyPatch, model: Mufasa | SequenceScorer) -> list[Blocks]:
    """The blocks that an encoder is given from now on."""
    given: list[Blocks] = []
    encoder = model.encoder if isinstance(model, SequenceScorer) else model.next_item.encoder
    forward = encoder.forward

    def telling(x: Tensor, offsets: Tensor, blocks: Blocks | None = None) -> Tensor:
        assert blocks is not None
        given.append(blocks)
        return forward(x, offsets, blocks)

    monkeypatch.setattr(encoder, "forward", telling)
    return given


def test_serving_sees_the_borders_that_training_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    model = single()
    trained = seen(monkeypatch, model)
    model.losses(batch(*LISTS))
    scorer = SequenceScorer.from_tensors(model.scorer().tensors())
    served = seen(monkeypatch, scorer)
    # training reads the start and all but the last event, serving the start and all events
    histories = batch(*(row[:-1] for row in LISTS))
    scorer.scores(Queries(users=torch.full((3,), -1), histories=histories), slice(0, 30))
    assert served[0].starts.tolist() == trained[0].starts.tolist()
    assert served[0].offsets.tolist() == trained[0].offsets.tolist()
    assert served[0].counts[:-3].tolist() != [4, 4], "there are borders besides those of full blocks"


def test_the_scorer_ranks_as_training_does() -> None:
    model = single()
    scorer, row = model.scorer(), [WARM[place] for place in LISTS[0]]
    terms = []
    for count in range(len(row)):
        queries = Queries(users=torch.tensor([-1]), histories=Histories.from_lists([row[:count]]))
        scores = scorer.scores(queries, slice(0, 30))[0]
        terms.append(torch.logsumexp(scores[WARM], 0) - scores[row[count]])
    torch.testing.assert_close(
        model.losses(batch(LISTS[0]))["softmax"], torch.stack(terms).mean(), rtol=1e-4, atol=1e-4
    )


def test_the_borders_matter_and_are_those_of_the_threshold() -> None:
    losses = {
        below: built(border_below=below).losses(batch(*LISTS))["softmax"].item()
        for below in (-1.0, 0.75, 1.0)
    }
    assert len(set(losses.values())) == 3
    # nothing is so unlike: a border comes every four events, as without content
    assert losses[-1.0] == pytest.approx(
        built(borders="fixed").losses(batch(*LISTS))["softmax"].item(), abs=1e-9
    )


def test_changing_everything_from_an_event_on_changes_no_earlier_loss() -> None:
    model = built()

    def terms(row: list[int]) -> list[float]:
        """The term of each event: what the mean of the first n events times n grows by."""
        sums = [0.0] + [model.losses(batch(row[:n]))["softmax"].item() * n for n in range(1, len(row) + 1)]
        return [after - before for before, after in pairwise(sums)]

    row, other = LISTS[0], [8, 6, 10, 4, 12, 13, 3, 15]
    whole = terms(row)
    # as one batch gives it, all borders known at once
    assert model.losses(batch(row))["softmax"].item() == pytest.approx(sum(whole) / len(row), abs=1e-9)
    for t in range(1, len(row)):
        assert terms(row[:t] + other[t:])[:t] == pytest.approx(whole[:t], abs=1e-9)


def test_other_histories_of_the_batch_do_not_matter() -> None:
    model = built()
    alone = [model.losses(batch(row))["softmax"].item() * len(row) for row in LISTS]
    together = model.losses(batch(*LISTS))["softmax"].item()
    assert together == pytest.approx(sum(alone) / sum(map(len, LISTS)), abs=1e-9)


def test_training_on_the_fusion_layer_moves_the_borders() -> None:
    model = built()
    before = model.scorer().tensors()["border"]
    assert torch.equal(before, content(model))
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    torch.stack(list(model.losses(ItemBatch(items=torch.arange(30))).values())).sum().backward()
    optimiser.step()
    model.losses(ItemBatch(items=torch.arange(30)))
    assert not torch.allclose(model.scorer().tensors()["border"], before)


def test_a_scorer_with_fixed_borders_carries_no_content() -> None:
    assert not {"border", "border_below"} & built(borders="fixed").scorer().tensors().keys()


def test_items_that_come_later_have_a_row_of_the_content_too() -> None:
    model = single(items="content")
    rows, tensors = model.content_rows(CORPUS.modalities), model.scorer().tensors()
    assert rows.keys() == {"item", "border"}
    for name, row in rows.items():
        torch.testing.assert_close(row, tensors[name])
    assert single(borders="fixed").content_rows(CORPUS.modalities).keys() == {"item"}


@pytest.mark.parametrize(
    ("option", "unfit", "fit"), [("items", "id", "both"), ("attention", "dense", "sparse")]
)
def test_without_content_or_without_blocks_it_is_refused(option: str, unfit: str, fit: str) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"^expected {option} = '{fit}' where borders = 'content', got '{unfit}'; change it",
    ):
        replace(CONFIG, **{option: unfit})  # type: ignore[arg-type]
    replace(CONFIG, **{option: unfit, "borders": "fixed"})  # type: ignore[arg-type]


@pytest.mark.parametrize("below", [-1.01, 1.01, float("nan")])
def test_a_cosine_that_is_none_is_refused(below: float) -> None:
    with pytest.raises(ConfigError, match="border_below must be from -1 to 1, got"):
        replace(CONFIG, border_below=below)
