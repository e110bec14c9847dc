from __future__ import annotations

import dataclasses
import math
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import Corpus, Pairs, Prepared, Queries
from fuserec.errors import ConfigError, ProtocolError, TrainingError
from fuserec.metrics import METRICS, RankedRelevance
from fuserec.models.two_tower import TwoTower
from fuserec.testing.scorers import TableScorer
from fuserec.training.evaluate import Evaluation, evaluate, evaluate_pairs
from fuserec.training.evaluation_protocol import EvaluationProtocol, History, Part, Ties
from fuserec.training.progress import Silent

KEYS = [f"{name}@{k}" for name in METRICS for k in (5, 10, 20, 50)]


def pairs(*rows: tuple[int, int]) -> Pairs:
    return Pairs(
        users=torch.tensor([user for user, _ in rows]), items=torch.tensor([item for _, item in rows])
    )


def prepared(
    train: Pairs, valid: Pairs, test: Pairs, *, num_users: int, num_items: int, repeats: bool = False
) -> Prepared:
    return Prepared(
        corpus=Corpus(num_users=num_users, num_items=num_items, train=train),
        valid=valid,
        test=test,
        split="random",
        repeats=repeats,
        dataset_hash="d" * 64,
        split_hash="s" * 64,
    )


def two_users() -> Prepared:
    return prepared(
        pairs((0, 0), (1, 3)), pairs((0, 1), (1, 2)), pairs((0, 2), (0, 3), (1, 0)), num_users=3, num_items=5
    )


def two_towers(user: Tensor, item: Tensor) -> TwoTower:
    return TwoTower(user=user, item=item, fold=item, foldable=torch.ones(len(item), dtype=torch.bool))


SCORES = torch.tensor([[9.0, 8.0, 7.0, 6.0, 7.5], [1.0, 2.0, 3.0, 9.0, 2.5], [0.0] * 5])


class BrokenScorer(TableScorer):
    """Gives blocks of the wrong shape."""

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return super().scores(queries, items)[:, 1:]


class PopularityLike(TableScorer):
    """Hands out one stored row for everybody, without copying it."""

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return self.table[0, items].expand(len(queries), -1)


class Stored(TableScorer):
    """Hands out a view of the table itself."""

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return self.table[queries.users[0] : queries.users[-1] + 1, items]


def test_test_items_are_ranked_without_training_and_validation_items_by_hand() -> None:
    # User 0 has 0 (train) and 1 (valid): 4, 2*, 3* remain in that order. User 1 has 3 and 2: 4, 1, 0*.
    result = evaluate(TableScorer(SCORES), two_users(), part="test", cutoffs=(1, 2, 3))
    assert result.users.tolist() == [0, 1]
    assert result.values["Recall@1"].tolist() == [0.0, 0.0]
    assert result.values["Recall@2"].tolist() == [0.5, 0.0]
    assert result.values["Recall@3"].tolist() == [1.0, 1.0]
    assert result.values["MRR@3"].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert result.means()["Recall@3"] == 1.0


def test_validation_items_are_ranked_without_training_items_by_hand() -> None:
    # User 0: 1*, 4, 2, 3. User 1: 2*, 4, 1, 0.
    result = evaluate(TableScorer(SCORES), two_users(), part="valid", cutoffs=(1,))
    assert result.values["Recall@1"].tolist() == [1.0, 1.0]
    assert result.protocol.mask == "train"


def test_where_repeats_are_allowed_nothing_is_masked() -> None:
    data = dataclasses.replace(two_users(), repeats=True)
    result = evaluate(TableScorer(SCORES), data, part="test", cutoffs=(2, 3))
    # User 0: 0, 1, 4, 2*, 3*. User 1: 3, 2, 4, 1, 0*.
    assert result.values["Recall@3"].tolist() == [0.0, 0.0]
    assert result.protocol.mask == "none"


def test_all_metrics_and_cutoffs_are_measured_for_each_user() -> None:
    result = evaluate(TableScorer(SCORES), two_users(), part="test")
    assert list(result.values) == KEYS
    for values in result.values.values():
        assert values.shape == (2,)
        assert values.dtype == torch.float64


