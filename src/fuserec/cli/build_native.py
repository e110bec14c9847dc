"""``fuserec build-native``: the native form of attention, compiled once for this machine."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from fuserec.cli.options import Json

__all__ = ["command"]


def command(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove all that was compiled, for this machine and others.")
    ] = False,
    if_possible: Annotated[
        bool, typer.Option("--if-possible", help="Exit with 0 where it cannot be compiled too.")
    ] = False,
    json: Json = False,
) -> None:
    """Compile the native form of attention for this machine, once.

    It takes a C++ compiler: the one that CXX names, or else g++, c++ or clang++. Everything works without it, slower. The
    cache is the folder that FUSEREC_CACHE names, or else fuserec in XDG_CACHE_HOME or ~/.cache.

    Example:
      fuserec build-native
    """
    from fuserec import compiled
    from fuserec.cli.terminal import note, print_json
    from fuserec.errors import CompileError
    from fuserec.ops.attention.native.library import LIBRARY

    if clean:
        removed = [str(path) for path in compiled.clean(LIBRARY)]
        if json:
            print_json({"library": LIBRARY.name, "removed": removed})
        else:
            typer.echo(f"{LIBRARY.name}: {len(removed)} removed from {compiled.cache_folder()}")
        return
    compilers: list[str] = []

    def tell(compiler: str) -> None:
        compilers.append(compiler)
        if not json:
            note(f"compiling {LIBRARY.name} by {compiler}")

    began = time.perf_counter()
    try:
        path = compiled.build(LIBRARY, tell=tell)
    except CompileError as error:
        if not if_possible:
            raise
        note(f"{LIBRARY.name} is not compiled: {error}")
        path, compilers = None, []
    seconds = round(time.perf_counter() - began, 1) if compilers else 0.0
    if json:
        compiler = compilers[0] if compilers else None
        print_json({"library": LIBRARY.name, "path": path, "compiler": compiler, "seconds": seconds})
    elif path is not None:
        how = f"compiled in {seconds} s" if compilers else "compiled before"
        typer.echo(f"{LIBRARY.name}: {how}, {path}")
