from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "fuserec").rglob("*.py"))
WITHOUT_NAMES = {"__main__.py"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_definitions(tree: ast.Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_all_names_exactly_what_a_module_offers(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name in WITHOUT_NAMES or not any(not isinstance(node, ast.Expr) for node in tree.body):
        return
    module = importlib.import_module(module_name(path))

    assert hasattr(module, "__all__"), f"{module_name(path)} has no __all__"
    exported = list(module.__all__)
    assert exported == sorted(set(exported), key=exported.index), "a name is exported twice"
    assert [name for name in exported if not hasattr(module, name)] == []
    assert public_definitions(tree) - set(exported) == set()
