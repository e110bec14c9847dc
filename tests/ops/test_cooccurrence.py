from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from fuserec.batch import Pairs
from fuserec.ops import cooccurrence
from fuserec.ops.cooccurrence import cooccurrence_blocks, cooccurrence_reference
from fuserec.testing.strategies import pairs


def test_common_users_by_hand() -> None:
    # user 0 has items 0 and 1 (1 twice), user 1 has 1 and 2, user 2 nothing
    log = Pairs(users=torch.tensor([0, 1, 0, 1, 0]), items=torch.tensor([1, 2, 0, 1, 1]))
    [(rows, counts)] = cooccurrence_blocks(log, num_users=3, num_items=4)
    assert rows == slice(0, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [1, 2, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


@settings(deadline=None, max_examples=50)
@given(pairs(num_users=5, num_items=7))
def test_blocks_equal_the_dense_product(log: Pairs) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "COUNTS_IN_MEMORY", 3 * 7)
        blocks = list(cooccurrence_blocks(log, num_users=5, num_items=7))
    assert [rows for rows, _ in blocks] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    expected = cooccurrence_reference(log, num_users=5, num_items=7)
    assert torch.equal(torch.cat([counts for _, counts in blocks]), expected)
