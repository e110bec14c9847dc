"""What all models of the next item share, by the simplest of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.models.next_item import NextItemById
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.encoder import Encoder
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.literal import randomised

CORPUS = tiny_corpus()  # 30 items, 3 of them cold
WARM = (CORPUS.popularity() > 0).nonzero()[:, 0].tolist()
COLD = (CORPUS.popularity() == 0).nonzero()[:, 0].tolist()
DIM = 8


def built(*, similarity: Any = "dot", rate: float = 0.0, seed: int = 0) -> NextItemById:
    generator = torch.Generator().manual_seed(seed)
    encoder = Encoder(
        "transformer",
        dim=DIM,
        num_layers=2,
        options={"heads": 2, "hidden": 12},
        dropout=rate,
        generator=generator,
    )
    return NextItemById(CORPUS, encoder, dim=DIM, similarity=similarity, generator=generator)


def batch(*lists: list[int]) -> Histories:
    return Histories.from_lists([[WARM[place] for place in row] for row in lists])


LISTS = ([0, 5, 3, 5], [7], [2, 1])


def logits(model: NextItemById, history: list[int]) -> Tensor:
    """(I,) of the event after a history, written out."""
    item, encoder = model.item(), model.next_item.encoder
    log_temperature = model.next_item.log_temperature
    if log_temperature is not None:
        item = item / item.norm(dim=1, keepdim=True)
    x = torch.stack([encoder.start, *(item[one] for one in history)])
    user: Tensor = encoder(x, torch.tensor([0, len(x)]))[-1]
    if log_temperature is not None:
        user = user / user.norm() / log_temperature.exp()
    found: Tensor = item @ user
    return found


def literal_loss(model: NextItemById, histories: Histories) -> Tensor:
    """Event by event: the start and what came before, a softmax over the warm items, its logarithm."""
    terms = []
    for begin, end in pairwise(histories.offsets.tolist()):
        row = histories.items[begin:end].tolist()
        for t, event in enumerate(row):
            found = logits(model, row[:t])
            terms.append(torch.logsumexp(found[WARM], 0) - found[event])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_loss_is_the_mean_over_all_events_written_out_in_values_and_gradients(similarity: str) -> None:
    model = randomised(built(similarity=similarity))
    if model.next_item.log_temperature is not None:
        torch.nn.init.constant_(model.next_item.log_temperature, -1.0)
    parameters = list(model.parameters())
    found = []
    for loss in (model.losses(batch(*LISTS))["softmax"], literal_loss(model, batch(*LISTS))):
        found.append((loss.detach(), *torch.autograd.grad(loss, parameters)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)


def test_the_first_event_is_predicted_from_the_start_alone() -> None:
    model = randomised(built())
    lone = model.losses(batch([7]))["softmax"]
    expected = torch.logsumexp(logits(model, [])[WARM], 0) - logits(model, [])[WARM[7]]
    torch.testing.assert_close(lone, expected)
    model.zero_grad()
    lone.backward()
    assert model.next_item.encoder.start.grad is not None
    assert model.next_item.encoder.start.grad.any()


def test_an_event_is_predicted_without_a_look_at_itself_or_what_follows() -> None:
    model = built()

    def terms(history: list[int]) -> list[float]:
        """The term of each event: what the mean of the first n events times n grows by."""
        sums = [0.0] + [
            model.losses(batch(history[:n]))["softmax"].item() * n for n in range(1, len(history) + 1)
        ]
        return [after - before for before, after in pairwise(sums)]

    whole, other = terms([0, 5, 3, 9]), terms([0, 5, 8, 9])
    assert whole[:2] == pytest.approx(other[:2], abs=1e-4)
    together = model.losses(batch([0, 5, 3, 9]))["softmax"].item()
    assert together == pytest.approx(sum(whole) / 4, abs=1e-5)
    # the last event is nothing but a target: its vector has a gradient as a candidate alone
    model.zero_grad()
    model.losses(batch([0, 5, 3]))["softmax"].backward()
    ours = model.item.weight.grad
    assert ours is not None
    model.zero_grad()
    fixed = model.item.weight.detach()
    x = torch.stack([model.next_item.encoder.start.detach(), fixed[WARM[0]], fixed[WARM[5]]])
    user = model.next_item.encoder(x, torch.tensor([0, 3])).detach()
    shares = (user @ fixed[WARM].T).softmax(1)
    shares[torch.arange(3), torch.tensor([0, 5, 3])] -= 1.0
    torch.testing.assert_close(ours[WARM[3]], (shares[:, 3:4] * user).sum(0) / 3, rtol=1e-4, atol=1e-7)


def test_other_histories_of_the_batch_do_not_matter() -> None:
    model = built()
    alone = [model.losses(batch(row))["softmax"].item() * len(row) for row in LISTS]
    together = model.losses(batch(*LISTS))["softmax"].item()
    assert together == pytest.approx(sum(alone) / 7, abs=1e-5)


def test_items_without_a_training_interaction_are_not_in_the_softmax_and_score_nought() -> None:
    assert len(COLD) == 3
    model = built()
    before = model.losses(batch(*LISTS))["softmax"]
    before.backward()
    assert model.item.weight.grad is not None
    assert not model.item.weight.grad[COLD].any()
    with torch.no_grad():
        model.item.weight[COLD] = 100.0
    assert torch.equal(model.losses(batch(*LISTS))["softmax"], before)
    asked = Queries(users=torch.tensor([0, -1]), histories=Histories.from_lists([[1, 2], []]))
    scorer: SequenceScorer = model.scorer()
    assert not scorer.scores(asked, slice(0, 30))[:, COLD].any()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_scorer_ranks_as_training_does_without_dropout(similarity: str) -> None:
    model = built(similarity=similarity, rate=0.5)
    model.begin_epoch()
    scorer = model.scorer()
    assert model.training, "taking a scorer does not end training"
    model.eval()
    rows = [[WARM[place] for place in row] for row in LISTS]
    queries = Queries(users=torch.full((3,), -1), histories=Histories.from_lists(rows))
    found = scorer.scores(queries, slice(0, 30))
    for row, history in enumerate(rows):
        expected = logits(model, history)[WARM]
        assert found[row, WARM].argsort().tolist() == expected.argsort().tolist()


def test_a_new_epoch_has_new_draws_and_turns_training_on() -> None:
    model = built(rate=0.5)
    model.eval()
    values = []
    for _ in range(2):
        model.begin_epoch()
        assert model.training
        values.append(model.losses(batch(*LISTS))["softmax"].item())
    assert values[0] != values[1]
    # what is saved decides the next epoch
    other = built(rate=0.5, seed=1)
    other.load_state_dict(model.state_dict())
    for one in (model, other):
        one.begin_epoch()
    assert torch.equal(model.losses(batch(*LISTS))["softmax"], other.losses(batch(*LISTS))["softmax"])
