"""``fuserec doctor``: is everything here that fuserec needs?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from fuserec.cli.options import Json
from fuserec.compiled import compiler_version, find_compiler
from fuserec.errors import CompileError, ConfigError, MissingExtraError

__all__ = ["Finding", "command", "findings"]

NEEDED = ("torch", "numpy", "polars", "pydantic", "typer", "rich", "safetensors", "pillow")
MODULES = {"pillow": "PIL"}
EXTRAS = {"matplotlib": "plots", "transformers": "text"}
FREE_GIB = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        found: what was found.
        ok: it is as it should be.
        needed: fuserec does not work without it.
        advice: what to do when it is not ok.
    """

    name: str
    found: str
    ok: bool = True
    needed: bool = True
    advice: str = ""


def command(
    json: Json = False,
) -> None:
    """Check that this machine has what fuserec needs.

    Python, libraries, processor, threads, compiler, disk, and which form of attention would be chosen here. Exits with
    1 if something that fuserec needs is missing or broken.

    Example:
      fuserec doctor
    """
    from fuserec.cli import terminal

    found = findings()
    if json:
        terminal.print_json([asdict(finding) for finding in found])
    else:
        marks = {True: "ok", False: "-"}
        terminal.print_table(
            ["", "what", "found", "what to do"],
            [
                [
                    marks[item.ok] if item.ok or not item.needed else "BROKEN",
                    item.name,
                    item.found,
                    item.advice,
                ]
                for item in found
            ],
        )
    if any(item.needed and not item.ok for item in found):
        raise typer.Exit(1)


def findings() -> list[Finding]:
    """Everything that the command looks at, in the order in which it is shown."""
    return [
        Finding(name="fuserec", found=f"{_version('fuserec')} in {Path(__file__).parents[1]}"),
        Finding(
            name="python",
            found=f"{platform.python_version()} {sys.platform} {platform.machine()}",
            ok=sys.version_info >= (3, 11),
            advice="" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
        ),
        *(_library(name) for name in NEEDED),
        *_torch(),
        *(_extra(name, extra) for name, extra in EXTRAS.items()),
        _text_encoder(),
        _compiler(),
        *_attention(),
        _disk(Path.cwd()),
        _disk(Path(tempfile.gettempdir())),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _library(name: str) -> Finding:
    # The package may be there and still not load, for example a wheel for another processor.
    try:
        import_module(MODULES.get(name, name))
    except (ImportError, OSError) as error:
        advice = f"pip install {name}"
        return Finding(name=name, found=f"does not load: {error}", ok=False, advice=advice)
    return Finding(name=name, found=_version(name))


def _extra(name: str, extra: str) -> Finding:
    found = _version(name)
    advice = "" if found else f"only if you want it: pip install 'fuserec[{extra}]'"
    return Finding(name=name, found=found or "not installed", ok=bool(found), needed=False, advice=advice)


def _text_encoder() -> Finding:
    """The weights of the one that encodes titles and texts unless another is named."""
    from fuserec.content.weights import find_model
    from fuserec.features.encoders import DEFAULT_TEXT

    try:
        return Finding(name="text encoder", found=find_model(DEFAULT_TEXT).name, needed=False)
    except MissingExtraError as error:
        return Finding(name="text encoder", found="not installed", ok=False, needed=False, advice=str(error))


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return []
    waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
    product = float((torch.eye(64) @ torch.ones(64, 1)).sum())
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return [
        Finding(
            name="processor",
            found=f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, computes"
            + (" right" if product == 64.0 else f" wrong: {product} in place of 64"),
            ok=product == 64.0,
            advice="" if product == 64.0 else "reinstall torch",
        ),
        Finding(name="threads", found=f"{torch.get_num_threads()}, OMP_WAIT_POLICY {waiting}"),
        Finding(name="accelerator", found=device, needed=False),
    ]


def _compiler() -> Finding:
    try:
        return Finding(name="compiler", found=compiler_version(find_compiler()), needed=False)
    except CompileError as error:
        return Finding(name="compiler", found="none", ok=False, needed=False, advice=str(error))


def _attention() -> list[Finding]:
    """The form that "auto" stands for here."""
    try:
        import torch

        from fuserec.ops.attention.dispatch import implementation_for
        from fuserec.ops.attention.native import operator as native
    except (ImportError, OSError):
        return []
    form = implementation_for("cpu", torch.float32, built=native.built())
    found, advice = f"{form}, because native is not compiled", "for speed: fuserec build-native"
    if form == "native":
        try:
            found, advice = f"native, {native.best_instruction_set()}", ""
        except ConfigError as error:
            found, advice = "native, which does not load", str(error)
    return [Finding(name="attention", found=found, ok=not advice, needed=False, advice=advice)]


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    name = f"disk at {folder}"
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"fuserec")
            file.flush()
    except OSError as error:
        advice = "work in a folder that you can write to"
        return Finding(name=name, found=f"cannot be written: {error.strerror}", ok=False, advice=advice)
    enough = free >= FREE_GIB
    return Finding(
        name=name,
        found=f"{free:.1f} GiB free",
        ok=enough,
        needed=False,
        advice="" if enough else f"a dataset and its runs may need {FREE_GIB:.0f} GiB",
    )
