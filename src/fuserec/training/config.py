"""Recipes: TOML in, frozen dataclasses out. An unknown key is an error, never a silent default.

name = "tmfun_baby"          # a label; not part of the recipe's hash
split = "split_mmrec"        # may be left out where the dataset has one split
seed = 0
[model]
name = "tmfun"               # the other keys are the model's own options
[train]                      # gradient models only
[loss_weights]               # gradient models only: one weight for each of the model's losses
[evaluation]
"""

from __future__ import annotations

import dataclasses
import sys
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from fuserec.added import ADDED, added_and_left_alone
from fuserec.errors import ConfigError, nearest
from fuserec.files import hash_json
from fuserec.models.registry import GRADIENT_MODELS, config_class
from fuserec.training.evaluation_protocol import History

__all__ = ["EvaluationConfig", "Recipe", "TrainConfig", "load_recipe", "parse_recipe"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Options of the training loop."""

    epochs: int = 1000
    """Most passes over the training pairs, at least 1; early stopping usually ends sooner. Of a model with stages, in the last
    one."""
    batch_size: int = 2048
    """Training pairs a step, at least 1; of models that learn from whole histories, about as many events."""
    learning_rate: float = 1e-3
    """Adam's step size, above 0."""
    patience: int = 20
    """Evaluations without a better validation value before training stops, at least 1."""
    evaluate_every: int = 1
    """Epochs between two evaluations, at least 1."""
    monitor: str = "Recall@20"
    """Validation metric that chooses the best epoch; higher is better."""
    device: str = "auto"
    """"cpu", "cuda", or "auto": cuda where there is one."""
    weight_decay: float = field(default=0.0, metadata=ADDED)
    """Share of a weight that a step of size 1 takes away (AdamW), at least 0."""
    warmup_steps: int = field(default=0, metadata=ADDED)
    """Steps over which the step size grows from 0 to ``learning_rate``, at least 0."""
    schedule: str = field(default="constant", metadata=ADDED)
    """"constant", or "cosine": after the warm-up the step size falls to 0 at the last of ``epochs``."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("epochs", "batch_size", "patience", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.schedule not in ("constant", "cosine"):
            raise ConfigError(f"schedule must be 'constant' or 'cosine', got {self.schedule!r}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device must be 'auto', 'cpu' or 'cuda', got {self.device!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What is measured."""

    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    """Ranks k at which each metric is computed, each at least 1."""
    history: History = field(default="train", metadata=ADDED)
    """What is told of a user at test: "train", or "train+valid", the validation events as well."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.history not in get_args(History):
            raise ConfigError(f"history must be 'train' or 'train+valid', got {self.history!r}")
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise ConfigError(f"cutoffs must be whole numbers of at least 1, got {list(self.cutoffs)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a run computes, but for the data.

    Attributes:
        name: a label for people.
        model_name: name in the registry.
        model: the model's config dataclass.
        split: name of the dataset's split, or None for its only one.
        seed: of all generators.
        train: the loop's options; None for a closed form.
        loss_weights: weight of each loss; empty for a closed form.
        evaluation: what is measured.
    """

    name: str
    model_name: str
    model: Any
    split: str | None = None
    seed: int = 0
    train: TrainConfig | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe in the form that `parse_recipe` reads, every default written out."""
        table: dict[str, Any] = {
            "name": self.name,
            "seed": self.seed,
            "model": {"name": self.model_name, **_plain(self.model)},
            "evaluation": _plain(self.evaluation),
        }
        if self.split is not None:
            table["split"] = self.split
        if self.train is not None:
            table["train"], table["loss_weights"] = _plain(self.train), dict(self.loss_weights)
        return table

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved recipe without its label, its seed and the device."""
        table = self.to_dict()
        del table["name"], table["seed"]
        table.get("train", {}).pop("device", None)
        sections = {"model": self.model, "evaluation": self.evaluation}
        for section, config in (sections | ({"train": self.train} if self.train else {})).items():
            for name in added_and_left_alone(config):
                del table[section][name]
        return hash_json(table)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        path: a TOML file.
        overrides: such as ``"model.dim=32"`` or ``"seed=3"``; values in TOML, bare words are strings.

    Raises:
        ConfigError: the file is missing or no TOML, or a key or value cannot be used.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"expected a recipe, but {path} does not exist") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"expected a recipe in TOML in {path}, got: {error}") from error
    for override in overrides:
        _override(table, override)
    try:
        return parse_recipe(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """A recipe from its table.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or range.
    """
    known = ("name", "split", "seed", "model", "train", "loss_weights", "evaluation")
    _check_keys(table, known, where="the recipe")
    model = dict(_table(table, "model"))
    if not isinstance(model.get("name"), str):
        raise ConfigError('expected name = "..." in [model], for example name = "tmfun"')
    model_name = model.pop("name")
    config = _build(config_class(model_name), model, where="[model]")
    gradient = model_name in GRADIENT_MODELS
    for section in ("train", "loss_weights"):
        if not gradient and section in table:
            raise ConfigError(f"[{section}] has no meaning for the closed form {model_name!r}; remove it")
    return Recipe(
        name=_typed(table.get("name", model_name), str, "name"),
        split=_typed(table.get("split"), str | None, "split"),
        seed=_typed(table.get("seed", 0), int, "seed"),
        model_name=model_name,
        model=config,
        train=_build(TrainConfig, _table(table, "train"), where="[train]") if gradient else None,
        loss_weights=_typed(_table(table, "loss_weights"), Mapping[str, float], "loss_weights"),
        evaluation=_build(EvaluationConfig, _table(table, "evaluation"), where="[evaluation]"),
    )


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"expected an override such as model.dim=32, got {override!r}")
    text = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    # What is no TOML value, or a value and further keys, is text.
    value = parsed["value"] if parsed.keys() == {"value"} else text
    *sections, last = key.strip().split(".")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"expected a table at {section!r} of the override {override!r}")
    table[last] = value


def _table(table: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    value = table.get(section, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"expected a table [{section}], got {value!r}")
    return value


def _check_keys(table: Mapping[str, Any], known: Sequence[str], *, where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} in {where}; {nearest(key, known)}")


def _build(kind: type[T], table: Mapping[str, Any], *, where: str) -> T:
    hints = typing.get_type_hints(kind)
    fields = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
    _check_keys(table, fields, where=where)
    return kind(**{key: _typed(value, hints[key], f"{key} in {where}") for key, value in table.items()})


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """``value`` as the wanted type; whole numbers serve as floats and lists as tuples, nothing else bends."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [choice for choice in arguments if choice is not type(None)]
        return _typed(value, rest[0], where)
    if origin is typing.Literal:
        return _typed(value, str, where)  # which words are allowed, the config itself says
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(entry, arguments[0], where) for entry in value)
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {str(key): _typed(entry, arguments[1], f"{key!r} of {where}") for key, entry in value.items()}
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # also refuses NaN
            raise ConfigError(f"expected a finite number for {where}, got {value}")
        return float(value)
    if origin is None and isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        if wanted is int and not -(2**63) <= value < 2**63:
            raise ConfigError(f"expected a whole number of 64 bits for {where}, got {value}")
        return value
    name = wanted.__name__ if isinstance(wanted, type) and origin is None else str(wanted)
    raise ConfigError(f"expected {name} for {where}, got {value!r}")


def _plain(config: Any) -> dict[str, Any]:
    """A config as JSON values."""
    values = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(config)}
    return {
        key: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }
