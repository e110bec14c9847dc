"""Pictures become rows through a vision model of transformers: CLIP, SigLIP, SigLIP 2, DINOv2 and their like.

Shape legend
    B  pictures of a batch   W  width of a row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.content.encoder import Encoded, Problem
from fuserec.content.loading import load_model, load_part, read_config, transformers_for
from fuserec.content.pictures.read import read_each
from fuserec.content.weights import ModelFiles
from fuserec.errors import ConfigError
from fuserec.shapes import Float

__all__ = ["VisionEncoder"]

_VERSION = 1
"""Raised when the same model and options give other numbers than before."""

_BATCH = 16

_MOST_ELONGATED = 50
"""Models scale the shorter side to some hundred pixels, and with it the longer one, which then fills the memory."""

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


class VisionEncoder:
    """Encodes pictures with a vision model whose files are on this machine.

    Of a model for pictures and texts (CLIP, SigLIP) the pictures' half is taken, with its projection into the space
    that both share. Of others it is what they make of the whole picture: the pooled output. Rows stay as long as the
    model makes them.

    Args:
        files: the model, with its picture processor.
        device: where to compute, such as ``cpu`` or ``cuda``.

    Raises:
        ConfigError: the folder has no settings or no picture processor.
    """

    def __init__(self, files: ModelFiles, *, device: str = "cpu") -> None:
        self._files = files
        self._device = device
        read_config(files)
        if not any((files.path / name).is_file() for name in _PROCESSORS):
            raise ConfigError(
                f"expected a picture processor ({' or '.join(_PROCESSORS)}) in {files.path}, found none; "
                f"is {files.name} a model for texts?"
            )

    @property
    def name(self) -> str:
        """Of the model."""
        return self._files.name

    @property
    def options(self) -> Mapping[str, Any]:
        """All that decides the numbers. The device does not: it moves the last bits."""
        return {
            "kind": "image",
            "model": self._files.name,
            "revision": self._files.revision,
            "fingerprint": self._files.fingerprint,
            "pooling": "pooled output",
            "normalise": False,
            "version": _VERSION,
        }

    @cached_property
    def width(self) -> int:
        """W.

        Raises:
            ConfigError: transformers does not know the model, or it needs code of its own.
            MissingExtraError: transformers is not installed.
        """
        # Not from the JSON, which leaves out what is as always, the width of some models among it.
        config = load_part(transformers_for("images").AutoConfig, self._files, "settings")
        towers = hasattr(config, "vision_config")
        width = getattr(config, "projection_dim", None) if towers else None
        if width is None:
            width = getattr(config.vision_config if towers else config, "hidden_size", None)
        if isinstance(width, int):
            return width
        raise ConfigError(f"expected a model for pictures, but the settings of {self.name} tell no width")

    def batches(self, inputs: Sequence[Path]) -> list[NDArray[np.int64]]:
        """So many pictures at a time, in their order."""
        positions = np.arange(len(inputs), dtype=np.int64)
        return [positions[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]

    def encode(self, inputs: Sequence[Path]) -> Encoded:
        """Encode a batch of pictures.

        Raises:
            ConfigError: the model cannot be loaded.
            MissingExtraError: transformers is not installed.
        """
        rows = np.zeros((len(inputs), self.width), dtype=np.float32)
        processor = self._processor
        ready, problems = read_each(inputs, lambda picture: _prepare(processor, picture))
        told = list(problems)
        good = []
        for position, made in enumerate(ready):
            if isinstance(made, str):
                told.append(Problem(position=position, kind="narrow", message=made, lost=True))
            elif made is not None:
                good.append(position)
        if good:
            rows[good] = self._rows([ready[position] for position in good])
        wrong = ~np.isfinite(rows).all(axis=1)
        rows[wrong] = 0
        for position in np.flatnonzero(wrong).tolist():
            message = "the model gave numbers that are not finite"
            told.append(Problem(position=position, kind="not finite", message=message, lost=True))
        return Encoded(rows=rows, problems=tuple(sorted(told, key=lambda problem: problem.position)))

    def _rows(self, ready: Sequence[Any]) -> Float[NDArray[np.float32], "B W"]:
        import torch

        model = self._model
        batch = {name: torch.cat([one[name] for one in ready]).to(model.device) for name in ready[0]}
        with torch.inference_mode():
            ask = getattr(model, "get_image_features", model)
            made = ask(**batch)
            pooled = getattr(made, "pooler_output", None)
            if pooled is None or tuple(pooled.shape) != (len(ready), self.width):
                raise ConfigError(
                    f"expected a model that gives one vector of {self.width} numbers a picture, {self.name} does not; "
                    "choose CLIP, SigLIP, SigLIP 2, DINOv2 or one like them"
                )
            return np.array(pooled.cpu().numpy(), dtype=np.float32)

    @cached_property
    def _processor(self) -> Any:
        # Pillow even where torchvision is installed, whose pictures differ a little.
        return load_part(
            transformers_for("images").AutoImageProcessor, self._files, "picture processor", backend="pil"
        )

    @cached_property
    def _model(self) -> Any:
        return load_model(self._files, extra="images", device=self._device)


def _prepare(processor: Any, picture: Any) -> dict[str, Any] | str:
    """What the model is given of a picture, or why it gets none."""
    width, height = picture.size
    if max(width, height) > _MOST_ELONGATED * min(width, height):
        return f"the picture has {width:,} x {height:,} pixels, one side more than {_MOST_ELONGATED} times the other"
    return dict(processor(images=picture, return_tensors="pt"))
