from __future__ import annotations

import subprocess
import sys

import pytest

import fuserec

HEAVY = {"torch", "numpy", "polars", "pydantic", "PIL", "safetensors"}


def modules_after(statement: str) -> set[str]:
    """Top-level modules of a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_fuserec_loads_nothing_heavy() -> None:
    assert not modules_after("import fuserec") & HEAVY


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    assert not modules_after("import fuserec.cli") & (HEAVY | {"rich"})


def test_public_names_are_exactly_these_and_all_of_them_load() -> None:
    assert set(fuserec.__all__) == {"Dataset", "FuserecError", "Recommender", "__version__", "fit", "load"}
    assert dir(fuserec) == sorted(fuserec.__all__)
    for name in fuserec.__all__:
        assert getattr(fuserec, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fuserec' has no attribute 'Datset'"):
        fuserec.Datset  # noqa: B018
