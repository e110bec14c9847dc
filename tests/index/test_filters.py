from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Histories
from fuserec.errors import ConfigError, DataError
from fuserec.index.filters import Filters
from fuserec.index.recommend import Recommender
from fuserec.models.item_to_item import ItemToItem
from fuserec.testing.scorers import TableScorer

ITEMS = pl.DataFrame(
    {"item_id": ["a", "b", "c", "d"], "category": ["Sea|Night", "Sea", None, " Night | Stone"]}
)


def passed(**filters: object) -> list[str]:
    candidates = Filters(**filters).candidates(ITEMS)  # type: ignore[arg-type]
    return ITEMS["item_id"].filter(pl.Series(candidates.numpy())).to_list()


def test_nothing_asked_for_lets_everything_pass() -> None:
    assert passed() == ["a", "b", "c", "d"]


def test_only_and_exclude_meet() -> None:
    assert passed(only=["d", "a", "a"], exclude=["a"]) == ["d"]
    assert passed(exclude=[]) == ["a", "b", "c", "d"]
    assert passed(only=[]) == []


def test_an_item_needs_one_of_the_categories_as_a_whole_name() -> None:
    assert passed(categories=["Night"]) == ["a", "d"]
    assert passed(categories=["Stone", "Sea"]) == ["a", "b", "d"]
    assert passed(categories=["Sea"], exclude=["b"]) == ["a"]


def test_an_unknown_category_names_the_nearest() -> None:
    with pytest.raises(
        DataError, match="expected a category of the dataset, got 'Nigth'; did you mean 'Night'"
    ):
        passed(categories=["Sea", "Nigth"])


def test_categories_need_items_that_have_some() -> None:
    with pytest.raises(DataError, match="expected items with categories, but these have none"):
        Filters(categories=["Sea"]).candidates(ITEMS.drop("category"))
    with pytest.raises(ConfigError, match=r"expected a list of categories, got the text 'Sea'"):
        Filters(categories="Sea").candidates(ITEMS)


def test_an_unknown_item_of_a_filter_is_named() -> None:
    with pytest.raises(
        DataError, match="expected item ids of the dataset, got 1 unknown: 'z'; leave them out"
    ):
        passed(exclude=["a", "z"])


WIDTH = 7
SUBSETS = st.one_of(st.none(), st.sets(st.integers(0, WIDTH - 1)))


@settings(deadline=None, max_examples=80)
@given(
    scores=st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH),
    seen=st.sets(st.integers(0, WIDTH - 1)),
    withdrawn=st.sets(st.integers(0, WIDTH - 1)),
    only=SUBSETS,
    exclude=SUBSETS,
    categories=st.one_of(st.none(), st.sets(st.sampled_from("xyz"), min_size=1)),
    k=st.integers(1, WIDTH + 1),
)
def test_filters_act_before_the_best_are_chosen_so_lists_are_as_long_as_they_can_be(
    scores: list[int],
    seen: set[int],
    withdrawn: set[int],
    only: set[int] | None,
    exclude: set[int] | None,
    categories: set[str] | None,
    k: int,
) -> None:
    of_item = ["x", "y", "x|y", "z", None, "z|x", "y"]
    table = torch.tensor([scores], dtype=torch.float32)
    recommender = Recommender(
        scorer=TableScorer(table),
        user_ids=pl.Series(["u"]),
        items=pl.DataFrame({"item_id": range(WIDTH), "category": of_item}),
        histories=Histories.from_lists([sorted(seen)]),
        trained=torch.tensor([True]),
        popularity=torch.zeros(WIDTH, dtype=torch.int64),
        available=torch.tensor([item not in withdrawn for item in range(WIDTH)]),
    )
    filters: dict[str, Any] = {
        "items_to_recommend": None if only is None else sorted(only),
        "exclude": None if exclude is None else sorted(exclude),
        "categories": None if categories is None else sorted(categories),
    }
    allowed = [
        item
        for item in range(WIDTH)
        if item not in withdrawn
        and (only is None or item in only)
        and (exclude is None or item not in exclude)
        and (categories is None or categories & set((of_item[item] or "").split("|")))
    ]
    best = sorted(set(allowed) - seen, key=lambda item: (-scores[item], item))[:k]
    assert recommender.recommend(["u"], k=k, **filters)["item_id"].to_list() == best

    # the same row of scores as what item 0 says of the others
    weights = torch.zeros(WIDTH, WIDTH).index_add(0, torch.tensor([0]), table)
    weights[0, 0] = 9.0  # never a tie of all
    neighbours = Recommender(
        **{name: getattr(recommender, name) for name in recommender.__slots__ if name != "scorer"},
        scorer=ItemToItem(weights),
    )
    nearest = sorted(set(allowed) - {0}, key=lambda item: (-scores[item], item))[:k]
    assert neighbours.similar(0, k=k, **filters)["item_id"].to_list() == nearest
