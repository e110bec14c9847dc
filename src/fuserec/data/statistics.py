"""Counts of a dataset and of its splits, for the manifest."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.schema import Counts, SplitEntry
from fuserec.data.split import TEST, TRAIN, VALID

__all__ = ["count_interactions", "count_split"]

_QUANTILES = {"min": 0.0, "25%": 0.25, "50%": 0.5, "75%": 0.75, "90%": 0.9, "max": 1.0}


def count_interactions(interactions: pl.DataFrame, *, num_users: int, num_items: int) -> Counts:
    """Size and shape of the interactions (columns ``user``, ``item``, maybe ``time``)."""
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    histories = np.bincount(users, minlength=num_users)
    popularity = np.bincount(items, minlength=num_items)
    # One number a pair, sorted in place: to count different structs took more memory than all else in a build.
    pairs = users * num_items + items
    pairs.sort()
    distinct = int(np.count_nonzero(pairs[1:] != pairs[:-1])) + min(len(pairs), 1)
    timed = "time" in interactions.columns
    return Counts(
        users=num_users,
        items=num_items,
        interactions=interactions.height,
        density=distinct / (num_users * num_items),
        items_without_events=int((popularity == 0).sum()),
        history_quantiles=_quantiles(histories),
        popularity_quantiles=_quantiles(popularity),
        first_time=interactions["time"].to_numpy().min().item() if timed else None,
        last_time=interactions["time"].to_numpy().max().item() if timed else None,
    )


def count_split(
    interactions: pl.DataFrame,
    codes: NDArray[np.int8],
    *,
    kind: str,
    num_users: int,
    num_items: int,
) -> SplitEntry:
    """Sizes of the parts, and what in them nobody could learn."""
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    trained = np.bincount(items[codes == TRAIN], minlength=num_items) > 0
    trained_users = np.bincount(users[codes == TRAIN], minlength=num_users) > 0
    held_out = np.bincount(users[codes != TRAIN], minlength=num_users) > 0
    cold = ~trained[items]
    return SplitEntry(
        kind=kind,
        train=int((codes == TRAIN).sum()),
        valid=int((codes == VALID).sum()),
        test=int((codes == TEST).sum()),
        cold_valid=int((cold & (codes == VALID)).sum()),
        cold_test=int((cold & (codes == TEST)).sum()),
        train_only_users=int((~held_out).sum()),
        cold_users=int((held_out & ~trained_users).sum()),
        cold_items=len(np.unique(items[cold & (codes != TRAIN)])),
    )


def _quantiles(values: NDArray[np.int64]) -> dict[str, float]:
    return {name: float(np.quantile(values, quantile)) for name, quantile in _QUANTILES.items()}
