"""Raw files become a dataset folder: everything is read and checked, then everything is written, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fuserec.data.dataset import Dataset
from fuserec.data.plan import Plan, Sources, plan_build
from fuserec.data.schema import DATASET_FORMAT, BuildOptions, Manifest
from fuserec.data.write import FEATURES_AT_WORK, SUMMARY, write_dataset
from fuserec.errors import DataError
from fuserec.files import new_folder, read_json

__all__ = ["Sources", "build", "check", "make_dataset", "refuse_place"]


def build(
    out: Path, sources: Sources, options: BuildOptions | None = None, *, overwrite: bool = False
) -> Dataset:
    """Build a dataset folder from raw files.

    Args:
        out: where the folder shall stand.
        sources: the raw files.
        options: how to read them; by default duplicates are dropped and the split is found in the data.
        overwrite: replace a dataset that stands there.

    Raises:
        DataError: a file or a value in it cannot be used, or ``out`` cannot be written.
        ConfigError: an option has a value that cannot be used.
    """
    out = Path(out)
    raw = (sources.events, sources.items, *sources.features.values(), *sources.graphs.values())
    refuse_place(out, [path for path in raw if path is not None], overwrite=overwrite)
    return make_dataset(out, plan_build(sources, options), overwrite=overwrite)


def make_dataset(out: Path, plan: Plan, *, overwrite: bool = False) -> Dataset:
    """Write a plan as a dataset folder and open it.

    Raises:
        DataError: ``out`` exists and ``overwrite`` is false, or cannot be written.
    """
    with new_folder(out, overwrite=overwrite) as stage:
        write_dataset(stage, plan)
    return Dataset.open(out, verify=False)


def check(sources: Sources, options: BuildOptions | None = None) -> Manifest:
    """Inspect raw files as `build` does, and write nothing.

    Raises:
        DataError: `build` would refuse a file or a value in it.
        ConfigError: an option has a value that cannot be used.
    """
    return plan_build(sources, options).manifest


def refuse_place(out: Path, raw: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse early what `fuserec.files.new_folder` would refuse late, and never replace what is no dataset.

    Args:
        out: where a dataset shall stand.
        raw: what it is made of, which must not lie in the folder to overwrite.
        overwrite: replace a dataset that stands there.

    Raises:
        DataError: something stands there that must stay, or the place cannot be looked at.
    """
    try:
        exists = out.exists()
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from error
    raw = list(raw)
    for path in raw:
        if Path(path).resolve() in out.resolve().parents and (Path(path) / "manifest.json").exists():
            raise DataError(f"expected a new folder outside the dataset {path}, got {out}; choose another")
    if not exists:
        return
    if any(Path(path).resolve() == out.resolve() for path in raw):
        raise DataError(f"expected a new folder, but {out} is what it is to be made of; choose another")
    if not overwrite:
        raise DataError(f"expected a new folder, but {out} exists; choose another or pass --overwrite")
    for path in raw:
        if out.resolve() in (Path(path).resolve(), *Path(path).resolve().parents):
            raise DataError(f"expected raw files outside the folder to overwrite, but {path} lies in it")
    if out.is_dir() and any(out.iterdir()):
        _refuse_strangers(out)


def _refuse_strangers(folder: Path) -> None:
    """Raise unless the folder is a dataset and holds nothing else, such as a run: all of it would go."""
    try:
        manifest = read_json(folder / "manifest.json")
    except DataError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != DATASET_FORMAT:
        raise DataError(f"expected a dataset to overwrite, but {folder} is none; choose another place")
    files = manifest.get("files")
    own = {"manifest.json", SUMMARY, *(files if isinstance(files, dict) else ())}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in own and not name.startswith(FEATURES_AT_WORK):
            raise DataError(
                f"expected nothing but a dataset to overwrite, but it holds {path}; move that first"
            )
