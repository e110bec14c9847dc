"""What the loop, the evaluation and the index may ask of a model, and nothing else.

A model learns from a `Corpus`; what is left of it when learning is over is a `Scorer`: a few plain
tensors and one function. Everything downstream (evaluation, recommendation, serving, saving) knows
scorers only, so no model needs its graph, its features or its corpus to be used.

Shape legend
    B  queries   J  items of the block asked for
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from fuserec.batch import Corpus, Queries
from fuserec.shapes import Float

__all__ = ["ClosedForm", "Diagnosed", "Gradient", "Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Scores items for queries; saved as named tensors."""

    kind: ClassVar[str]
    """Name under which `fuserec.models.registry.SCORERS` finds the class again."""

    @property
    def num_items(self) -> int:
        """Size of the catalogue."""
        ...

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) scores of the items ``items.start .. items.stop - 1`` (step None). Higher is better.

        They may be a view of what the scorer keeps: whoever writes into them puts it back.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All state, by name; `from_tensors` takes it back."""
        ...

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Scorer:
        """The scorer whose `tensors` these are."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A model that is fitted in one go."""

    def fit(self, corpus: Corpus) -> Scorer:
        """Learn from the corpus."""
        ...


@runtime_checkable
class Gradient(Protocol):
    """A model trained by gradient steps; also a `torch.nn.Module`."""

    def begin_epoch(self) -> None:
        """Rebuild what is built once an epoch, such as learnt graphs. Called before the first batch."""
        ...

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Named, unweighted, scalar terms of a batch; their weights are the recipe's ``[loss_weights]``.

        The batch is of the kind (`fuserec.batch.Batch`) that the registry has for the model.
        """
        ...

    def scorer(self) -> Scorer:
        """The model as it stands now, detached from further training."""
        ...


@runtime_checkable
class Diagnosed(Protocol):
    """A model trained in stages that can tell what one of them has made."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers by name, the same whenever they are asked of the same weights.

        Asked when a stage has ended that another one goes on from.
        """
        ...
