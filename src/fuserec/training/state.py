"""All that training has come to at the end of an epoch, and putting it back.

Between two epochs training is three things: tensors that steps change (weights, moments of the optimiser, generators), what
has been measured so far, and what is built anew when an epoch begins. The last needs no keeping: a model builds it
from its saved state alone (`fuserec.models.protocol.Gradient.begin_epoch`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fuserec.models.protocol import Scorer

__all__ = ["Best", "EpochRecord", "Moving", "Standing", "under"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One line of the log.

    Attributes:
        epoch: counted from 1.
        losses: mean of each unweighted term, and ``total``, over the epoch's steps.
        validation: means of the validation metrics; empty where this epoch was not evaluated.
        train_seconds: wall time of the steps and of what is built once an epoch.
        evaluation_seconds: wall time of the validation and of the diagnostics.
        diagnostics: what the model tells of the stage that this epoch ended (`fuserec.models.protocol.Diagnosed`); empty
            elsewhere.
    """

    epoch: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    train_seconds: float
    evaluation_seconds: float
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best epoch so far.

    Attributes:
        epoch: counted from 1.
        value: of the monitored metric.
        scorer: of that epoch, on the CPU.
        weights: the model's whole saved state then.
    """

    epoch: int
    value: float
    scorer: Scorer
    weights: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has been measured so far, which also decides when to stop.

    Attributes:
        log: one record for each epoch that has ended.
        best: the best epoch; None before the first value above minus infinity.
        waited: evaluations since then.
    """

    log: tuple[EpochRecord, ...] = ()
    best: Best | None = None
    waited: int = 0

    @property
    def best_value(self) -> float:
        """Of the monitored metric; minus infinity where there is none yet."""
        return self.best.value if self.best else -math.inf

    @property
    def seconds_an_epoch(self) -> float:
        """Mean over the epochs of the present stage, validation included: another stage takes another time."""
        alike = [one for one in self.log if one.losses.keys() == self.log[-1].losses.keys()]
        return sum(one.train_seconds + one.evaluation_seconds for one in alike) / len(alike)

    def has_ended(self, *, epochs: int, patience: int) -> bool:
        """Whether there is nothing left to do."""
        return len(self.log) >= epochs or self.waited >= patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """What steps change.

    Attributes:
        module: the model.
        optimiser: its moments and counts are tensors.
        generators: by name.
    """

    module: torch.nn.Module
    optimiser: torch.optim.Optimizer
    generators: Mapping[str, torch.Generator]

    def capture(self) -> dict[str, Tensor]:
        """Copies of all tensors, on the CPU."""
        tensors = {f"model.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in values.items()}
        tensors |= {f"generator.{name}": one.get_state() for name, one in self.generators.items()}
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def put_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `capture` gave."""
        self.module.load_state_dict(under("model.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under("optimiser.", tensors).items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        groups: Any = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        for name, generator in self.generators.items():
            generator.set_state(tensors[f"generator.{name}"])


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
