"""What training goes through: batches of one kind or another, a whole epoch at a time, and stages of them.

Shape legend
    B  histories   T  events of all of them   I  items
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from fuserec.batch import Batch, Corpus, Histories, ItemBatch, StagePlan
from fuserec.errors import TrainingError
from fuserec.training.negatives import PairSampler
from fuserec.training.seeds import named_generator

__all__ = ["HistorySampler", "ItemSampler", "Sampler", "Stage", "stages"]


@runtime_checkable
class Sampler(Protocol):
    """Makes the batches of an epoch."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """All that the next epoch depends on besides the corpus: between two epochs nothing else is left open."""
        ...

    def epoch(self) -> Iterator[Batch]:
        """The batches of a new epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of training, with what makes its batches.

    Attributes:
        plan: what the model asks for.
        sampler: makes the batches.
    """

    plan: StagePlan
    sampler: Sampler


def stages(plans: Sequence[StagePlan], corpus: Corpus, *, batch_size: int, seed: int) -> tuple[Stage, ...]:
    """The stages of a training, in their order.

    Args:
        plans: what the model asks for.
        corpus: training interactions.
        batch_size: of the recipe.
        seed: of the generators.

    Raises:
        TrainingError: a kind of batch cannot be made of the corpus.
    """
    # one of each name for all stages, or the state of a training would keep only that of the last stage
    named = functools.cache(functools.partial(named_generator, seed))
    return tuple(
        Stage(plan=plan, sampler=_sampler(plan, corpus, plan.batch_size or batch_size, named))
        for plan in plans
    )


def _sampler(
    plan: StagePlan, corpus: Corpus, batch_size: int, named: Callable[[str], torch.Generator]
) -> Sampler:
    match plan.batches:
        case "pairs":
            return PairSampler(
                corpus, batch_size=batch_size, shuffle=named("shuffle"), negatives=named("negatives")
            )
        case "histories":
            return HistorySampler(corpus, batch_size=batch_size, shuffle=named("shuffle"))
        case "items":
            return ItemSampler(corpus.num_items, batch_size=batch_size, shuffle=named("items"))


class HistorySampler:
    """Whole histories in a new order, cut into steps of about as many events.

    A history is never cut. The number of steps follows from the number of events, so each has on average as many as asked
    for; where one history is longer than that, its step is.

    Args:
        corpus: training interactions.
        batch_size: events a step.
        shuffle: orders the histories.

    Raises:
        TrainingError: there is no event.
    """

    def __init__(self, corpus: Corpus, *, batch_size: int, shuffle: torch.Generator) -> None:
        if len(corpus.train) == 0:
            raise TrainingError("expected training interactions, got none; check the split")
        histories = Histories.of(corpus.train, num_users=corpus.num_users)
        self._histories = histories.select(torch.nonzero(histories.lengths).squeeze(1))
        self._steps = min(-(-len(corpus.train) // batch_size), len(self._histories))
        self._shuffle = shuffle

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._steps

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """See `Sampler`."""
        return {"shuffle": self._shuffle}

    def epoch(self) -> Iterator[Histories]:
        """Every history once."""
        order = torch.randperm(len(self._histories), generator=self._shuffle)
        for rows in _even(order, self._histories.lengths[order], steps=self._steps):
            yield self._histories.select(rows)


def _even(rows: torch.Tensor, sizes: torch.Tensor, *, steps: int) -> tuple[torch.Tensor, ...]:
    """Consecutive rows in so many parts, none of them empty, with sums of sizes as even as the order allows."""
    ends = sizes.cumsum(0)
    wanted = torch.arange(1, steps) * ends[-1] // steps
    cuts = torch.searchsorted(ends, wanted) + 1
    # each part takes one row at least and leaves one at least to each that follows
    places = torch.arange(1, steps)
    cuts = (cuts - places).cummax(0).values + places if steps > 1 else cuts
    cuts = torch.minimum(cuts, len(rows) - steps + places)
    return torch.tensor_split(rows, cuts)


class ItemSampler:
    """Rows of items in a new order.

    Args:
        num_items: I.
        batch_size: items a step; the last one of an epoch may be smaller.
        shuffle: orders the items.
    """

    def __init__(self, num_items: int, *, batch_size: int, shuffle: torch.Generator) -> None:
        self._num_items, self._batch_size, self._shuffle = num_items, batch_size, shuffle

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._num_items // self._batch_size)

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """See `Sampler`."""
        return {"items": self._shuffle}

    def epoch(self) -> Iterator[ItemBatch]:
        """Every item once."""
        order = torch.randperm(self._num_items, generator=self._shuffle)
        for rows in order.split(self._batch_size):
            yield ItemBatch(items=rows)
