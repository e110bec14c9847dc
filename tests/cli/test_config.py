from __future__ import annotations

from pathlib import Path

from fuserec.testing.commands import RunCommand


def test_the_shown_recipe_says_of_every_value_whether_it_is_set_or_the_default(fuserec: RunCommand) -> None:
    outcome = fuserec("config", "show", "demo/lightgcn")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["dim", "=", "64", "#", "set"] in lines
    assert ["device", "=", '"auto"', "#", "default"] in lines


def test_what_is_shown_can_be_trained(fuserec: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text(fuserec("config", "show", "demo/ease").out)
    shown = fuserec("config", "show", tmp_path / "all.toml", "--json").json
    assert shown["recipe"] == fuserec("config", "show", "demo/ease", "--json").json["recipe"]
    assert set(shown["origin"].values()) == {"set"}
    assert shown["origin"].keys() == {
        "name",
        "seed",
        "model.name",
        "model.regularisation",
        "model.max_items",
        "evaluation.cutoffs",
        "evaluation.history",
    }
