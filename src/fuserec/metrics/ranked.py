"""What stands at each rank of a ranking that may hold ties.

Candidates with equal scores form a tie group: nothing says which comes first, so every order of the
group is taken to be equally likely, and a metric is the mean over all of them. McSherry and Najork,
"Computing information retrieval performance measures efficiently in the presence of tied scores"
(ECIR 2008), give closed forms for it. Each of them needs only, for every rank, the tie group that holds
the rank; `RankedRelevance` is that, and the metrics beside this file are functions of it.

Shape legend
    B  rankings (users)   K  ranks kept   J  candidates   P  relevant items of all rankings together
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fuserec.errors import ConfigError, DataError
from fuserec.shapes import Bool, Float, Int

__all__ = ["RankedRelevance"]


@dataclass(frozen=True, kw_only=True)
class RankedRelevance:
    """The tie group at each of the ranks 1..K of B rankings.

    A ranking without ties has groups of size 1. A rank beyond the last candidate belongs to a group
    without relevant items.

    Attributes:
        group_start: (B, K) candidates that are strictly better than the group at this rank.
        group_size: (B, K) candidates in the group, those beyond rank K included.
        group_relevant: (B, K) relevant candidates in the group.
        relevant_before: (B, K) relevant candidates that are strictly better than the group.
        num_relevant: (B,) relevant items of the user, whether they are ranked or not; at least 1.

    Raises:
        DataError: a ranking has no relevant item, so that no metric is defined for it.
    """

    group_start: Int[Tensor, "B K"]
    group_size: Int[Tensor, "B K"]
    group_relevant: Int[Tensor, "B K"]
    relevant_before: Int[Tensor, "B K"]
    num_relevant: Int[Tensor, " B"]

    def __post_init__(self) -> None:
        empty = (self.num_relevant < 1).nonzero()
        if len(empty) > 0:
            raise DataError(
                f"expected at least one relevant item in every ranking, got none in row {int(empty[0])}; "
                "leave out users without held-out items"
            )

    @classmethod
    def of(
        cls, scores: Float[Tensor, "B J"], relevant: Bool[Tensor, "B J"], *, depth: int
    ) -> RankedRelevance:
        """Count everything in full score rows: the definition, which `from_top` is tested against.

        Args:
            scores: (B, J) score of every candidate; -inf marks one that is not a candidate.
            relevant: (B, J) True where the item is relevant, candidate or not.
            depth: K, the number of ranks to keep; may be more than J.
        """
        candidate_BJ = scores > -torch.inf
        found_BJ = relevant & candidate_BJ
        order_BJ = scores.argsort(dim=1, descending=True)
        fields: list[list[tuple[int, int, int, int]]] = []
        for row in range(len(scores)):
            fields.append([])
            for rank in range(depth):
                item = order_BJ[row, rank] if rank < scores.shape[1] else None
                if item is None or not candidate_BJ[row, item]:
                    before = int(candidate_BJ[row].sum())
                    fields[row].append((before, depth - before, 0, int(found_BJ[row].sum())))
                    continue
                better_J = scores[row] > scores[row, item]
                tied_J = scores[row] == scores[row, item]
                fields[row].append(
                    (
                        int(better_J.sum()),
                        int(tied_J.sum()),
                        int((tied_J & found_BJ[row]).sum()),
                        int((better_J & found_BJ[row]).sum()),
                    )
                )
        start, size, inside, before_group = torch.tensor(fields).reshape(len(scores), depth, 4).unbind(dim=2)
        return cls(
            group_start=start,
            group_size=size,
            group_relevant=inside,
            relevant_before=before_group,
            num_relevant=relevant.sum(1),
        )

    @classmethod
    def from_top(
        cls,
        values: Float[Tensor, "B K"],
        last_group_size: Int[Tensor, " B"],
        *,
        relevant_rows: Int[Tensor, " P"],
        relevant_scores: Float[Tensor, " P"],
        num_relevant: Int[Tensor, " B"],
    ) -> RankedRelevance:
        """From the K best scores and the scores of the relevant items; no full row is needed.

        Args:
            values: (B, K) the best scores, descending; -inf where there are fewer than K candidates.
            last_group_size: (B,) candidates whose score equals ``values[:, -1]``, those beyond rank K
                included; any number where that is -inf.
            relevant_rows: (P,) the ranking to which each relevant item belongs.
            relevant_scores: (P,) its score; -inf where it is not a candidate.
            num_relevant: (B,) relevant items of each ranking.
        """
        first_BK = torch.ones_like(values, dtype=torch.bool)
        first_BK[:, 1:] = values[:, 1:] != values[:, :-1]
        start_BK = torch.where(first_BK, torch.arange(values.shape[1]), 0).cummax(dim=1).values

        # Sizes and relevant counts are collected where a group starts, then read back by all its ranks.
        size_BK = torch.zeros_like(start_BK).scatter_add_(1, start_BK, torch.ones_like(start_BK))
        size_BK.scatter_(1, start_BK[:, -1:], last_group_size[:, None])

        listed_P = (relevant_scores >= values[relevant_rows, -1]) & (relevant_scores > -torch.inf)
        rows_P, scores_P = relevant_rows[listed_P], relevant_scores[listed_P]
        starts_P = (values[rows_P] > scores_P[:, None]).sum(1)
        relevant_BK = torch.zeros_like(start_BK)
        relevant_BK.index_put_((rows_P, starts_P), torch.ones_like(starts_P), accumulate=True)

        inside_BK = relevant_BK.gather(1, start_BK)
        return cls(
            group_start=start_BK,
            group_size=size_BK.gather(1, start_BK),
            group_relevant=inside_BK,
            relevant_before=relevant_BK.cumsum(1) - inside_BK,
            num_relevant=num_relevant,
        )

    @classmethod
    def from_list(cls, hits: Bool[Tensor, "B K"], num_relevant: Int[Tensor, " B"]) -> RankedRelevance:
        """From lists whose order is settled: every rank is a group of its own.

        Args:
            hits: (B, K) True where the item at this rank is relevant.
            num_relevant: (B,) relevant items of each ranking.
        """
        hits_BK = hits.long()
        return cls(
            group_start=torch.arange(hits.shape[1]).expand_as(hits_BK),
            group_size=torch.ones_like(hits_BK),
            group_relevant=hits_BK,
            relevant_before=hits_BK.cumsum(1) - hits_BK,
            num_relevant=num_relevant,
        )

    @property
    def depth(self) -> int:
        """K, the number of ranks kept."""
        return self.group_start.shape[1]

    @cached_property
    def ranks(self) -> Float[Tensor, " K"]:
        """(K,) 1, 2, .., K."""
        return torch.arange(1, self.depth + 1, dtype=torch.float64)

    @cached_property
    def expected_relevance(self) -> Float[Tensor, "B K"]:
        """(B, K) probability that the item at this rank is relevant."""
        return self.group_relevant / self.group_size.double()

    @cached_property
    def first_relevant(self) -> Float[Tensor, "B K"]:
        """(B, K) probability that this rank holds the first relevant item of the ranking.

        Given that the j - 1 ranks above it in its group (size t, r of them relevant) held none, rank j
        holds a relevant item with probability r / (t - j + 1); that reaches 1 when only relevant items are
        left. The product of one minus these is the probability that nothing relevant came so far, and it
        is exactly 0 after the first group with a relevant item.
        """
        left_BK = self.group_start + self.group_size - self.ranks + 1
        hazard_BK = (self.group_relevant / left_BK.clamp_(min=1)).clamp_(max=1)
        none_so_far_BK = (1 - hazard_BK).cumprod(dim=1)
        first_BK = hazard_BK
        first_BK[:, 1:] *= none_so_far_BK[:, :-1]
        return first_BK

    def check_cutoff(self, k: int) -> None:
        """Refuse a cutoff that was not ranked.

        Raises:
            ConfigError: ``k`` is not among the ranks 1..K.
        """
        if not 1 <= k <= self.depth:
            raise ConfigError(f"expected a cutoff from 1 to {self.depth}, the ranks kept, got {k}")
