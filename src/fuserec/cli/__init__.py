"""The command line: parse, call the library, print.

Data goes to stdout, progress and notes to stderr. What fuserec foresees is one line on stderr and exit
code 1, a wrong use is exit code 2, Ctrl-C is 130, and a bug is a traceback.

Modules of commands import typer and the standard library at their top and everything heavy inside the
command, so that ``fuserec --help`` answers at once (benchmarks/startup.py measures it).
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fuserec.cli import (
    append,
    build_native,
    compare,
    config,
    data,
    data_exchange,
    demo,
    doctor,
    evaluate,
    features,
    features_audit,
    features_impute,
    fetch,
    fold_in,
    items,
    recipes,
    recommend,
    sample,
    shuffle,
    similar,
    sweep,
    train,
)
from fuserec.errors import FuserecError

__all__ = ["app", "main"]

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""What the machine may refuse at any moment, whatever the program does."""

_TORCH_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""What torch's RuntimeError says then; it has no type of its own for the memory of the processor."""

_ORDER = (
    "demo",
    "data",
    "features",
    "recipes",
    "config",
    "train",
    "evaluate",
    "fold-in",
    "compare",
    "sweep",
    "recommend",
    "similar",
    "items",
    "doctor",
    "build-native",
)
"""As a newcomer meets them; typer alone would put the group last."""


class _OneLineErrors(TyperGroup):
    """Turns what fuserec foresees, and Ctrl-C, into one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the parameter is typer's)
        return sorted(self.commands, key=_ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FuserecError as error:
            typer.echo("error: " + " ".join(str(error).split()), err=True)
            raise typer.Exit(1) from error
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            typer.echo(f"error: {error.strerror}: {error.filename or 'while writing'}", err=True)
            raise typer.Exit(1) from error
        except (MemoryError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            if isinstance(error, RuntimeError) and not any(told in reason for told in _TORCH_OUT_OF_MEMORY):
                raise
            typer.echo(f"error: out of memory; choose smaller sizes or a larger machine ({reason})", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted: nothing half-written is left behind", err=True)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_OneLineErrors,
    name="fuserec",
    help="Recommendations from a log of events and a catalogue of items.",
    epilog="Start here:  fuserec demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.command)
data.app.command("sample")(sample.sample)
data.app.command("append")(append.command)
data.app.command("shuffle")(shuffle.command)
data.app.command("fetch")(fetch.command)
data.app.command("import-mmrec")(data_exchange.import_mmrec_command)
data.app.command("export")(data_exchange.export_command)
app.add_typer(data.app, name="data", help="Build, check, describe or invent a dataset.")
features.app.command("audit")(features_audit.command)
features.app.command("impute")(features_impute.command)
app.add_typer(features.app, name="features")
app.command("recipes")(recipes.command)
app.add_typer(config.app, name="config", help="Show what a recipe comes to.")
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("compare")(compare.command)
app.command("fold-in")(fold_in.command)
app.command("sweep")(sweep.command)
app.command("recommend")(recommend.command)
app.command("similar")(similar.command)
app.add_typer(items.app, name="items", help="Add new items to a run, without training again.")
app.command("doctor")(doctor.command)
app.command("build-native")(build_native.command)


def _keep_examples(group: typer.Typer) -> None:
    """Mark the example at the end of every docstring, so that its lines are shown as they stand."""
    for command in group.registered_commands:
        text = inspect.cleandoc((command.callback and command.callback.__doc__) or "")
        command.help = text if "\b" in text else text.replace("\nExample:\n", "\n\b\nExample:\n")
    for inner in group.registered_groups:
        if inner.typer_instance:
            _keep_examples(inner.typer_instance)


_keep_examples(app)


def _version(asked: bool | None) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"fuserec {version('fuserec')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Recommendations from a log of events and a catalogue of items."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on the arguments, by default those of the process, and exit."""
    # torch's OpenMP threads wait by spinning, which costs about 2.4 times the time on a machine whose
    # cores have other work too; sleeping at once costs a quarter of an epoch on an idle one. So they spin
    # for a moment and then sleep. Tables of large graphs are looked up all over: huge pages take a quarter of
    # that time away (decision 0004). The variables are read when torch is loaded, or asks for memory first, so
    # they are set before any command imports it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A title the terminal cannot show must not stop a run.
            stream.reconfigure(errors="replace")
    for argument in sys.argv[1:] if arguments is None else arguments:
        # What the locale cannot decode comes as surrogates, which neither polars nor a file can hold.
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            typer.echo(
                f"error: expected arguments in UTF-8, got {argument!a}; write them so, or set LC_ALL=C.UTF-8",
                err=True,
            )
            sys.exit(1)
    app(args=arguments, prog_name="fuserec")
