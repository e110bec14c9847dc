"""Where a run came from: enough to make it again and to see why it might differ."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuserec.batch import Prepared

__all__ = ["commit", "machine", "provenance"]


def commit() -> str:
    """The checkout's commit, with "+changes" where tracked files differ; "unknown" outside a checkout."""
    try:
        # Fails where this file only lies inside somebody else's checkout, for example in its .venv.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Versions, threads and processor: what decides the last bits of a result."""
    return {
        "python": platform.python_version(),
        "fuserec": _version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _version() -> str:
    """Of fuserec; a bare machine may have its files only."""
    try:
        return metadata.version("fuserec")
    except metadata.PackageNotFoundError:
        return "not installed"


def provenance(prepared: Prepared, *, seed: int, dataset: str | None) -> dict[str, Any]:
    """The content of provenance.json.

    Args:
        prepared: what was trained on.
        seed: of all generators.
        dataset: the dataset's folder, where there is one.
    """
    return {
        "commit": commit(),
        "machine": machine(),
        "seed": seed,
        "dataset": dataset,
        "dataset_hash": prepared.dataset_hash,
        "split": prepared.split,
        "split_hash": prepared.split_hash,
    }