def test_a_cutoff_beyond_the_catalogue_sees_all_of_it() -> None:
    result = evaluate(TableScorer(SCORES), two_users(), part="test", cutoffs=(50,))
    assert result.values["Recall@50"].tolist() == [1.0, 1.0]
    assert result.values["Precision@50"].tolist() == [2 / 50, 1 / 50]


def test_a_tie_is_worth_its_expectation() -> None:
    # All five items tie; user 0 may get 2, 3 or 4, of which 2 and 3 count.
    result = evaluate(TableScorer(torch.zeros(3, 5)), two_users(), part="test", cutoffs=(1, 2))
    assert result.values["Recall@1"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert result.values["HitRate@2"].tolist() == pytest.approx([1.0, 2 / 3])


def test_truth_that_stands_twice_counts_once() -> None:
    data = dataclasses.replace(two_users(), test=pairs((0, 2), (0, 2), (0, 2), (0, 3)))
    result = evaluate(TableScorer(SCORES), data, part="test", cutoffs=(2,))
    assert result.users.tolist() == [0]
    assert result.values["Recall@2"].tolist() == [0.5]


@dataclasses.dataclass
class Drawn:
    """Lists as hypothesis draws them; tensors are made from them in the test."""

    parts: list[list[tuple[int, int]]]
    table: list[list[float]]
    repeats: bool

    def prepared(self) -> Prepared:
        return prepared(
            *(pairs(*part) for part in self.parts),
            num_users=len(self.table),
            num_items=len(self.table[0]),
            repeats=self.repeats,
        )


@st.composite
def random_cases(draw: st.DrawFn) -> Drawn:
    num_users, num_items = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    levels = st.sampled_from([-math.inf, -1.0, 0.0, 0.0, 0.0, 2.0])
    row = st.lists(levels, min_size=num_items, max_size=num_items)
    return Drawn(
        parts=[draw(st.lists(pair, min_size=1, max_size=20)) for _ in range(3)],
        table=draw(st.lists(row, min_size=num_users, max_size=num_users)),
        repeats=draw(st.booleans()),
    )


def literally(data: Prepared, table: Tensor, part: Part, ties: Ties, cutoffs: tuple[int, ...]) -> Evaluation:
    """Whole rows, user by user, as one would write it down."""
    truth = data.valid if part == "valid" else data.test
    standard = EvaluationProtocol.standard(data, part)
    protocol = dataclasses.replace(standard, ties=ties)
    known = {"train": data.corpus.train, "valid": data.valid}
    values: dict[str, list[float]] = {f"{name}@{k}": [] for name in METRICS for k in cutoffs}
    users = sorted(set(truth.users.tolist()))
    for user in users:
        scores = table[user].double()
        if user not in data.corpus.train.users.tolist():
            scores = torch.zeros_like(scores)  # unseen, and known by no history
        for name in protocol.masked_parts:
            scores[known[name].items[known[name].users == user]] = -math.inf
        if ties == "order":
            order = scores.sort(descending=True, stable=True).indices
            distinct = torch.arange(len(scores), 0, -1).double()
            scores = torch.where(scores > -math.inf, distinct[order.argsort()], -math.inf)
        relevant = torch.zeros(len(scores), dtype=torch.bool)
        relevant[truth.items[truth.users == user]] = True
        ranked = RankedRelevance.of(scores[None], relevant[None], depth=max(cutoffs))
        for name, metric in METRICS.items():
            for k in cutoffs:
                values[f"{name}@{k}"].append(metric(ranked, k).item())
    return Evaluation(
        protocol=protocol,
        users=torch.tensor(users),
        values={name: torch.tensor(column, dtype=torch.float64) for name, column in values.items()},
    )


@settings(deadline=None, max_examples=40)
@given(
    random_cases(),
    st.sampled_from(["valid", "test"]),
    st.sampled_from(["expectation", "order"]),
    st.integers(1, 7),
    st.integers(1, 13),
)
def test_streaming_equals_ranking_whole_rows_user_by_user(
    case: Drawn, part: Part, ties: Ties, users_per_chunk: int, items_per_block: int
) -> None:
    data, table = case.prepared(), torch.tensor(case.table)
    cutoffs = (1, 3, 8)
    expected = literally(data, table, part, ties, cutoffs)
    result = evaluate(
        TableScorer(table),
        data,
        part=part,
        protocol=expected.protocol,
        cutoffs=cutoffs,
        users_per_chunk=users_per_chunk,
        items_per_block=items_per_block,
    )
    assert torch.equal(result.users, expected.users)
    for name, values in expected.values.items():
        torch.testing.assert_close(result.values[name], values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scorer_class", [PopularityLike, Stored])
def test_a_scorer_that_hands_out_what_it_keeps_is_left_as_it_was(scorer_class: type[TableScorer]) -> None:
    table = torch.tensor([[3.0, 1.0, 2.0, 0.0, 4.0]] * 3)
    scorer = scorer_class(table.clone())
    first = evaluate(scorer, two_users(), part="test", items_per_block=2)
    assert torch.equal(scorer.table, table)
    expected = evaluate(TableScorer(table), two_users(), part="test")
    for name, values in expected.values.items():
        assert torch.equal(first.values[name], values)


def test_real_scores_agree_with_the_literal_ranking_for_every_chunk_and_block() -> None:
    generator = torch.Generator().manual_seed(3)
    num_users, num_items = 60, 130

    def some(count: int) -> Pairs:
        users = torch.randint(0, num_users, (count,), generator=generator)
        return Pairs(users=users, items=torch.randint(0, num_items, (count,), generator=generator))

    data = prepared(some(400), some(80), some(90), num_users=num_users, num_items=num_items)
    scorer = two_towers(
        torch.randn(num_users, 8, generator=generator), torch.randn(num_items, 8, generator=generator)
    )
    expected = literally(data, scorer.user @ scorer.item.T, "test", "expectation", (5, 10, 20, 50))
    for users_per_chunk, items_per_block in [(512, 8192), (7, 8192), (16, 33), (20, 1)]:
        result = evaluate(
            scorer, data, part="test", users_per_chunk=users_per_chunk, items_per_block=items_per_block
        )
        for name in KEYS:
            torch.testing.assert_close(result.values[name], expected.values[name], rtol=0, atol=1e-12)


def test_no_more_scores_are_asked_for_than_a_chunk_and_a_block_hold() -> None:
    asked: list[tuple[int, int]] = []

    class Watched(TableScorer):
        def scores(self, queries: Queries, items: slice) -> Tensor:
            asked.append((len(queries), items.stop - items.start))
            return super().scores(queries, items)

    evaluate(Watched(SCORES), two_users(), part="test", users_per_chunk=1, items_per_block=2)
    assert asked == [(1, 2), (1, 2), (1, 1)] * 2


def test_histories_given_to_the_scorer_are_the_training_ones_also_at_test() -> None:
    told: list[list[int]] = []

    class Listening(TableScorer):
        def scores(self, queries: Queries, items: slice) -> Tensor:
            told.append(queries.histories.items.tolist())
            return super().scores(queries, items)

    evaluate(Listening(SCORES), two_users(), part="test")
    assert told == [[0, 3]]


def test_the_validation_event_is_the_last_one_told_where_the_protocol_says_so() -> None:
    told: list[list[int]] = []

    class Listening(TableScorer):
        def scores(self, queries: Queries, items: slice) -> Tensor:
            offsets = queries.histories.offsets.tolist()
            told.extend(queries.histories.items[a:b].tolist() for a, b in pairwise(offsets))
            return super().scores(queries, items)

    data = prepared(
        # events of both users in turns; user 2 has none in training
        pairs((1, 3), (0, 4), (1, 0), (0, 0)),
        pairs((1, 2), (2, 4), (0, 1)),
        pairs((0, 2), (1, 1), (2, 0)),
        num_users=3,
        num_items=5,
    )
    protocol = EvaluationProtocol.standard(data, "test", history="train+valid")
    later = evaluate(Listening(SCORES), data, part="test", protocol=protocol)
    assert told == [[4, 0, 1], [3, 0, 2], [4]]
    told.clear()
    evaluate(Listening(SCORES), data, part="test")
    assert told == [[4, 0], [3, 0], []]
    assert later.protocol.history == "train+valid"


def test_a_user_whose_one_event_is_the_validation_event_stays_one_unseen_in_training() -> None:
    asked: list[int] = []

    class Listening(TableScorer):
        def scores(self, queries: Queries, items: slice) -> Tensor:
            asked.extend(queries.users.tolist())
            return super().scores(queries, items)

    data = prepared(pairs((0, 0)), pairs((0, 1), (1, 4)), pairs((0, 2), (1, 3)), num_users=2, num_items=5)
    protocol = EvaluationProtocol.standard(data, "test", history="train+valid")
    evaluate(Listening(SCORES), data, part="test", protocol=protocol)
    assert asked == [0, -1]


@pytest.mark.parametrize(
    ("history", "recent", "came"),
    [("train", True, "further pairs"), ("train+valid", False, "the training pairs alone")],
)
def test_what_is_told_must_be_what_the_protocol_says(history: History, recent: bool, came: str) -> None:
    data = two_users()
    with pytest.raises(
        ConfigError, match=f"^expected what the protocol tells of a user, {re.escape(history)}, got {came}$"
    ):
        evaluate_pairs(
            TableScorer(SCORES),
            data.corpus,
            data.test,
            masked={"train": data.corpus.train, "valid": data.valid},
            protocol=EvaluationProtocol.standard(data, "test", history=history),
            recent=data.valid if recent else None,
        )


def test_a_user_without_a_training_item_is_unseen_as_in_recommending() -> None:
    # user 1 has no training item: folded in from nothing, all 4 items tie; the untrained row would have put item 3 first
    data = prepared(pairs((0, 0)), pairs((0, 1)), pairs((0, 2), (1, 3)), num_users=2, num_items=4)
    scorer = two_towers(torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    measured = evaluate(scorer, data, part="test", cutoffs=[1, 2])
    assert measured.values["Recall@1"].tolist() == [0.0, 0.25]
    assert measured.values["Recall@2"].tolist() == [1.0, 0.5]


def test_poisoning_the_test_split_changes_nothing_at_validation() -> None:
    data = two_users()
    poisoned = dataclasses.replace(data, test=pairs((2, 4), (1, 1)))
    before = evaluate(TableScorer(SCORES), data, part="valid")
    after = evaluate(TableScorer(SCORES), poisoned, part="valid")
    for name in KEYS:
        assert torch.equal(before.values[name], after.values[name])


def test_progress_is_told_of_every_user() -> None:
    class Counting(Silent):
        total, done_users = 0, 0

        def start(self, total: int, description: str) -> None:
            self.total = total

        def step(self, advance: int = 1, **figures: float) -> None:
            self.done_users += advance

    watcher = Counting()
    evaluate(TableScorer(SCORES), two_users(), part="test", users_per_chunk=1, progress=watcher)
    assert (watcher.total, watcher.done_users) == (2, 2)


@pytest.mark.parametrize("items_per_block", [2, 5])
@pytest.mark.parametrize("ties", ["expectation", "order"])
def test_nan_is_refused_with_the_scorer_and_the_user(items_per_block: int, ties: Ties) -> None:
    table = SCORES.clone()
    table[1, 4] = math.nan
    protocol = dataclasses.replace(EvaluationProtocol.standard(two_users(), "test"), ties=ties)
    with pytest.raises(TrainingError, match="numbers as scores from table, got NaN for the user in row 1"):
        evaluate(
            TableScorer(table), two_users(), part="test", protocol=protocol, items_per_block=items_per_block
        )


def test_a_scorer_of_another_catalogue_is_refused() -> None:
    with pytest.raises(TrainingError, match="expected scores of 5 items, but table has 4"):
        evaluate(TableScorer(SCORES[:, :4]), two_users(), part="test")


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"expected scores of shape \(2, 5\) from table, got \(2, 4\)"):
        evaluate(BrokenScorer(SCORES), two_users(), part="test")


def test_wrong_options_are_refused() -> None:
    scorer, data = TableScorer(SCORES), two_users()
    with pytest.raises(
        ConfigError, match="expected the name of a metric, got 'Recal'; did you mean 'Recall'"
    ):
        evaluate(scorer, data, part="test", metrics=("Recal",))
    with pytest.raises(ConfigError, match=r"expected cutoffs from 1 up to any k, got \[0\]"):
        evaluate(scorer, data, part="test", cutoffs=(0,))
    with pytest.raises(ConfigError, match=r"expected cutoffs from 1 up to any k, got \[\]"):
        evaluate(scorer, data, part="test", cutoffs=())
    with pytest.raises(ConfigError, match="expected at least one user and item at a time, got 0 and 8192"):
        evaluate(scorer, data, part="test", users_per_chunk=0)
    empty = Pairs(users=torch.zeros(0, dtype=torch.int64), items=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ConfigError, match="expected held-out pairs in test, got none"):
        evaluate(scorer, dataclasses.replace(data, test=empty), part="test")


def test_a_protocol_of_another_part_or_split_is_refused() -> None:
    data = two_users()
    with pytest.raises(
        ProtocolError, match="expected a protocol for test of split ssssssssssss, got one for valid"
    ):
        evaluate(TableScorer(SCORES), data, part="test", protocol=EvaluationProtocol.standard(data, "valid"))


def test_masks_other_than_the_protocols_are_refused() -> None:
    data = two_users()
    with pytest.raises(ConfigError, match=r"expected to mask \['train'\], as the protocol says, got \[\]"):
        evaluate_pairs(
            TableScorer(SCORES),
            data.corpus,
            data.valid,
            masked={},
            protocol=EvaluationProtocol.standard(data, "valid"),
        )


def test_mmrec_leaves_validation_items_among_the_candidates_and_caps_the_divisor_of_map() -> None:
    data = two_users()
    protocol = EvaluationProtocol.compatibility("mmrec", data, "test")
    result = evaluate(TableScorer(SCORES), data, part="test", protocol=protocol, cutoffs=(1, 3))
    # User 0: 1, 4, 2*, 3*. User 1: 2, 4, 1, 0*.
    assert result.values["Recall@3"].tolist() == [0.5, 0.0]
    # Two relevant items, but the divisor at cutoff 1 is 1.
    flat = torch.tensor([[0.0, 0.0, 9.0, 8.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 5])
    result = evaluate(TableScorer(flat), data, part="test", protocol=protocol, cutoffs=(1, 2))
    assert result.values["MAP@1"].tolist() == [1.0, 1.0]
    assert evaluate(TableScorer(flat), data, part="test", cutoffs=(1,)).values["MAP@1"].tolist() == [0.5, 1.0]


def test_mmrec_and_lattice_put_the_lower_row_of_a_tie_first() -> None:
    data = two_users()
    protocol = EvaluationProtocol.compatibility("mmrec", data, "test")
    result = evaluate(TableScorer(torch.zeros(3, 5)), data, part="test", protocol=protocol, cutoffs=(1, 2, 3))
    # User 0: 1, 2*, 3*, 4. User 1: 0*, 1, 2, 4.
    assert result.values["Recall@1"].tolist() == [0.0, 1.0]
    assert result.values["Recall@2"].tolist() == [0.5, 1.0]
    assert result.values["Recall@3"].tolist() == [1.0, 1.0]


def test_lattices_ndcg_takes_the_retrieved_list_as_its_ideal() -> None:
    data = prepared(pairs((0, 0)), pairs((0, 1)), pairs((0, 30), (0, 31), (0, 5)), num_users=1, num_items=40)
    scores = -torch.arange(40.0)[None]
    protocol = EvaluationProtocol.compatibility("lattice", data, "test")
    result = evaluate(TableScorer(scores), data, part="test", protocol=protocol, cutoffs=(5, 10, 20))
    # Item 5 stands at rank 5; the other two are beyond the 20 retrieved, so one hit is the ideal.
    gain = 1 / math.log2(6)
    assert result.values["NDCG@5"].tolist() == pytest.approx([gain])
    assert result.values["NDCG@20"].tolist() == pytest.approx([gain])
    standard = evaluate(TableScorer(scores), data, part="test", cutoffs=(20,))
    # Under the standard protocol item 1 is masked too, so the hit is at rank 4, and three items were to be found.
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert standard.values["NDCG@20"].tolist() == pytest.approx([1 / math.log2(5) / ideal])
    with pytest.raises(ConfigError, match=r"expected cutoffs from 1 up to 20, got \[20, 50\]"):
        evaluate(TableScorer(scores), data, part="test", protocol=protocol, cutoffs=(20, 50))
