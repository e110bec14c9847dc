"""How a number was measured: a value that is hashed, kept with the number, and checked by every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal, get_args

from fuserec.batch import Prepared
from fuserec.errors import ConfigError, ProtocolError, nearest
from fuserec.files import hash_json
from fuserec.metrics import METRICS, Metric, average_precision_capped, ndcg_of_retrieved

__all__ = ["Divisor", "EvaluationProtocol", "History", "Ideal", "Mask", "Part", "Ties"]

Part = Literal["valid", "test"]
Mask = Literal["none", "train", "train+valid"]
History = Literal["train", "train+valid"]
Ties = Literal["expectation", "order"]
Ideal = Literal["standard", "retrieved"]
Divisor = Literal["relevant", "capped"]

CHOICES = {
    "part": get_args(Part),
    "mask": get_args(Mask),
    "candidates": ("all",),
    "history": get_args(History),
    "ties": get_args(Ties),
    "ideal": get_args(Ideal),
    "map_divisor": get_args(Divisor),
}

DEFINITION = 1
"""Raised when the code starts to measure something else under the same words; part of the hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationProtocol:
    """How a number was measured. Two numbers may be compared only if theirs are equal.

    Attributes:
        name: ``standard``, or whose habits are imitated.
        split_hash: hash of the training, validation and test pairs.
        part: which held-out pairs are the truth.
        mask: whose items are no candidates for the user who has them.
        candidates: the items that are ranked; all that are not masked.
        history: what the scorer is told of a user: the pairs it was trained on, or at test the validation pairs as well,
            after them.
        ties: ``expectation`` is the mean over all orders of equal scores, ``order`` puts the lower item row
            first.
        ideal: NDCG's divisor; ``standard`` is the best ranking there can be, ``retrieved`` sorts the list that
            was retrieved.
        retrieved: length of that list; None for the standard ideal.
        map_divisor: ``relevant`` divides by all relevant items of the user, ``capped`` by at most k.
    """

    name: str
    split_hash: str
    part: Part
    mask: Mask
    candidates: Literal["all"] = "all"
    history: History = "train"
    ties: Ties = "expectation"
    ideal: Ideal = "standard"
    retrieved: int | None = None
    map_divisor: Divisor = "relevant"

    def __post_init__(self) -> None:
        _check_choices(asdict(self))
        if (self.ideal == "retrieved") != (self.retrieved is not None):
            raise ProtocolError(
                f"expected the length of the retrieved list with the ideal 'retrieved' and only then, "
                f"got ideal {self.ideal!r} and length {self.retrieved!r}"
            )
        if self.history == "train+valid" and self.part == "valid":
            raise ProtocolError(
                "expected the history 'train' where validation pairs are the truth, got 'train+valid'"
            )

    @classmethod
    def standard(cls, prepared: Prepared, part: Part, *, history: History = "train") -> EvaluationProtocol:
        """Ours: everything the user is known to have is masked, ties by expectation, standard ideal.

        At test, validation items are masked too. Where a user may have an item again (``repeats``), nothing is.

        Args:
            prepared: the dataset under its split.
            part: whose pairs are the truth.
            history: what is told at test; at validation it is always the training pairs.
        """
        mask: Mask = "train" if part == "valid" else "train+valid"
        return cls(
            name="standard",
            split_hash=prepared.split_hash,
            part=part,
            mask="none" if prepared.repeats else mask,
            history=history if part == "test" else "train",
        )

    @classmethod
    def compatibility(cls, name: str, prepared: Prepared, part: Part) -> EvaluationProtocol:
        """As the public code of MMRec or LATTICE measures; for comparison with published tables only.

        Both leave validation items among the candidates at test and settle ties by an order of the program
        (here: the lower item row first). MMRec's MAP divides by at most k. LATTICE's NDCG takes the retrieved
        20 items, sorted, as its ideal, so it exists for cutoffs up to 20.

        Raises:
            ConfigError: ``name`` is neither.
        """
        if name not in ("mmrec", "lattice"):
            raise ConfigError(
                f"expected a compatibility mode, got {name!r}; {nearest(name, ['mmrec', 'lattice'])}"
            )
        lattice = name == "lattice"
        return cls(
            name=name,
            split_hash=prepared.split_hash,
            part=part,
            mask="train",
            ties="order",
            ideal="retrieved" if lattice else "standard",
            retrieved=20 if lattice else None,
            map_divisor="relevant" if lattice else "capped",
        )

    @property
    def masked_parts(self) -> tuple[str, ...]:
        """Names of the parts whose items are masked."""
        return () if self.mask == "none" else tuple(self.mask.split("+"))

    @property
    def hash(self) -> str:
        """Hexadecimal SHA-256 of all of the above."""
        return hash_json(self.to_dict() | {"definition": DEFINITION})

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` takes it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvaluationProtocol:
        """Take back what `to_dict` gave.

        Raises:
            ProtocolError: a key is missing or unknown, or a value is not allowed.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ProtocolError(
                f"expected a protocol with {', '.join(sorted(known))}; "
                f"missing: {sorted(known - set(values))}, unknown: {sorted(set(values) - known)}"
            )
        _check_choices(values)
        return cls(**values)

    def require(self, other: EvaluationProtocol) -> None:
        """Refuse a comparison with numbers measured otherwise.

        Raises:
            ProtocolError: names every difference.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        differences = [f"{key} {mine[key]!r} and {theirs[key]!r}" for key in mine if mine[key] != theirs[key]]
        if differences:
            raise ProtocolError(
                f"expected numbers of one protocol, got {self.hash[:12]} and {other.hash[:12]}, "
                f"which differ in {'; '.join(differences)}; evaluate both in the same way"
            )

    def metric(self, name: str) -> Metric:
        """The function that measures ``name`` under this protocol.

        Raises:
            ConfigError: no metric has that name.
        """
        if name not in METRICS:
            raise ConfigError(f"expected the name of a metric, got {name!r}; {nearest(name, METRICS)}")
        if name == "NDCG" and self.retrieved is not None:
            return partial(ndcg_of_retrieved, depth=self.retrieved)
        if name == "MAP" and self.map_divisor == "capped":
            return average_precision_capped
        return METRICS[name]


def _check_choices(values: Mapping[str, Any]) -> None:
    for field, choices in CHOICES.items():
        if values[field] not in choices:
            raise ProtocolError(
                f"expected {field} of the protocol to be one of {', '.join(map(repr, choices))}, "
                f"got {values[field]!r}"
            )
