from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.training.row_adam import RowAdam
from fuserec.training.state import Moving

ITEMS, DIM = 6, 3
SETTINGS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}


class Model(torch.nn.Module):
    """A table of items, looked up sparsely, and a dense layer on it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(ITEMS, DIM, generator=generator))
        self.layer = torch.nn.Parameter(torch.randn(DIM, DIM, generator=generator))

    def loss(self, rows: list[int], *, sparse: bool = True) -> Tensor:
        looked_up = F.embedding(torch.tensor(rows, dtype=torch.int64), self.table, sparse=sparse)
        return (looked_up @ self.layer).sin().sum()


def trained(
    steps: list[list[int]],
    model: Model,
    optimiser: torch.optim.Optimizer,
    *,
    sparse: bool = True,
) -> dict[str, Tensor]:
    for rows in steps:
        optimiser.zero_grad()
        model.loss(rows, sparse=sparse).backward()
        optimiser.step()
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def by_rows(steps: list[list[int]]) -> dict[str, Tensor]:
    model = Model()
    return trained(steps, model, RowAdam(model.parameters(), **SETTINGS))  # type: ignore[arg-type]


def literal(steps: list[list[int]]) -> Tensor:
    """The table after AdamW's equations, row by row, with the layer held still."""
    model = Model()
    value = {row: model.table[row].detach().double() for row in range(ITEMS)}
    first = {row: torch.zeros(DIM, dtype=torch.float64) for row in range(ITEMS)}
    second = {row: torch.zeros(DIM, dtype=torch.float64) for row in range(ITEMS)}
    for count, rows in enumerate(steps, start=1):
        for row in set(rows):
            leaf = value[row].clone().requires_grad_()
            loss = (leaf @ model.layer.detach().double()).sin().sum() * rows.count(row)
            (gradient,) = torch.autograd.grad(loss, leaf)
            first[row] = 0.8 * first[row] + 0.2 * gradient
            second[row] = 0.95 * second[row] + 0.05 * gradient**2
            change = (first[row] / (1 - 0.8**count)) / ((second[row] / (1 - 0.95**count)).sqrt() + 1e-6)
            value[row] = value[row] * (1 - 0.05 * 0.1) - 0.05 * change
    return torch.stack([value[row] for row in range(ITEMS)])


def test_with_all_rows_used_in_every_step_it_is_adamw() -> None:
    every = list(range(ITEMS))
    steps = [every, every[::-1], [*every, 2, 2], every]
    model = Model()
    expected = trained(steps, model, torch.optim.AdamW(model.parameters(), **SETTINGS), sparse=False)  # type: ignore[arg-type]
    torch.testing.assert_close(by_rows(steps), expected)


def test_with_dense_gradients_it_is_the_fused_adamw_to_the_bit() -> None:
    steps = [[0, 1], [2], [1, 5, 5]]
    results = []
    for optimiser in (RowAdam, lambda p, **settings: torch.optim.AdamW(p, fused=True, **settings)):
        model = Model()
        results.append(trained(steps, model, optimiser(model.parameters(), **SETTINGS), sparse=False))  # type: ignore[arg-type]
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_of_rows_used_now_and_then_each_has_moments_of_its_own_and_the_count_of_all_steps() -> None:
    steps = [[0, 1], [1, 1, 4], [0], [], [4, 0, 1]]
    model = Model()
    model.layer.requires_grad_(False)
    optimiser = RowAdam([model.table], **SETTINGS)  # type: ignore[arg-type]
    found = trained(steps, model, optimiser)["table"]
    torch.testing.assert_close(found.double(), literal(steps), rtol=1e-5, atol=1e-6)
    assert optimiser.state[model.table]["step"].item() == len(steps)


def test_a_row_that_is_not_used_keeps_its_value_and_moments_to_the_bit() -> None:
    model = Model()
    optimiser = RowAdam(model.parameters(), **SETTINGS)  # type: ignore[arg-type]
    trained([[0, 1, 2]], model, optimiser)
    moments = [optimiser.state[model.table][name] for name in ("exp_avg", "exp_avg_sq")]
    before = [one.clone() for one in (model.table.detach(), *moments)]
    trained([[1, 4]], model, optimiser)
    still, moved = [0, 2, 3, 5], [1, 4]
    for now, then in zip((model.table.detach(), *moments), before, strict=True):
        assert torch.equal(now[still], then[still])
        assert bool((now[moved] != then[moved]).all())


def test_a_row_that_is_new_late_moves_by_more_than_the_learning_rate_once() -> None:
    table = torch.nn.Parameter(torch.zeros(2, 1))
    optimiser = RowAdam([table], lr=0.01, betas=(0.5, 0.9), weight_decay=0.0)
    for row in [0] * 200 + [1]:
        optimiser.zero_grad()
        F.embedding(torch.tensor([row]), table, sparse=True).sum().backward()
        optimiser.step()
    assert table[1].item() == pytest.approx(-0.01 * (1 - 0.5) / (1 - 0.9) ** 0.5, rel=1e-4)


def test_without_a_gradient_nothing_moves_and_no_step_is_counted() -> None:
    model = Model()
    before = model.table.detach().clone()
    optimiser = RowAdam(model.parameters(), **SETTINGS)  # type: ignore[arg-type]
    optimiser.step()
    assert torch.equal(model.table, before)
    assert not optimiser.state_dict()["state"]


def test_each_group_has_settings_of_its_own() -> None:
    model = Model()
    groups = [{"params": [model.table], "lr": 0.0}, {"params": [model.layer]}]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = trained([[0, 1]], model, RowAdam(groups, lr=0.1))
    assert torch.equal(after["table"], before["table"])
    assert not torch.equal(after["layer"], before["layer"])


def test_training_goes_on_from_a_saved_state_with_the_same_bits() -> None:
    def moving() -> Moving:
        model = Model()
        return Moving(module=model, optimiser=RowAdam(model.parameters(), **SETTINGS), generators={})  # type: ignore[arg-type]

    def go_on(one: Moving, steps: list[list[int]]) -> Mapping[str, Tensor]:
        assert isinstance(one.module, Model)
        return trained(steps, one.module, one.optimiser)

    first, last = [[0, 1], [3, 3]], [[1, 5], [0, 2]]
    whole = moving()
    expected = go_on(whole, first + last)
    begun, resumed = moving(), moving()
    go_on(begun, first)
    resumed.put_back(begun.capture())
    torch.testing.assert_close(go_on(resumed, last), expected, rtol=0, atol=0)
    torch.testing.assert_close(resumed.capture(), whole.capture(), rtol=0, atol=0)


@pytest.mark.parametrize("use", [lambda model: model.loss([0, 1, 1]), lambda model: model.table.sum()])
def test_it_learns(use: Callable[[Model], Tensor]) -> None:
    model = Model()
    optimiser = RowAdam(model.parameters(), lr=0.05, weight_decay=0.0)
    before = use(model).item()
    for _ in range(20):
        optimiser.zero_grad()
        use(model).backward()
        optimiser.step()
    assert use(model).item() < before - 0.5
