"""The evaluation on Amazon Baby gives the figures that were measured elsewhere with other code."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from torch import Tensor

from fuserec.batch import Corpus, Pairs, Prepared, Queries
from fuserec.testing.scorers import TableScorer
from fuserec.training.evaluate import evaluate
from fuserec.training.evaluation_protocol import EvaluationProtocol


class Popular(TableScorer):
    """The same row of scores for everybody."""

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return self.table[0, items].expand(len(queries), -1)


def baby(real_data: Path) -> Prepared:
    table = pl.read_parquet(real_data / "amazon-baby" / "interactions.parquet")

    def part(name: str) -> Pairs:
        rows = table.filter(pl.col("split") == name)
        users, items = (rows[column].cast(pl.Int64).to_torch() for column in ("user_idx", "item_idx"))
        return Pairs(users=users, items=items)

    return Prepared(
        corpus=Corpus(num_users=19_445, num_items=7_050, train=part("train")),
        valid=part("valid"),
        test=part("test"),
        split="split",
        repeats=False,
        dataset_hash="baby",
        split_hash="baby",
    )


@pytest.mark.real
def test_popularity_on_baby_lands_on_the_figures_measured_with_other_code(real_data: Path) -> None:
    data = baby(real_data)
    scorer = Popular(data.corpus.popularity().float()[None])
    means = evaluate(scorer, data, part="test", cutoffs=(10, 20)).means()
    assert means["Recall@20"] == pytest.approx(0.0525, abs=5e-4)
    assert means["NDCG@20"] == pytest.approx(0.0220, abs=5e-4)
    protocol = EvaluationProtocol.compatibility("mmrec", data, "test")
    means = evaluate(scorer, data, part="test", protocol=protocol, cutoffs=(10, 20)).means()
    assert means["Recall@10"] == pytest.approx(0.0305, abs=5e-4)
    assert means["Recall@20"] == pytest.approx(0.0523, abs=5e-4)
    assert means["NDCG@10"] == pytest.approx(0.0165, abs=5e-4)
    assert means["NDCG@20"] == pytest.approx(0.0219, abs=5e-4)
