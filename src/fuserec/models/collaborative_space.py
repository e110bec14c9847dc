"""Where interactions alone put the items: what content is aligned to.

Paper: MUFASA, docs/papers/mufasa.md Eq. (C1) and (C2), which are ours: the paper says "the collaborative space".

Shape legend
    I  items   D  width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.batch import Corpus
from fuserec.errors import ConfigError, nearest
from fuserec.models.ease import ease_weights
from fuserec.models.markov import following
from fuserec.ops.spectral import leading_eigenpairs
from fuserec.shapes import Float

__all__ = ["collaborative_space", "partial_correlations", "transitions"]


def collaborative_space(
    corpus: Corpus,
    *,
    dim: int,
    teacher: str = "ease",
    regularisation: float = 200.0,
    window: int = 10,
    max_items: int = 20_000,
    generator: torch.Generator,
) -> Float[Tensor, "I D"]:
    """Item vectors whose inner products are, as nearly as D numbers can say it, the items' likeness by training alone.

    c_i is row i of E sqrt(L), E the leading eigenvectors of a symmetric item-to-item matrix and L their eigenvalues. The
    sign of each column is free; here its entry of largest size is positive.

    Args:
        corpus: its training pairs are used, in the order of their events, and nothing else.
        dim: D, at least 1; columns beyond the positive eigenvalues are zero.
        teacher: ``"ease"``, `partial_correlations`: who has both; ``"transitions"``: which comes soon after which.
        regularisation: of EASE, above 0.
        window: of the transitions, at least 1.
        max_items: a larger catalogue is refused: the item-to-item matrix is dense.
        generator: draws where the search for eigenvectors starts.

    Returns:
        (I, D); zero rows for items without a training event.

    Raises:
        ConfigError: an option cannot be used, or the catalogue is larger than ``max_items``.
    """
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
    if corpus.num_items > max_items:
        raise ConfigError(
            f"expected at most {max_items} items for the teacher's dense item-to-item matrix, got {corpus.num_items}; "
            f"raise teacher_max_items where there is memory for {4 * corpus.num_items**2 / 2**30:.1f} GiB a few times"
        )
    if teacher == "ease":
        alike_II = partial_correlations(corpus, regularisation=regularisation, max_items=max_items)
    elif teacher == "transitions":
        alike_II = transitions(corpus, window=window)
    else:
        raise ConfigError(
            f"expected a known teacher, got {teacher!r}; {nearest(teacher, ('ease', 'transitions'))}"
        )
    values_D, vectors_ID = leading_eigenpairs(
        alike_II.matmul, dim, nodes=corpus.num_items, dtype=alike_II.dtype, generator=generator
    )
    largest_1D = vectors_ID.abs().argmax(0, keepdim=True)
    space_ID = vectors_ID * vectors_ID.gather(0, largest_1D).sign() * values_D.clamp_min(0.0).sqrt()
    # an eigenvector is zero there but for rounding
    space_ID = torch.where((corpus.popularity() > 0)[:, None], space_ID, 0.0)
    return F.pad(space_ID, (0, dim - space_ID.shape[1]))


def partial_correlations(corpus: Corpus, *, regularisation: float, max_items: int) -> Float[Tensor, "I I"]:
    """EASE's matrix K made symmetric: sign(K_ij) sqrt(K_ij K_ji) = -P_ij / sqrt(P_ii P_jj), zero diagonal.

    K_ij = -P_ij / P_jj, so both have the same sign, and the geometric mean of the two directions is the partial
    correlation of two items given all others. K itself says how well i foretells j, which leans to how frequent j is; as
    likeness of items, of which a space has only one a pair, the mean is meant.

    Raises:
        ConfigError: see `fuserec.models.ease.ease_weights`.
    """
    weights_II = ease_weights(corpus, regularisation, max_items=max_items)
    return weights_II.sign() * (weights_II * weights_II.T).clamp_min(0.0).sqrt()


def transitions(corpus: Corpus, *, window: int) -> Float[Tensor, "I I"]:
    """D^-1/2 S D^-1/2 of S_ij = sum of 1 / distance over pairs of i and j in a history, at most ``window`` events apart.

    Both directions are added up. An item that follows itself says nothing of others and is left out. D holds the
    row sums.

    Raises:
        ConfigError: ``window`` is below 1.
    """
    if window < 1:
        raise ConfigError(f"window must be at least 1, got {window}")
    counts = torch.zeros(corpus.num_items**2)
    for before, after, weights in following(corpus, window=window):
        counts.index_add_(0, before * corpus.num_items + after, weights)
    one_way_II = counts.view(corpus.num_items, corpus.num_items)
    both_II = (one_way_II + one_way_II.T).fill_diagonal_(0.0)
    degree_I = both_II.sum(1)
    root_I = torch.where(degree_I > 0, degree_I.rsqrt(), 0.0)
    # the roots first: their product commutes to the last bit, so the result is symmetric
    return both_II * (root_I[:, None] * root_I)
