from __future__ import annotations

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings

from fuserec.batch import Histories, Queries
from fuserec.models.item_to_item import ItemToItem
from fuserec.ops.sum_rows import SparseRows
from fuserec.testing.strategies import queries

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

WEIGHTS = torch.tensor([[0.0, 0.5, 0.25], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])


def sparse(weights: torch.Tensor) -> SparseRows:
    rows, columns = torch.nonzero(weights, as_tuple=True)
    return SparseRows.from_entries(rows, columns, weights[rows, columns], shape=(len(weights), len(weights)))


@pytest.fixture(params=["dense", "sparse"])
def scorer(request: pytest.FixtureRequest) -> ItemToItem:
    return ItemToItem(WEIGHTS if request.param == "dense" else sparse(WEIGHTS))


def ask(*lists: list[int]) -> Queries:
    return Queries(users=torch.full((len(lists),), -1), histories=Histories.from_lists(list(lists)))


def test_rows_of_the_history_add_up_and_a_repeated_item_counts_once(scorer: ItemToItem) -> None:
    found = scorer.scores(ask([0, 2], [1, 1], []), slice(0, 3))
    assert found.tolist() == [[0.0, 2.5, 0.25], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_trained_user_is_served_from_the_history_too(scorer: ItemToItem) -> None:
    trained = Queries(users=torch.tensor([7]), histories=Histories.from_lists([[0]]))
    assert scorer.scores(trained, slice(0, 3)).tolist() == [[0.0, 0.5, 0.25]]


def test_saved_tensors_come_back_to_the_bit(scorer: ItemToItem) -> None:
    stored = safetensors.torch.load(safetensors.torch.save(scorer.tensors()))
    again = ItemToItem.from_tensors(stored).tensors()
    assert again.keys() == scorer.tensors().keys()
    for name, tensor in scorer.tensors().items():
        assert torch.equal(again[name], tensor)
        assert again[name].dtype == tensor.dtype


def test_sparse_weights_are_saved_as_csr() -> None:
    saved = ItemToItem(sparse(WEIGHTS)).tensors()
    assert saved["crow"].tolist() == [0, 2, 3, 4]
    assert saved["col"].tolist() == [1, 2, 0, 1]
    assert saved["values"].tolist() == [0.5, 0.25, 1.0, 2.0]


@settings(deadline=None, max_examples=50)
@given(queries(num_users=4, num_items=3))
def test_dense_and_sparse_weights_give_the_same_scores(asked: Queries) -> None:
    for items in (slice(0, 3), slice(1, 3), slice(2, 2)):
        dense = ItemToItem(WEIGHTS).scores(asked, items)
        assert torch.equal(ItemToItem(sparse(WEIGHTS)).scores(asked, items), dense)
