"""Neighbours by cosine: who is most like whom, exactly, without a matrix of all pairs.

The weight of a pair is its cosine computed in float64 and rounded to float32; neighbours are ordered by weight, of
equal weights the lower row first. `cosine_knn` finds the same ones as `cosine_knn_reference` whatever the size
of its blocks: float32 products propose, and what their rounding leaves open is decided in float64.

Shape legend
    I  items   K  neighbours   C  candidates, some more than K   N, M  items of a block   P  pairs of items
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fuserec.batch import KnnGraph
from fuserec.errors import ConfigError, DataError
from fuserec.shapes import Bool, Float, Int

__all__ = ["cosine_knn", "cosine_knn_reference"]

SPARE = 8
"""Candidates kept beyond k; a row with more near-ties than that is searched a second time."""

VALUES_IN_MEMORY = 2**22
"""Feature values gathered at a time for exact cosines: 32 MiB of float64."""


def cosine_knn_reference(features: Tensor | np.ndarray, present: Bool[Tensor, " I"], k: int) -> KnnGraph:
    """`cosine_knn`, literally: all pairs in float64, every row sorted in full."""
    features_IW = torch.as_tensor(np.asarray(features, dtype=np.float64))
    norms = features_IW.norm(dim=1)
    usable = present & (norms > 0)
    cosine_II = (features_IW @ features_IW.T / (norms[:, None] * norms)).float()
    cosine_II[~usable] = -torch.inf
    cosine_II[:, ~usable] = -torch.inf
    cosine_II.fill_diagonal_(-torch.inf)
    weights, neighbours = cosine_II.sort(dim=1, descending=True, stable=True)
    return _graph(weights[:, :k], neighbours[:, :k], k)


def cosine_knn(
    features: Tensor | np.ndarray, present: Bool[Tensor, " I"], k: int, *, block: int = 1024
) -> KnnGraph:
    """The k most similar other items of every item by cosine, in memory O(I k + block^2 + block * width).

    Each pair of blocks is multiplied once and serves the rows of both. The candidates it proposes are ranked
    again by exact cosines. A float32 product of unit rows of width w is off by at most (w + 16) 2^-24,
    rounding of the inputs and of the weights included; a row whose candidates could, by that bound, lack
    a neighbour is searched again among all items that may be one. The bound supposes torch's default
    float32 products (`torch.get_float32_matmul_precision()` is "highest").

    Args:
        features: (I, width) tensor or array, which may be memory-mapped: it is read in blocks of rows.
        present: (I,) items that have features. Others, and zero vectors, have no neighbours and are none.
        k: neighbours of an item, at least 1.
        block: items of a block, at least 1; it decides speed and memory, not the result.

    Returns:
        (I, k) neighbours without the item itself, best first, of equal weights the lower row first; -1 and
        weight 0 where there are no more. Weights may be negative.

    Raises:
        ConfigError: ``k`` or ``block`` is below 1.
        DataError: features are not finite, or there is not one row for each entry of ``present``.

    Example:
        >>> graph = cosine_knn(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), torch.ones(3) > 0, 1)
        >>> graph.neighbours.tolist(), graph.weights.tolist()
        ([[1], [0], [0]], [[1.0], [1.0], [0.0]])
    """
    if k < 1 or block < 1:
        raise ConfigError(f"expected k and block of at least 1, got k = {k} and block = {block}")
    rows = _Rows.of(features, present, block)
    scores, candidates = _propose(rows, k + SPARE)
    margin = 2 * 1.01 * (features.shape[1] + 16) * 2.0**-24
    # the k-th proposal bounds the weight of the k-th neighbour from below
    needed = scores[:, min(k, scores.shape[1]) - 1] - margin
    weights, neighbours = _decide(rows, scores, candidates, needed, k)
    doubtful = torch.nonzero((scores[:, -1] >= needed) & (needed > -torch.inf)).squeeze(1)
    if scores.shape[1] == k + SPARE:
        for part in doubtful.split(block):
            weights[part], neighbours[part] = _search_all(rows, part, needed[part], k)
    return _graph(weights, neighbours, k)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Feature rows read in blocks, as tensors.

    Attributes:
        features: (I, width), in memory or mapped.
        norms: (I,) float64 lengths; 1 for rows that are not usable.
        usable: (I,) present and not zero.
        block: rows of a block.
    """

    features: Tensor | np.ndarray
    norms: Float[Tensor, " I"]
    usable: Bool[Tensor, " I"]
    block: int

    @classmethod
    def of(cls, features: Tensor | np.ndarray, present: Bool[Tensor, " I"], block: int) -> _Rows:
        """Measure the rows, one block at a time."""
        if features.ndim != 2 or len(features) != len(present):
            raise DataError(
                f"expected a matrix with {len(present)} rows of features, one an item, got shape {tuple(features.shape)}"
            )
        norms = torch.ones(len(present), dtype=torch.float64)
        rows = cls(features, norms, present, block)
        for part in rows.blocks():
            values = rows.read(part)
            norms[part] = _exact_dots(values, values).sqrt()
        too_long = present & ~norms.float().isfinite()
        if too_long.any():
            row = int(torch.nonzero(too_long)[0])
            raise DataError(
                f"expected finite features, got NaN, infinity or a length above 3e38 in row {row}"
            )
        usable = present & (norms >= torch.finfo(torch.float32).tiny)
        return cls(features, torch.where(usable, norms, 1.0), usable, block)

    def blocks(self, start: int = 0) -> Iterator[slice]:
        """Slices of ``block`` rows from ``start`` to the end."""
        for begin in range(start, len(self.features), self.block):
            yield slice(begin, min(begin + self.block, len(self.features)))

    def read(self, rows: slice | Int[Tensor, " N"]) -> Float[Tensor, "N width"]:
        """Rows as they are, in the precision they are stored in."""
        if isinstance(self.features, Tensor):
            return self.features[rows]
        index = rows if isinstance(rows, slice) else rows.numpy()
        return torch.from_numpy(np.array(self.features[index]))

    def unit(self, rows: slice | Int[Tensor, " N"]) -> Float[Tensor, "N width"]:
        """Rows of length 1 in float32."""
        return self.read(rows).float() / self.norms[rows].float()[:, None]


