"""Load models with transformers: from files here alone, quietly, never with code of their own, never half.

transformers is imported when something is loaded, and what it says on the way is kept from the user's screen; what
matters of it is raised.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fuserec.content.weights import ModelFiles, read_settings
from fuserec.errors import ConfigError, MissingExtraError

__all__ = ["load_model", "load_part", "quiet", "read_config", "transformers_for"]


def transformers_for(extra: str) -> Any:
    """The package transformers.

    Args:
        extra: of fuserec, which brings it.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(
            f"expected transformers, which is not installed: pip install 'fuserec[{extra}]'"
        )
    return importlib.import_module("transformers")


def load_part(loader: Any, files: ModelFiles, what: str, **options: Any) -> Any:
    """What ``from_pretrained`` of one of transformers' Auto classes makes of a folder.

    Args:
        loader: the class.
        files: the model.
        what: is loaded, for the message.
        options: handed on.

    Raises:
        ConfigError: the folder has no such part, it is damaged, or it needs code of its own.
    """
    try:
        with quiet():
            return loader.from_pretrained(
                str(files.path), local_files_only=True, trust_remote_code=False, **options
            )
    # transformers raises whatever its parsers raise, and the folder is the only thing that can be wrong here.
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ConfigError(
                f"the {what} of {files.name} needs code of its own (auto_map), which fuserec never runs; "
                "choose another model"
            ) from error
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(f"cannot load the {what} of {files.name} from {files.path}: {told}") from error


def load_model(files: ModelFiles, *, extra: str, device: str, unused: tuple[str, ...] = ()) -> Any:
    """The model of a folder in float32, ready to be asked.

    Args:
        files: the model.
        extra: of fuserec, which brings transformers.
        device: where it shall compute.
        unused: beginnings of the names of weights that may be missing, since nothing asks for what they make.

    Raises:
        ConfigError: the folder is damaged, weights are missing, it needs code of its own, or there is no such device.
        MissingExtraError: transformers is not installed.
    """
    import torch

    place = _device_of(device)
    model, info = load_part(
        transformers_for(extra).AutoModel,
        files,
        "model",
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # What is missing would be drawn at random, and every result with it.
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(unused))
    if missing:
        raise ConfigError(
            f"expected all weights of {files.name} in {files.path}, but {len(missing)} are missing, such as "
            f"{missing[0]}; choose a model whose weights are whole"
        )
    return model.eval().requires_grad_(False).to(place)  # noqa: FBT003


def _device_of(name: str) -> Any:
    """The device of a name such as ``cpu`` or ``cuda``.

    Raises:
        ConfigError: there is none of that name on this machine.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"expected a device such as cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"expected a machine with CUDA for the device {name!r}, but torch finds none; use cpu"
        )
    return device


def read_config(files: ModelFiles) -> dict[str, Any]:
    """The config.json of a model.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    config: dict[str, Any] = read_settings(files.path / "config.json", default={})
    if not config:
        raise ConfigError(
            f"expected the settings of {files.name} in {files.path / 'config.json'}, found none"
        )
    return config


@contextmanager
def quiet() -> Iterator[None]:
    """The package transformers neither logs, warns nor shows progress meanwhile; its settings are put back."""
    logging = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
