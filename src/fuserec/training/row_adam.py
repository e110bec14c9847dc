"""AdamW over the rows that a step used.

Of a table of a million items a step uses a few thousand rows. Looked up by
``torch.nn.functional.embedding(rows, table, sparse=True)``, they alone have a gradient, and here they alone are read and written.
`torch.optim.SparseAdam` does that too, but has no weight decay, takes no dense parameters, and counts its steps in no tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

__all__ = ["RowAdam"]


class RowAdam(torch.optim.Optimizer):
    """`torch.optim.AdamW`; where a gradient is sparse, for its rows alone.

    Other rows keep their values and moments, and do not decay. The correction of the moments' bias counts all steps of
    the parameter, so a row that is new late moves up to (1 - beta1) / sqrt(1 - beta2) times the learning rate at first.

    Args:
        params: as every optimiser takes them; sparse and dense gradients may mix.
        lr: the learning rate.
        betas: how much of both moments stays, each step.
        eps: added to the root of the second moment.
        weight_decay: times the learning rate, the share of a row that goes each time it is used.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        # "fused" also tells the base class where the count of steps belongs when a state is loaded
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": True}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move what has a gradient."""
        for group in self.param_groups:
            moving: list[tuple[Tensor, ...]] = []
            taken: list[tuple[Tensor, Tensor, Tensor]] = []
            for parameter in group["params"]:
                if (gradient := parameter.grad) is None:
                    continue
                state = self._state_of(parameter)
                wholes = parts = [parameter, state["exp_avg"], state["exp_avg_sq"]]
                if gradient.is_sparse:
                    gradient = gradient.coalesce()
                    rows, gradient = gradient.indices()[0], gradient.values()
                    parts = [whole.index_select(0, rows) for whole in wholes]
                    taken += [(whole, rows, part) for whole, part in zip(wholes, parts, strict=True)]
                moving.append((*parts, gradient, state["step"]))
            if not moving:
                continue
            values, first, second, gradients, steps = map(list, zip(*moving, strict=True))
            beta1, beta2 = group["betas"]
            adamw(
                values,
                gradients,
                first,
                second,
                [],
                steps,
                fused=True,
                amsgrad=False,
                maximize=False,
                beta1=beta1,
                beta2=beta2,
                **{name: group[name] for name in ("lr", "eps", "weight_decay")},
            )
            for whole, rows, part in taken:
                whole.index_copy_(0, rows, part)

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """The moments and the count of steps; zeros before the first."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
