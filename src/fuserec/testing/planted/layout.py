"""From tables of events to histories, and from histories to a corpus.

Shape legend
    U  users   L  events of each   T  events of all   G  things ordered   N  their number in each group
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, Modality, Pairs
from fuserec.shapes import Int

__all__ = ["corpus_of", "even_histories", "shuffles", "zipf"]


def even_histories(items: Int[Tensor, "U L"]) -> Histories:
    """Each row a history."""
    users, length = items.shape
    return Histories(items=items.flatten(), offsets=torch.arange(users + 1) * length)


def corpus_of(histories: Histories, num_items: int, modalities: tuple[Modality, ...] = ()) -> Corpus:
    """The corpus whose training interactions are these histories, all of them."""
    pairs = Pairs(users=histories.rows(), items=histories.items)
    return Corpus(num_users=len(histories), num_items=num_items, train=pairs, modalities=modalities)


def shuffles(groups: int, count: int, *, generator: torch.Generator) -> Int[Tensor, "G N"]:
    """(groups, count) the numbers 0 .. count - 1 in an order of each group's own."""
    return torch.rand(groups, count, generator=generator).argsort(dim=1)


def zipf(draws: int, count: int, *, exponent: float, generator: torch.Generator) -> Int[Tensor, " draws"]:
    """Numbers below ``count``, n as often as (n + 1) to the power of minus ``exponent`` says."""
    upto = torch.arange(1, count + 1, dtype=torch.float64).pow(-exponent).cumsum(0)
    drawn = torch.rand(draws, generator=generator, dtype=torch.float64) * upto[-1]
    return torch.searchsorted(upto, drawn, right=True).clamp(max=count - 1)
