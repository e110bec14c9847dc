from __future__ import annotations

from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Histories, Queries
from fuserec.models.two_tower import TwoTower
from fuserec.testing.strategies import queries

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

SCORER = TwoTower(
    user=torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
    item=torch.tensor([[1.0, 1.0], [0.0, 3.0], [2.0, 0.0]]),
    fold=torch.tensor([[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]]),
    foldable=torch.tensor([True, True, False]),
)


def asked(users: list[int], lists: list[list[int]]) -> Queries:
    return Queries(users=torch.tensor(users), histories=Histories.from_lists(lists))


def test_a_trained_user_is_scored_by_the_own_row_whatever_the_history() -> None:
    found = SCORER.scores(asked([1, 0], [[2], []]), slice(0, 3))
    assert found.tolist() == [[2.0, 6.0, 0.0], [1.0, 0.0, 2.0]]
    assert SCORER.scores(asked([1], [[]]), slice(1, 2)).tolist() == [[6.0]]


def test_an_unseen_user_is_folded_in_by_hand() -> None:
    found = SCORER.user_vectors(asked([-1, 0, -1, -1, -1], [[0, 1], [1], [], [0, 0, 0], [2, 1, 2]]))
    # (fold_0 + fold_1) / sqrt 2; the trained row; nothing; once is as good as thrice; item 2 does not count at all
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(found, expected)


def test_a_mean_over_the_history_is_added_by_hand() -> None:
    scorer = replace(SCORER, mean_fold=torch.tensor([[4.0, 0.0], [0.0, 8.0], [7.0, 7.0]]))
    found = scorer.user_vectors(asked([-1, 0, -1, -1, -1], [[0, 1], [1], [], [0, 0, 0], [2, 1, 2]]))
    # beside what stands above: (4, 8) / 2; nothing for a trained row; nothing; once is as good as thrice; without item 2
    expected = torch.tensor([[0.5**0.5 + 2, 0.5**0.5 + 4], [1.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.0, 9.0]])
    torch.testing.assert_close(found, expected)


def test_a_user_known_by_items_that_were_never_trained_alone_gets_zeros() -> None:
    assert SCORER.scores(asked([-1], [[2]]), slice(0, 3)).tolist() == [[0.0, 0.0, 0.0]]


@settings(deadline=None, max_examples=50)
@given(queries(num_users=4, num_items=6), st.integers(0, 999), st.booleans())
def test_folding_in_is_the_literal_sum_over_distinct_trained_items(
    asking: Queries, seed: int, with_mean: bool
) -> None:
    rng = torch.Generator().manual_seed(seed)
    user, item, fold, mean_fold = (torch.randn(rows, 3, generator=rng).double() for rows in (4, 6, 6, 6))
    scorer = TwoTower(
        user=user,
        item=item,
        fold=fold,
        foldable=torch.rand(6, generator=rng) > 0.3,
        mean_fold=mean_fold if with_mean else None,
    )
    expected = torch.zeros(len(asking), 3, dtype=torch.float64)
    for row, known in enumerate(asking.users.tolist()):
        history = asking.histories.select(torch.tensor([row])).items.tolist()
        used = [i for i in sorted(set(history)) if scorer.foldable[i]]
        if known >= 0:
            expected[row] = user[known]
        elif used:
            expected[row] = torch.stack([fold[i] for i in used]).sum(0) / len(used) ** 0.5
            if with_mean:
                expected[row] += torch.stack([mean_fold[i] for i in used]).mean(0)
    torch.testing.assert_close(scorer.user_vectors(asking), expected)
    torch.testing.assert_close(scorer.scores(asking, slice(2, 5)), expected @ item[2:5].T)


def test_it_comes_back_from_its_tensors() -> None:
    again = TwoTower.from_tensors(SCORER.tensors())
    assert again.num_items == 3
    question = asked([0, -1], [[], [1, 0]])
    assert torch.equal(again.scores(question, slice(0, 3)), SCORER.scores(question, slice(0, 3)))


def test_what_a_history_adds_is_saved_where_there_is_something_and_not_named_elsewhere() -> None:
    assert SCORER.tensors().keys() == {"user", "item", "fold", "foldable"}
    assert TwoTower.from_tensors(SCORER.tensors()).mean_fold is None
    scorer = replace(SCORER, mean_fold=torch.tensor([[4.0, 0.0], [0.0, 8.0], [7.0, 7.0]]))
    again = TwoTower.from_tensors(safetensors.torch.load(safetensors.torch.save(scorer.tensors())))
    question = asked([0, -1], [[], [1, 0]])
    assert torch.equal(again.scores(question, slice(0, 3)), scorer.scores(question, slice(0, 3)))
    assert not torch.equal(again.scores(question, slice(0, 3)), SCORER.scores(question, slice(0, 3)))
