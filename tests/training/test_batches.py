from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, Histories, Pairs, StagePlan
from fuserec.errors import TrainingError
from fuserec.testing.corpora import tiny_corpus
from fuserec.training.batches import HistorySampler, ItemSampler, Sampler, stages
from fuserec.training.negatives import PairSampler

Lengths = list[int]


def corpus_of(lengths: Lengths) -> Corpus:
    """Users with histories of these lengths, their events in turns as in a log; item row = place in the corpus."""
    turns = sorted((place, user) for user, length in enumerate(lengths) for place in range(length))
    users = torch.tensor([user for _, user in turns], dtype=torch.int64)
    train = Pairs(users=users, items=torch.arange(len(users)))
    return Corpus(num_users=len(lengths), num_items=max(len(users), 1), train=train)


def sampler(corpus: Corpus, batch_size: int, *, seed: int = 0) -> HistorySampler:
    return HistorySampler(corpus, batch_size=batch_size, shuffle=torch.Generator().manual_seed(seed))


def rows_of(histories: Histories) -> list[tuple[int, ...]]:
    return [tuple(histories.items[begin:end].tolist()) for begin, end in pairwise(histories.offsets.tolist())]


def all_of(corpus: Corpus) -> list[tuple[int, ...]]:
    return [row for row in rows_of(Histories.of(corpus.train, num_users=corpus.num_users)) if row]


drawn_lengths = st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any)


# --- histories


@settings(deadline=None, max_examples=60)
@given(drawn_lengths, st.integers(1, 60), st.integers(0, 3))
def test_every_history_comes_whole_and_once_an_epoch_in_steps_that_are_never_empty(
    lengths: Lengths, batch_size: int, seed: int
) -> None:
    corpus = corpus_of(lengths)
    found = sampler(corpus, batch_size, seed=seed)
    for _ in range(2):
        steps = list(found.epoch())
        assert len(steps) == len(found)
        assert all(len(step) and int(step.lengths.min()) for step in steps)
        assert sorted(row for step in steps for row in rows_of(step)) == sorted(all_of(corpus))


@settings(deadline=None, max_examples=60)
@given(drawn_lengths, st.integers(1, 60))
def test_an_epoch_has_as_many_steps_as_batches_of_events_or_as_histories_if_these_are_fewer(
    lengths: Lengths, batch_size: int
) -> None:
    events, users = sum(lengths), sum(map(bool, lengths))
    assert len(sampler(corpus_of(lengths), batch_size)) == min(-(-events // batch_size), users)


@settings(deadline=None, max_examples=60)
@given(drawn_lengths, st.integers(1, 60))
def test_no_step_is_larger_than_an_even_share_and_one_history(lengths: Lengths, batch_size: int) -> None:
    found = sampler(corpus_of(lengths), batch_size)
    share = sum(lengths) / len(found)
    assert max(len(step.items) for step in found.epoch()) < share + max(lengths) + 1


def test_steps_of_histories_of_one_length_are_even() -> None:
    sizes = [len(step.items) for step in sampler(corpus_of([3] * 100), 32).epoch()]
    assert len(sizes) == 10
    assert set(sizes) == {30}


def test_a_history_longer_than_a_step_is_a_step_by_itself_or_nearly_so() -> None:
    corpus = corpus_of([2] * 20 + [500] + [2] * 20)
    for seed in range(5):
        steps = list(sampler(corpus, 30, seed=seed).epoch())
        assert len(steps) == -(-580 // 30)
        (long,) = [step for step in steps if int(step.lengths.max()) == 500]
        assert len(long.items) <= 500 + 30


def test_one_history_is_one_step() -> None:
    corpus = corpus_of([0, 90, 0])
    (step,) = sampler(corpus, 10).epoch()
    assert rows_of(step) == all_of(corpus)


def test_histories_stay_in_the_order_of_their_events() -> None:
    for step in sampler(corpus_of([7, 1, 12]), 8).epoch():
        assert all(row == tuple(sorted(row)) for row in rows_of(step))


def test_epochs_differ_and_the_generator_alone_decides() -> None:
    corpus = corpus_of([3] * 30)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        found = sampler(corpus, 15)
        first, second = ([rows_of(step) for step in found.epoch()] for _ in range(2))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert first != second
    again = sampler(corpus, 15)
    assert [rows_of(step) for step in again.epoch()] == first
    resumed = sampler(corpus, 15, seed=9)
    resumed.generators["shuffle"].set_state(again.generators["shuffle"].get_state())
    assert [rows_of(step) for step in resumed.epoch()] == second


def test_no_event_at_all_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"^expected training interactions, got none; check the split$"):
        sampler(corpus_of([0, 0]), 10)


# --- items


@pytest.mark.parametrize(
    ("num_items", "batch_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2])]
)
def test_every_item_comes_once_an_epoch(num_items: int, batch_size: int, sizes: list[int]) -> None:
    found = ItemSampler(num_items, batch_size=batch_size, shuffle=torch.Generator().manual_seed(0))
    for _ in range(2):
        steps = [step.items.tolist() for step in found.epoch()]
        assert [len(step) for step in steps] == sizes
        assert len(found) == len(sizes)
        assert sorted(item for step in steps for item in step) == list(range(num_items))


def test_items_come_in_a_new_order_each_epoch() -> None:
    found = ItemSampler(50, batch_size=50, shuffle=torch.Generator().manual_seed(0))
    first, second = (next(iter(found.epoch())).items.tolist() for _ in range(2))
    assert first != second
    assert first != sorted(first)


# --- stages


def kinds(*batches: str) -> list[StagePlan]:
    plans = {
        "pairs": StagePlan(batches="pairs"),
        "histories": StagePlan(batches="histories"),
        "items": StagePlan(batches="items", batch_size=7),
    }
    return [plans[one] for one in batches]


def test_each_stage_has_the_sampler_of_its_kind_and_size() -> None:
    corpus = tiny_corpus()
    found = stages(kinds("items", "histories", "pairs"), corpus, batch_size=80, seed=0)
    samplers: list[Sampler] = [stage.sampler for stage in found]
    assert [type(one) for one in samplers] == [ItemSampler, HistorySampler, PairSampler]
    assert [len(one) for one in samplers] == [5, 3, 3]
    assert [stage.plan.batches for stage in found] == ["items", "histories", "pairs"]
    assert all(isinstance(one, Sampler) for one in samplers)


def test_a_name_is_one_generator_so_that_the_state_of_a_training_holds_them_all() -> None:
    first, second, third = stages(kinds("histories", "pairs", "items"), tiny_corpus(), batch_size=80, seed=0)
    assert first.sampler.generators["shuffle"] is second.sampler.generators["shuffle"]
    named = [*second.sampler.generators.items(), *third.sampler.generators.items()]
    assert len({id(one) for _, one in named}) == len(named)


def test_the_seed_decides_the_stages() -> None:
    def order(seed: int) -> list[list[int]]:
        (stage,) = stages(kinds("items"), tiny_corpus(), batch_size=1, seed=seed)
        return [batch.items.tolist() for batch in stage.sampler.epoch()]  # type: ignore[union-attr]

    assert order(0) == order(0)
    assert order(0) != order(1)
