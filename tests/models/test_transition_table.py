from __future__ import annotations

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Histories, Queries
from fuserec.models.transition_table import TransitionTable
from fuserec.ops.sum_rows import SparseRows
from fuserec.testing.strategies import queries

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

WEIGHTS = torch.tensor([[0.0, 0.5, 0.25], [1.0, 0.0, 0.0], [0.0, 2.0, 4.0]])


def table(by_age: list[float]) -> TransitionTable:
    rows, columns = torch.nonzero(WEIGHTS, as_tuple=True)
    weights = SparseRows.from_entries(rows, columns, WEIGHTS[rows, columns], shape=(3, 3))
    return TransitionTable(weights, torch.tensor(by_age))


def ask(*lists: list[int]) -> Queries:
    return Queries(users=torch.full((len(lists),), -1), histories=Histories.from_lists(list(lists)))


def test_rows_of_the_last_events_add_up_by_their_age() -> None:
    found = table([1.0, 0.5]).scores(ask([2, 1, 0], [0, 1, 2], [1], []), slice(0, 3))
    # 0 and half of 1; 2 and half of 1; 1 alone; nothing. The event before the last two is not looked at.
    assert found.tolist() == [[0.5, 0.5, 0.25], [0.5, 2.0, 4.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_an_item_that_stands_twice_counts_twice() -> None:
    assert table([1.0, 0.5]).scores(ask([1, 1]), slice(0, 3)).tolist() == [[1.5, 0.0, 0.0]]


def test_a_trained_user_is_served_from_the_history_too() -> None:
    trained = Queries(users=torch.tensor([7]), histories=Histories.from_lists([[1]]))
    assert table([1.0]).scores(trained, slice(0, 3)).tolist() == [[1.0, 0.0, 0.0]]


@settings(deadline=None, max_examples=50)
@given(queries(num_users=4, num_items=3), st.integers(1, 4))
def test_scores_equal_the_sum_event_by_event(asked: Queries, ages: int) -> None:
    by_age = [0.7**age for age in range(ages)]
    lists = [row.tolist() for row in torch.tensor_split(asked.histories.items, asked.histories.offsets[1:-1])]
    expected = torch.zeros(len(asked), 3)
    for row, history in enumerate(lists[: len(asked)]):
        for weight, item in zip(by_age, reversed(history), strict=False):
            expected[row] += weight * WEIGHTS[item]
    for items in (slice(0, 3), slice(1, 3), slice(2, 2)):
        torch.testing.assert_close(table(by_age).scores(asked, items), expected[:, items])


def test_saved_tensors_come_back_to_the_bit() -> None:
    saved = table([1.0, 0.8]).tensors()
    again = TransitionTable.from_tensors(safetensors.torch.load(safetensors.torch.save(saved)))
    assert again.num_items == 3
    assert again.tensors().keys() == saved.keys()
    for name, tensor in saved.items():
        assert torch.equal(again.tensors()[name], tensor)
        assert again.tensors()[name].dtype == tensor.dtype
