from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.errors import ConfigError
from fuserec.training import recipes


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder as a wheel leaves it, with two recipes."""
    package = tmp_path / "site-packages" / "fuserec"
    (package / "recipes" / "baby").mkdir(parents=True)
    (package / "recipes" / "tmfun.toml").write_text("")
    (package / "recipes" / "baby" / "ease.toml").write_text("")
    monkeypatch.setattr(recipes, "__file__", str(package / "training" / "recipes.py"))
    return package


def test_names_are_paths_without_the_ending(installed: Path) -> None:
    assert recipes.packaged_recipes() == {
        "baby/ease": installed / "recipes" / "baby" / "ease.toml",
        "tmfun": installed / "recipes" / "tmfun.toml",
    }


def test_a_checkout_keeps_them_beside_src(installed: Path) -> None:
    source = installed.parents[1] / "src" / "fuserec"
    source.mkdir(parents=True)
    (installed / "recipes").rename(installed.parents[1] / "recipes")
    (installed / "training").mkdir()
    recipes.__file__ = str(source / "training" / "recipes.py")
    assert sorted(recipes.packaged_recipes()) == ["baby/ease", "tmfun"]


def test_a_file_goes_before_a_name(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipes.find_recipe("tmfun") == installed / "recipes" / "tmfun.toml"
    Path("tmfun").write_text("")
    assert recipes.find_recipe("tmfun") == Path("tmfun")


def test_a_mistyped_name_gets_the_nearest(installed: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a recipe file or name, got 'tmfum'; did you mean 'tmfun'"
    ):
        recipes.find_recipe("tmfum")
