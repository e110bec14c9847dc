from __future__ import annotations

import polars as pl

from fuserec.data.categories import categories_of


def test_bars_divide_categories_and_blanks_around_them_do_not_count() -> None:
    text = pl.DataFrame({"category": ["Sea|Night", " Sea | ", None, ""]})
    assert categories_of(text).to_list() == [["Sea", "Night"], ["Sea"], [], []]


def test_categories_may_also_come_as_lists() -> None:
    lists = pl.DataFrame({"category": [["Sea", "Night"], [], None]})
    assert categories_of(lists).to_list() == [["Sea", "Night"], [], []]