def _propose(rows: _Rows, count: int) -> tuple[Float[Tensor, "I C"], Int[Tensor, "I C"]]:
    """The ``count`` best others of every item by float32 products, best first; -inf where there are no more."""
    num_items = len(rows.usable)
    scores = torch.full((num_items, min(count, num_items)), -torch.inf)
    columns = torch.full(scores.shape, -1)

    def offer(to: slice, product_NM: Tensor, first_column: int) -> None:
        best, found = product_NM.topk(min(count, product_NM.shape[1]), dim=1)
        merged = torch.cat([scores[to], best], dim=1)
        scores[to], order = merged.topk(scores.shape[1], dim=1)
        columns[to] = torch.cat([columns[to], found + first_column], dim=1).gather(1, order)

    for own in rows.blocks():
        own_unit = rows.unit(own)
        for other in rows.blocks(own.start):
            other_unit = own_unit if other == own else rows.unit(other)
            product_NM = own_unit @ other_unit.T
            product_NM[~rows.usable[own]] = -torch.inf
            product_NM[:, ~rows.usable[other]] = -torch.inf
            if other == own:
                product_NM.fill_diagonal_(-torch.inf)
            else:
                offer(other, product_NM.T.contiguous(), own.start)
            offer(own, product_NM, other.start)
    return scores, columns


def _decide(
    rows: _Rows,
    scores: Float[Tensor, "I C"],
    candidates: Int[Tensor, "I C"],
    needed: Float[Tensor, " I"],
    k: int,
) -> tuple[Float[Tensor, "I K"], Int[Tensor, "I K"]]:
    """The k best candidates by exact cosine; those proposed below ``needed`` cannot be among them."""
    weights = torch.full((len(scores), min(k, scores.shape[1])), -torch.inf)
    neighbours = torch.full(weights.shape, -1)
    open_IC = (scores >= needed[:, None]) & (scores > -torch.inf)
    at_a_time = max(1, VALUES_IN_MEMORY // (rows.features.shape[1] * scores.shape[1]))
    for part in torch.arange(len(scores)).split(at_a_time):
        row, place = torch.nonzero(open_IC[part], as_tuple=True)
        column = candidates[part][row, place]
        exact = torch.full((len(part), scores.shape[1]), -torch.inf)
        exact[row, place] = _exact_cosines(rows, part[row], column)
        weights[part], neighbours[part] = _best(exact, candidates[part], weights.shape[1])
    return weights, neighbours


def _search_all(
    rows: _Rows, part: Int[Tensor, " N"], needed: Float[Tensor, " N"], k: int
) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N K"]]:
    """The k best of all items for the rows of ``part``: exact cosines of all that may be ``needed``."""
    weights = torch.full((len(part), k), -torch.inf)
    neighbours = torch.full(weights.shape, -1)
    unit = rows.unit(part)
    at_a_time = max(1, VALUES_IN_MEMORY // rows.features.shape[1])
    for other in rows.blocks():
        product_NM = unit @ rows.unit(other).T
        product_NM[:, ~rows.usable[other]] = -torch.inf
        columns = torch.arange(other.start, other.stop)
        product_NM[part[:, None] == columns] = -torch.inf
        exact = torch.full_like(product_NM, -torch.inf)
        for pairs in torch.nonzero(product_NM >= needed[:, None]).split(at_a_time):
            row, place = pairs.unbind(1)
            exact[row, place] = _exact_cosines(rows, part[row], columns[place])
        weights, neighbours = _best(
            torch.cat([weights, exact], dim=1),
            torch.cat([neighbours, columns.expand(len(part), -1)], dim=1),
            k,
        )
    return weights, neighbours


def _exact_cosines(rows: _Rows, first: Int[Tensor, " P"], second: Int[Tensor, " P"]) -> Float[Tensor, " P"]:
    """Cosines in float64, rounded to float32; the same pair gives the same bits either way round."""
    dots = _exact_dots(rows.read(first), rows.read(second))
    return (dots / (rows.norms[first] * rows.norms[second])).float()


def _exact_dots(first: Float[Tensor, "P width"], second: Float[Tensor, "P width"]) -> Float[Tensor, " P"]:
    """Inner products of rows in float64, summed in the same order wherever a row stands."""
    return (first.double() * second).sum(1)


def _best(
    weights: Float[Tensor, "N C"], columns: Int[Tensor, "N C"], k: int
) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N K"]]:
    """The k largest weights, of equal ones the lower column first."""
    columns, by_column = columns.sort(dim=1)
    weights, by_weight = weights.gather(1, by_column).sort(dim=1, descending=True, stable=True)
    return weights[:, :k], columns.gather(1, by_weight[:, :k])


def _graph(weights: Float[Tensor, "I M"], neighbours: Int[Tensor, "I M"], k: int) -> KnnGraph:
    """Padded to k neighbours: -1 and weight 0 where the weight is -inf or the row ends."""
    none = weights == -torch.inf
    missing = k - weights.shape[1]
    return KnnGraph(
        neighbours=torch.nn.functional.pad(neighbours.masked_fill(none, -1), (0, missing), value=-1),
        weights=torch.nn.functional.pad(weights.masked_fill(none, 0.0), (0, missing)),
    )
