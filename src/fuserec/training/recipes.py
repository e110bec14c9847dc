"""Recipes that come with fuserec, found by name."""

from __future__ import annotations

from pathlib import Path

from fuserec.errors import ConfigError, nearest

__all__ = ["find_recipe", "packaged_recipes"]


def packaged_recipes() -> dict[str, Path]:
    """Path of every recipe that comes with fuserec, by name, for example ``baby/lightgcn``.

    In the wheel they are in ``fuserec/recipes``, in a checkout in ``recipes``.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            paths = sorted(folder.rglob("*.toml"))
            return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    return {}


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe given as a path or as the name of one that comes with fuserec.

    Raises:
        ConfigError: there is neither such a file nor such a name.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_recipes()
    if str(name) in known:
        return known[str(name)]
    raise ConfigError(f"expected a recipe file or name, got {str(name)!r}; {nearest(str(name), known)}")
