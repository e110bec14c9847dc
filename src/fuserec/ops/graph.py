"""Sparse graphs and propagation on them.

Shape legend
    N  rows   M  columns   E  stored entries   D  embedding width   U  users   I  items   K  neighbours
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.batch import KnnGraph, Pairs
from fuserec.ops.fusion import weighted_sum
from fuserec.ops.products import add_product, multiply
from fuserec.ops.sum_rows import SparseRows
from fuserec.shapes import Bool, Float, Int

__all__ = [
    "SparseMatrix",
    "bipartite_graph",
    "knn_adjacency",
    "knn_entries",
    "layer_mean",
    "layer_mean_reference",
    "mixed_propagate",
    "mixed_propagate_reference",
    "normalise",
    "propagate",
    "propagate_reference",
    "symmetric_neighbours",
]


@dataclass(frozen=True, slots=True)
class SparseMatrix:
    """A constant sparse matrix with its transpose, ready for products and their gradients.

    Attributes:
        forward: (N, M) sparse CSR tensor.
        backward: (M, N) sparse CSR tensor, its transpose. It is the same object where the matrix was
            found to be symmetric when it was built; real kNN graphs are only half reciprocal, so this is
            checked and never assumed.
    """

    forward: Tensor
    backward: Tensor

    @classmethod
    def from_entries(
        cls,
        rows: Int[Tensor, " E"],
        columns: Int[Tensor, " E"],
        values: Float[Tensor, " E"],
        *,
        shape: tuple[int, int],
    ) -> SparseMatrix:
        """Build from coordinates; entries at the same place are added up.

        Raises:
            ValueError: a place lies outside the shape.
        """
        forward = _Sorted.of(rows, columns, values, shape)
        backward = _Sorted.of(*forward.flipped(), (shape[1], shape[0]))
        symmetric = (
            shape[0] == shape[1]
            and torch.equal(forward.places, backward.places)
            and torch.equal(forward.values, backward.values)
        )
        csr = forward.csr()
        return cls(csr, csr if symmetric else backward.csr())

    @classmethod
    def weighted_sum(
        cls, parts: Sequence[tuple[float, tuple[Tensor, Tensor, Tensor]]], *, shape: tuple[int, int]
    ) -> SparseMatrix:
        """The sum of w S over all parts.

        Args:
            parts: at least one; each a weight w and (E,) rows, columns and values of S.
            shape: of all of them.
        """
        rows, columns, values = zip(*(entries for _, entries in parts), strict=True)
        scaled = [weight * value for (weight, _), value in zip(parts, values, strict=True)]
        return cls.from_entries(torch.cat(rows), torch.cat(columns), torch.cat(scaled), shape=shape)

    @property
    def symmetric(self) -> bool:
        """Whether the matrix equals its transpose to the last bit."""
        return self.backward is self.forward

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self.forward.shape[0], self.forward.shape[1]

    def entries(self) -> tuple[Int[Tensor, " E"], Int[Tensor, " E"], Float[Tensor, " E"]]:
        """Rows, columns and values of the stored entries, row by row."""
        crow = self.forward.crow_indices().long()
        rows = torch.repeat_interleave(torch.arange(self.shape[0], device=crow.device), crow.diff())
        return rows, self.forward.col_indices().long(), self.forward.values()

    def row_sums(self) -> Float[Tensor, " N"]:
        """(N,) sum of each row."""
        rows, _, values = self.entries()
        return torch.zeros(self.shape[0], dtype=values.dtype, device=values.device).index_add(0, rows, values)

    def row_counts(self) -> Int[Tensor, " N"]:
        """(N,) number of stored entries of each row."""
        return self.forward.crow_indices().long().diff()

    def column_counts(self) -> Int[Tensor, " M"]:
        """(M,) number of stored entries of each column."""
        return self.backward.crow_indices().long().diff()

    def without_negatives(self) -> SparseMatrix:
        """The same matrix with 0 in place of what is below; itself where nothing is."""
        rows, columns, values = self.entries()
        if not (values < 0).any():
            return self
        return SparseMatrix.from_entries(rows, columns, values.clamp_min(0.0), shape=self.shape)

    def dense(self) -> Float[Tensor, "N M"]:
        """The same matrix, dense; for tests and small graphs."""
        return self.forward.to_dense()

    def to(self, device: torch.device | str) -> SparseMatrix:
        """The same matrix on another device."""
        forward = self.forward.to(device)
        return SparseMatrix(forward, forward if self.symmetric else self.backward.to(device))


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Entries in the order of CSR, each place once."""

    places: Tensor
    values: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> _Sorted:
        """Sort by place (a quarter of the time of torch's coalesce) and add up."""
        for name, index, size in (("row", rows, shape[0]), ("column", columns, shape[1])):
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
                raise ValueError(
                    f"expected {name}s from 0 to {size - 1}, got {int(index.min())} to {int(index.max())}"
                )
        places, entry = torch.unique(rows * shape[1] + columns, return_inverse=True)
        total = torch.zeros(len(places), dtype=values.dtype, device=values.device)
        return cls(places, total.index_add_(0, entry, values), shape)

    def flipped(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and values of the transpose, not sorted."""
        return self.places % self.shape[1], self.places // self.shape[1], self.values

    def csr(self) -> Tensor:
        """CSR with 32-bit indices where they fit: MKL takes them as they are."""
        columns, rows, values = self.flipped()
        index = torch.int32 if max(*self.shape, len(values)) < 2**31 else torch.int64
        crow = torch.zeros(self.shape[0] + 1, dtype=index, device=values.device)
        crow[1:] = torch.bincount(rows, minlength=self.shape[0]).cumsum(0)
        with warnings.catch_warnings():
            # torch calls its CSR layout beta, once a process; the products we use are tested here.
            warnings.filterwarnings(
                "ignore", message="Sparse CSR tensor support is in beta", category=UserWarning
            )
            return torch.sparse_csr_tensor(crow, columns.to(index), values, self.shape, check_invariants=True)


class _Product(torch.autograd.Function):
    """A @ x, whose gradient is A^T @ g; the stored transpose makes both the same fast product."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix  # type: ignore[attr-defined]
        return multiply(matrix.forward, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return multiply(ctx.matrix.backward, gradient.contiguous()), None  # type: ignore[attr-defined]


def propagate(matrix: SparseMatrix, x: Float[Tensor, "M D"]) -> Float[Tensor, "N D"]:
    """One step of weighted neighbour averaging, A x.

    Args:
        matrix: (N, M) constant; no gradient flows into it.
        x: (M, D) vectors.

    Returns:
        (N, D) A x, differentiable in x.
    """
    result: Tensor = _Product.apply(x, matrix)  # type: ignore[no-untyped-call]
    return result


def propagate_reference(matrix: SparseMatrix, x: Float[Tensor, "M D"]) -> Float[Tensor, "N D"]:
    """`propagate`, literally: the dense matrix times x."""
    return matrix.dense() @ x


class _Mixture(torch.autograd.Function):
    """Products with several graphs, wanted at some rows only, with their gradient written out."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weights: Tensor, rows: Tensor, matrices: tuple[SparseMatrix, ...]
    ) -> Tensor:
        answers_MBD = x.new_empty(len(matrices), len(rows), x.shape[1])
        for answer_BD, matrix in zip(answers_MBD, matrices, strict=True):
            torch.index_select(multiply(matrix.forward, x), 0, rows, out=answer_BD)
        ctx.matrices = matrices  # type: ignore[attr-defined]
        ctx.save_for_backward(answers_MBD, weights, rows)
        return weighted_sum(weights.T, answers_MBD)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        answers_MBD, weights, rows = ctx.saved_tensors  # type: ignore[attr-defined]
        matrices: tuple[SparseMatrix, ...] = ctx.matrices  # type: ignore[attr-defined]
        size = matrices[0].shape[0], gradient.shape[1]
        total, spread = gradient.new_zeros(size), gradient.new_zeros(size)
        for matrix, weight_B in zip(matrices, weights.T, strict=True):
            spread.index_copy_(0, rows, weight_B[:, None] * gradient)
            add_product(total, matrix.backward, spread, out=total)
        return total, (gradient * answers_MBD).sum(2).T, None, None


def mixed_propagate(
    matrices: tuple[SparseMatrix, ...],
    x: Float[Tensor, "N D"],
    weights: Float[Tensor, "B M"],
    rows: Int[Tensor, " B"],
) -> Float[Tensor, "B D"]:
    """Rows of (sum_m diag(w_m) A_m) x, without ever forming the sum.

    Paper: TMFUN Eq. (3) and (4).

    Args:
        matrices: M constant graphs, (N, N) each; at least one.
        x: (N, D) what travels.
        weights: (B, M) of each graph, for the rows wanted.
        rows: (B,) rows wanted, each at most once.

    Returns:
        (B, D), differentiable in x and in the weights.
    """
    result: Tensor = _Mixture.apply(x, weights, rows, matrices)  # type: ignore[no-untyped-call]
    return result


def mixed_propagate_reference(
    matrices: tuple[SparseMatrix, ...],
    x: Float[Tensor, "N D"],
    weights: Float[Tensor, "B M"],
    rows: Int[Tensor, " B"],
) -> Float[Tensor, "B D"]:
    """`mixed_propagate`, literally: row by row, the weighted sum of the dense graphs."""
    dense_MNN = torch.stack([matrix.dense() for matrix in matrices])
    mixed_BN = torch.stack(
        [
            (of_row[:, None] * dense_MNN[:, row]).sum(0)
            for row, of_row in zip(rows.tolist(), weights, strict=True)
        ]
    )
    return mixed_BN @ x


class _LayerMean(torch.autograd.Function):
    """The mean of the layers by Horner's rule, fused into the products: no layer is kept.

    The operator is symmetric, so its gradient is the operator itself.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, user: Tensor, item: Tensor, matrix: SparseMatrix, num_layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.matrix, ctx.num_layers = matrix, num_layers  # type: ignore[attr-defined]
        return _horner(matrix, user, item, num_layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_user: Tensor, of_item: Tensor) -> tuple[Tensor, Tensor, None, None]:
        user, item = _horner(
            ctx.matrix,  # type: ignore[attr-defined]
            of_user.contiguous(),
            of_item.contiguous(),
            ctx.num_layers,  # type: ignore[attr-defined]
        )
        return user, item, None, None


def _horner(matrix: SparseMatrix, user: Tensor, item: Tensor, num_layers: int) -> tuple[Tensor, Tensor]:
    """(x + A x + ... + A^L x) / (L + 1) as (x + A (x + A (...))) / (L + 1), on the two halves of x."""
    if num_layers == 0:
        return user.clone(), item.clone()
    total = user, item
    for layer in range(1, num_layers + 1):
        scale = 1.0 / (num_layers + 1) if layer == num_layers else 1.0
        total = (
            add_product(user, matrix.forward, total[1], scale=scale),
            add_product(item, matrix.backward, total[0], scale=scale),
        )
    return total


def layer_mean(
    matrix: SparseMatrix, user: Float[Tensor, "U D"], item: Float[Tensor, "I D"], *, num_layers: int
) -> tuple[Float[Tensor, "U D"], Float[Tensor, "I D"]]:
    """Mean of the vectors after 0 to L steps of propagation between users and items.

    Paper: TMFUN Eq. (5); LightGCN (He et al., SIGIR 2020) Eq. (7) and (8) with weights 1 / (L + 1).

    Args:
        matrix: (U, I) constant; one step is (user, item) -> (matrix item, matrix^T user).
        user: (U, D) layer-0 vectors.
        item: (I, D) layer-0 vectors.
        num_layers: L, at least 0.

    Returns:
        (U, D) and (I, D), differentiable in both.
    """
    result: tuple[Tensor, Tensor] = _LayerMean.apply(  # type: ignore[no-untyped-call]
        user, item, matrix, num_layers
    )
    return result


def layer_mean_reference(
    matrix: SparseMatrix, user: Float[Tensor, "U D"], item: Float[Tensor, "I D"], *, num_layers: int
) -> tuple[Float[Tensor, "U D"], Float[Tensor, "I D"]]:
    """`layer_mean`, literally: the dense graph of all nodes, every layer, their mean."""
    num_users, num_items = matrix.shape
    nodes = num_users + num_items
    adjacency = torch.zeros(nodes, nodes, dtype=user.dtype)
    adjacency[:num_users, num_users:] = matrix.dense()
    adjacency[num_users:, :num_users] = matrix.dense().T
    layers = [torch.cat([user, item])]
    for _ in range(num_layers):
        layers.append(adjacency @ layers[-1])
    mean_user, mean_item = torch.stack(layers).mean(0).split([num_users, num_items])
    return mean_user, mean_item


def normalise(
    rows: Int[Tensor, " E"], columns: Int[Tensor, " E"], values: Float[Tensor, " E"], *, num_nodes: int
) -> Float[Tensor, " E"]:
    """Entries of D^-1/2 S D^-1/2, D the row sums of S.

    A row whose sum is not positive has no root: it, and its column, become empty (zero).
    """
    degree = torch.zeros(num_nodes, dtype=values.dtype, device=values.device).index_add(0, rows, values)
    root = torch.where(degree > 0, degree.clamp_min(torch.finfo(values.dtype).tiny).rsqrt(), 0.0)
    # the roots first: their product commutes to the last bit, so a symmetric S stays symmetric
    return values * (root[rows] * root[columns])


def bipartite_graph(
    users: Int[Tensor, " E"], items: Int[Tensor, " E"], *, num_users: int, num_items: int
) -> SparseMatrix:
    """The normalised user-item graph: 1 / sqrt(d_u d_i) for every distinct pair.

    Users and items without a pair have empty rows. Paper: TMFUN Eq. (5), the upper right block of A_ui.

    Returns:
        (U, I).
    """
    pairs = Pairs(users=users, items=items).distinct(num_items=num_items)
    rows, columns = pairs.users, pairs.items
    of_user = torch.bincount(rows, minlength=num_users).to(torch.get_default_dtype())
    of_item = torch.bincount(columns, minlength=num_items).to(torch.get_default_dtype())
    values = (of_user[rows] * of_item[columns]).rsqrt()
    return SparseMatrix.from_entries(rows, columns, values, shape=(num_users, num_items))


def knn_entries(
    graph: KnnGraph, present: Bool[Tensor, " I"], *, directed: bool = False, self_loops: bool = True
) -> tuple[Int[Tensor, " E"], Int[Tensor, " E"], Float[Tensor, " E"]]:
    """Rows, columns and values of `knn_adjacency`, each place once, in no order."""
    num_items = len(present)
    rows, columns, values = _others(graph, present)
    if not directed:
        rows, columns, values = _max_with_transpose(rows, columns, values, num_items)
    if self_loops:
        own = torch.nonzero(present).squeeze(1)
        rows, columns = torch.cat([rows, own]), torch.cat([columns, own])
        values = torch.cat([values, values.new_ones(len(own))])
    return rows, columns, normalise(rows, columns, values, num_nodes=num_items)


def knn_adjacency(
    graph: KnnGraph, present: Bool[Tensor, " I"], *, directed: bool = False, self_loops: bool = True
) -> SparseMatrix:
    """The normalised adjacency of a neighbour graph.

    Paper: TMFUN Eq. (2). Each item's neighbours without itself, then itself with weight 1; rows and
    columns of items that lack the modality are empty; S := max(S, S^T) unless directed;
    then D^-1/2 S D^-1/2.

    Args:
        graph: (I, K) neighbours and weights; an entry for the item itself is left out.
        present: (I,) items that have the modality.
        directed: keep S as it is instead of taking max(S, S^T).
        self_loops: give each present item itself as a neighbour with weight 1.

    Returns:
        (I, I).
    """
    rows, columns, values = knn_entries(graph, present, directed=directed, self_loops=self_loops)
    return SparseMatrix.from_entries(rows, columns, values, shape=(len(present), len(present)))


def symmetric_neighbours(graph: KnnGraph, present: Bool[Tensor, " I"]) -> SparseRows:
    """max(S, S^T) of a neighbour graph S, the weights as they are.

    Left out: the item itself, items that are not present, and weights that are not positive.

    Args:
        graph: (I, K) directed neighbours.
        present: (I,) items that have the modality.

    Returns:
        (I, I) symmetric.
    """
    rows, columns, values = _others(graph, present)
    positive = values > 0
    rows, columns, values = _max_with_transpose(
        rows[positive], columns[positive], values[positive], len(present)
    )
    return SparseRows.from_entries(rows, columns, values, shape=(len(present), len(present)))


def _others(
    graph: KnnGraph, present: Bool[Tensor, " I"]
) -> tuple[Int[Tensor, " E"], Int[Tensor, " E"], Float[Tensor, " E"]]:
    """Rows, columns and values of a neighbour graph without the items themselves and those not present."""
    rows = torch.arange(len(present), device=present.device).repeat_interleave(graph.neighbours.shape[1])
    columns, values = graph.neighbours.reshape(-1), graph.weights.reshape(-1)
    kept = (columns >= 0) & (columns != rows)
    kept &= present[rows] & present[columns.clamp_min(0)]
    return rows[kept], columns[kept], values[kept]


def _max_with_transpose(
    rows: Tensor, columns: Tensor, values: Tensor, num_items: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Entries of max(S, S^T), where an absent entry counts as 0 and a negative one gives way to it.

    S holds each place at most once.
    """
    keys = torch.cat([rows * num_items + columns, columns * num_items + rows])
    both, place, copies = torch.unique(keys, return_inverse=True, return_counts=True)
    # an entry that stands in one direction only meets the 0 of the other
    largest = torch.where(copies > 1, -torch.inf, 0.0).to(values.dtype)
    largest = largest.scatter_reduce(0, place, torch.cat([values, values]), "amax")
    stored = largest != 0
    return both[stored] // num_items, both[stored] % num_items, largest[stored]
