from __future__ import annotations

import torch

from fuserec.losses import embedding_l2


def test_two_users_by_hand() -> None:
    users = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    items = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    # (1 + 4 + 9) + (1 + 4 + 1), over two pairs, without a factor 1/2
    assert embedding_l2(users, items).item() == 10.0


def test_an_embedding_that_stands_twice_counts_twice() -> None:
    table = torch.ones(1, 4, requires_grad=True)
    embedding_l2(table[[0, 0]], table[[0, 0, 0, 0]]).backward()
    assert table.grad is not None
    # six rows over two pairs: derivative 2 x 6 / 2
    assert table.grad.tolist() == [[6.0] * 4]


def test_the_gradient_is_exact() -> None:
    rng = torch.Generator().manual_seed(0)
    leaves = [torch.randn(rows, 2, dtype=torch.float64, generator=rng).requires_grad_() for rows in (3, 6)]
    assert torch.autograd.gradcheck(embedding_l2, leaves)
