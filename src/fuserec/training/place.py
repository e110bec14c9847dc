"""Where a run folder is made: beside its place, by one process at a time, and whole or not at all.

While ``runs/a`` is trained there stand beside it::

    runs/.a.lock                         held by the process that trains
    runs/.a.partial/state.safetensors    where training stands
    runs/.a.partial/run/                 the run folder while it is written, when training has ended
    runs/.a.partial/old/                 what --overwrite replaces, for the moment between two renamings

All of it is gone when ``runs/a`` stands. After a kill at any moment the next process finds either nothing to
take up or a whole state, and what was to be replaced where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fuserec.errors import DataError
from fuserec.training.checkpoint import ADDED, RUN_FILES, is_added_file
from fuserec.training.lock import exclusive

__all__ = ["Place", "run_place", "state_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a run folder, held.

    Attributes:
        out: where the run folder shall stand.
    """

    out: Path

    @property
    def partial(self) -> Path:
        """The folder of all that is unfinished."""
        return self.out.parent / f".{self.out.name}.partial"

    @property
    def state(self) -> Path:
        """The file for the state of training."""
        return self.partial / "state.safetensors"

    @property
    def stage(self) -> Path:
        """Where the run folder is written."""
        return self.partial / "run"

    @property
    def old(self) -> Path:
        """Where a run folder that is being replaced waits."""
        return self.partial / "old"

    def tidy(self) -> None:
        """Undo what a killed process had begun, and keep its state."""
        self.partial.mkdir(exist_ok=True)
        if self.old.exists() and not self.out.exists():
            os.replace(self.old, self.out)
        for rest in self.partial.iterdir():
            if rest.is_dir() and not rest.is_symlink():
                shutil.rmtree(rest)
            elif rest != self.state:
                rest.unlink()
        self.stage.mkdir()

    def publish(self, *, overwrite: bool) -> None:
        """The stage becomes the run folder, and nothing unfinished is left.

        Raises:
            DataError: something stands there in the meantime, or the disk refuses.
        """
        try:
            if overwrite and self.out.exists():
                os.replace(self.out, self.old)
            try:
                # Fails where another program has made the folder in the meantime.
                os.replace(self.stage, self.out)
            except BaseException:
                if self.old.exists():
                    os.replace(self.old, self.out)
                raise
        except OSError as error:
            raise DataError(f"could not write {self.out}: {error.strerror or error}") from error
        self.discard()

    def discard(self) -> None:
        """Remove all that is unfinished, the state first, so that it is never found without the rest."""
        self.state.unlink(missing_ok=True)
        shutil.rmtree(self.partial, ignore_errors=True)


@contextmanager
def run_place(out: Path, *, overwrite: bool) -> Iterator[Place]:
    """Hold the place of a run folder; of what is unfinished only a state outlives the block.

    Args:
        out: where the run folder shall stand.
        overwrite: a run folder may stand there.

    Raises:
        DataError: something stands there that may not be replaced, or nothing can be written.
        ConfigError: another process trains into the same folder.
    """
    place = Place(Path(out))
    _require_free(place.out, overwrite=overwrite)
    lock = place.out.parent / f".{place.out.name}.lock"
    try:
        place.out.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise DataError(f"cannot write in {place.out.parent}: {error.strerror or error}") from error
    with exclusive(lock, task=f"train into {place.out}"):
        try:
            place.tidy()
            _require_free(place.out, overwrite=overwrite)
            yield place
        except OSError as error:
            raise DataError(f"could not write {place.out}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(place.stage, ignore_errors=True)
            lost = place.old.exists() and not place.out.exists()
            if not place.state.exists() and not lost:
                place.discard()


def state_of(out: Path) -> Path:
    """The file that holds the state where the training of a run folder was interrupted."""
    return Place(Path(out)).state


def _require_free(out: Path, *, overwrite: bool) -> None:
    """Refuse early what could not be replaced later, and never replace what is not ours."""
    if not out.exists():
        return
    if not overwrite:
        raise DataError(f"expected a new folder, but {out} exists; choose another or pass --overwrite")
    if not out.is_dir():
        raise DataError(f"expected a folder to overwrite, but {out} is a file; choose another place")
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    if files and not (out / "provenance.json").is_file():
        raise DataError(
            f"expected provenance.json in the folder to overwrite, but {out} has none; choose another place"
        )
    for file in files:
        if not _is_ours(file):
            raise DataError(
                f"expected only files of a run in the folder to overwrite, but {out} holds {file}; move it away"
            )


def _is_ours(file: Path) -> bool:
    """Whether a file of a run folder was made by fuserec, maybe by a process that was killed while it wrote."""
    name = file.name.rpartition(".")[0].removeprefix(".") if file.name.startswith(".") else file.name
    if file.parent == Path("values"):
        return name.endswith(".npz")
    if file.parent == Path(ADDED):
        return is_added_file(name)
    return file.parent == Path() and name in RUN_FILES
