"""All of it at once, for a log.

Shape legend
    I  items   D  width of the space   W  width of the titles' features   G  genres   C  width of the collaborative space
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fuserec.metrics.space.agreement import cosine_correlation, cosine_rank_correlation
from fuserec.metrics.space.effective_rank import effective_rank
from fuserec.metrics.space.genre_distance import genre_distance
from fuserec.metrics.space.ridge_probe import ridge_probe
from fuserec.metrics.space.title_retrieval import title_retrieval
from fuserec.metrics.space.uniformity import uniformity
from fuserec.shapes import Bool, Float

__all__ = ["space_diagnostics"]


def space_diagnostics(
    *,
    anchor: Float[Tensor, "I D"],
    fused: Float[Tensor, "I D"],
    titles: Float[Tensor, "I W"],
    genres: Bool[Tensor, "I G"],
    modalities: Mapping[str, tuple[Float[Tensor, "I D"], Float[Tensor, "I _"], Bool[Tensor, " I"]]],
    collaborative: Float[Tensor, "I C"],
    known: Bool[Tensor, " I"],
    generator: torch.Generator,
    max_items: int = 2000,
) -> dict[str, float]:
    """What the fusion layer made, in numbers by name.

    Args:
        anchor: (I, D) p.
        fused: (I, D) f.
        titles: (I, W) the titles' features.
        genres: (I, G).
        modalities: by name the vectors h, (I, D), the features they come from, (I, width), and which items have it, (I,).
        collaborative: (I, C) what interactions alone say.
        known: (I,) items of which they say anything.
        generator: draws the items looked at, then those that the probes hold out.
        max_items: a larger catalogue is looked at through that many items, drawn; pairs of items are many.

    Returns:
        ``title_retrieval@1/`` and ``@10/``: items found from their titles across genres, by fused and each modality;
        ``collaborative_correlation`` of the cosines of f and of what interactions say; ``title_rank_correlation`` of those of
        f and of the titles; ``uniformity`` and ``genre_distance`` of f; ``effective_rank/`` of fused, anchor and each
        modality; ``probe/`` each modality from f, and ``anchor_probe/`` from p, with which it is to be compared. Those not
        defined are left out.
    """
    if len(fused) > max_items:
        rows = torch.randperm(len(fused), generator=generator)[:max_items].sort().values.to(fused.device)
    else:
        rows = torch.arange(len(fused), device=fused.device)
    p, f, known = anchor[rows], fused[rows], known[rows]
    values = {
        "title_retrieval@1/fused": title_retrieval(p, f, genres[rows], k=1),
        "title_retrieval@10/fused": title_retrieval(p, f, genres[rows], k=10),
        "collaborative_correlation": cosine_correlation(f[known], collaborative[rows][known]),
        "title_rank_correlation": cosine_rank_correlation(f, titles[rows]),
        "uniformity": uniformity(f),
        "genre_distance": genre_distance(f, genres[rows]),
        "effective_rank/fused": effective_rank(f),
        "effective_rank/anchor": effective_rank(p),
    }
    seed = int(torch.randint(2**62, (), generator=generator))
    for name, (vectors, features, present) in modalities.items():
        here = rows[present[rows]]
        for k in (1, 10):
            found = title_retrieval(anchor[here], vectors[here], genres[here], k=k)
            values[f"title_retrieval@{k}/{name}"] = found
        values[f"effective_rank/{name}"] = effective_rank(vectors[here])
        for probe, space in (("probe", fused), ("anchor_probe", anchor)):
            # the same items held out, so that the two can be compared
            draw = torch.Generator().manual_seed(seed)
            values[f"{probe}/{name}"] = ridge_probe(space[here], features[here], generator=draw)
    return {name: value for name, value in values.items() if not math.isnan(value)}
