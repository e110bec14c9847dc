"""What must not stand in the source, found by reading it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "torch.load": "reads pickle",
    "torch.save": "writes pickle",
    "yaml.load": "builds any object",
    "os.system": "goes through a shell",
}
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.>])/(root|work|opt|home/[a-z]+)/")


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What code does that could run someone else's code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in PICKLES)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in FORBIDDEN_CALLS:
                yield f"calls {called}, which {FORBIDDEN_CALLS[called]}"
            if called in {"np.load", "numpy.load"} and arguments.get("allow_pickle") != "False":
                yield f"calls {called} without allow_pickle=False"
            if arguments.get("allow_pickle", "False") != "False":
                yield "allows pickle"
            if arguments.get("shell", "False") != "False":
                yield "goes through a shell"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_nothing_in_the_library_can_run_what_a_file_says(path: Path) -> None:
    assert list(unsafe(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.savez(path, allow_pickle=flag)",
        "subprocess.run(command, shell=True)",
    ],
)
def test_the_search_for_unsafe_code_finds_it(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_the_search_for_unsafe_code_passes_what_is_safe() -> None:
    safe = "model.eval()\nnp.load(path, allow_pickle=False)\nsubprocess.run(command, shell=False)"
    assert list(unsafe(ast.parse(safe))) == []


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of tracked files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if b"\0" not in (content := path.read_bytes())
        for match in MACHINE_PATH.finditer(content.decode("utf-8"))
    ]
    assert found == []


def test_no_tracked_file_is_heavy() -> None:
    assert [path.name for path in tracked_files() if path.stat().st_size > 1 << 20] == []
