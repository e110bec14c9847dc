"""A recipe with every default written out, and where each of its values comes from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuserec.errors import CheckpointError
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe, load_recipe, parse_recipe
from fuserec.training.recipes import find_recipe

__all__ = ["DEFAULT", "SET", "TRAINED", "Resolved", "as_toml", "resolve"]

SET = "set"
"""The recipe says it."""
DEFAULT = "default"
"""The recipe says nothing of it."""
TRAINED = "when trained"
"""The run has another value than the recipe beside it: from --set, --seed, --split, or the dataset's only split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A recipe as it is used.

    Attributes:
        recipe: in the form that `fuserec.training.config.parse_recipe` reads, every default written out.
        origin: `SET`, `DEFAULT` or `TRAINED` for every value, by keys such as ``"model.dim"``.
    """

    recipe: dict[str, Any]
    origin: dict[str, str]


def resolve(recipe_or_run: str | Path) -> Resolved:
    """The resolved recipe of a recipe file, a recipe that comes with fuserec, or a run folder.

    A run from a sweep, or from a recipe that was no file, has no recipe beside it; there, every value that differs
    from the default counts as set.

    Raises:
        ConfigError: there is no such recipe, or it cannot be used.
        CheckpointError: the folder is no run, or its recipe cannot be read.
    """
    path = Path(recipe_or_run)
    if not path.is_dir():
        path = find_recipe(recipe_or_run)
        return _resolved(load_recipe(path), tomllib.loads(path.read_text(encoding="utf-8")))
    run = Run.open(path)
    source = path / "recipe.toml"
    if not source.exists():
        return _resolved(run.recipe, run.recipe.to_dict(), defaults_are_set=False)
    try:
        given = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CheckpointError(f"expected a recipe in TOML in {source}, got: {error}") from error
    return _resolved(run.recipe, given)


def as_toml(resolved: Resolved) -> str:
    """The recipe in TOML, which `fuserec train` takes, with a comment behind every value that says its origin."""
    sections = {key: value for key, value in resolved.recipe.items() if key in _SECTIONS}
    top = {key: value for key, value in resolved.recipe.items() if key not in sections}
    blocks = [_lines(top, "", resolved.origin)]
    blocks += [[f"[{name}]", *_lines(table, f"{name}.", resolved.origin)] for name, table in sections.items()]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


_SECTIONS = ("model", "train", "loss_weights", "evaluation")


def _resolved(recipe: Recipe, given: Mapping[str, Any], *, defaults_are_set: bool = True) -> Resolved:
    table = recipe.to_dict()
    default = dict(_leaves(parse_recipe({"model": {"name": recipe.model_name}}).to_dict()))
    said = dict(_leaves(given))
    origin = {}
    for key, value in _leaves(table):
        is_default = key in default and default[key] == value
        if key in said and said[key] == value and (defaults_are_set or not is_default):
            origin[key] = SET
        else:
            origin[key] = DEFAULT if is_default and (key not in said or not defaults_are_set) else TRAINED
    return Resolved(recipe=table, origin=origin)


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values by key; those of a section by ``section.key``."""
    for key, value in table.items():
        if key in _SECTIONS and isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", entry) for inner, entry in value.items())
        else:
            yield key, value


def _lines(table: Mapping[str, Any], prefix: str, origin: Mapping[str, str]) -> list[str]:
    lines = [(f"{_key(key)} = {_value(value)}", origin[prefix + key]) for key, value in table.items()]
    width = max((len(line) for line, _ in lines), default=0)
    return [f"{line:<{width}}  # {comment}" for line, comment in lines]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)


def _text(text: str) -> str:
    # JSON escapes all that TOML wants escaped but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
