from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fuserec.testing.commands import RunCommand

EVENTS = "who,what,when,fold\na,1,5,train\na,2,6,valid\na,3,7,test\nb,1,1,train\nb,1,2,train\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text("id,title\n3,Cup\n1,Ball\n2,Kite\n")
    np.save(tmp_path / "image.npy", np.ones((3, 4), dtype=np.float32))
    np.savez(tmp_path / "image.npz", neighbours=np.array([[1], [2], [-1]]), weights=np.ones((3, 1)))
    return tmp_path


def arguments(files: Path) -> list[object]:
    return [
        *("--events", files / "events.csv", "--items", files / "items.csv"),
        *("--features", f"image={files / 'image.npy'}", "--graph", f"image={files / 'image.npz'}"),
        *("--columns", "user=who,item=what,time=when,split=fold"),
    ]


def test_build_makes_a_folder_and_describes_it(fuserec: RunCommand, files: Path) -> None:
    done = fuserec("data", "build", files / "shop", *arguments(files))
    assert (done.code, done.err) == (0, "")
    assert "2 users (string ids), 3 items (integer ids)" in done.out
    assert "1 event left out: a duplicate of an earlier event (events.csv:6)" in done.out
    assert (files / "shop" / "summary.md").read_text() == done.out


def test_show_says_what_build_said(fuserec: RunCommand, files: Path) -> None:
    built = fuserec("data", "build", files / "shop", *arguments(files), "--json")
    shown = fuserec("data", "show", files / "shop", "--json")
    assert shown.json == built.json
    assert shown.json["splits"]["fold"]["train"] == 2
    assert shown.json["modalities"]["image"]["features"]["width"] == 4
    assert fuserec("data", "show", files / "shop").out == (files / "shop" / "summary.md").read_text()


def test_check_writes_nothing(fuserec: RunCommand, files: Path) -> None:
    before = sorted(files.iterdir())
    done = fuserec("data", "check", *arguments(files), "--json")
    assert done.code == 0
    assert done.json["report"]["events_rejected"] == 1
    assert sorted(files.iterdir()) == before


def test_check_fails_where_build_would(fuserec: RunCommand, files: Path) -> None:
    done = fuserec("data", "check", *arguments(files), "--strict")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: --strict refuses: 1 event left out: a duplicate of an earlier event (events.csv:6)\n"
    )


def test_every_option_reaches_the_build(fuserec: RunCommand, files: Path) -> None:
    done = fuserec(
        *("data", "build", files / "shop", "--events", files / "events.csv"),
        *("--columns", "user=who,item=what,time=when", "--split", "random", "--split", "leave-one-out"),
        *("--fractions", "0.5,0.25,0.25", "--repeats", "keep", "--time-unit", "ms", "--seed", 7, "--json"),
    )
    options = done.json["options"]
    assert options["splits"] == ["random", "leave-one-out"]
    assert options["fractions"] == [0.5, 0.25, 0.25]
    assert (options["repeats"], options["time_unit"], options["seed"]) == ("keep", "ms", 7)
    assert list(done.json["splits"]) == ["random", "leave-one-out"]
    assert done.json["counts"]["interactions"] == 5


def test_data_that_a_program_made_is_labelled(fuserec: RunCommand, files: Path) -> None:
    done = fuserec("data", "build", files / "shop", *arguments(files), "--synthetic")
    assert "**Synthetic: made by a program, not by people.**" in done.out
    assert fuserec("data", "show", files / "shop", "--json").json["synthetic"]


def test_min_rating_reaches_the_build(fuserec: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,rating\na,1,5\na,2,1\n")
    done = fuserec("data", "check", "--events", tmp_path / "e.csv", "--min-rating", 3, "--json")
    assert done.json["report"]["events_kept"] == 1


def test_an_existing_folder_is_replaced_only_when_asked(fuserec: RunCommand, files: Path) -> None:
    assert fuserec("data", "build", files / "shop", *arguments(files)).code == 0
    again = fuserec("data", "build", files / "shop", *arguments(files))
    assert again.code == 1
    assert again.err == (
        f"error: expected a new folder, but {files / 'shop'} exists; choose another or pass --overwrite\n"
    )
    assert fuserec("data", "build", files / "shop", *arguments(files), "--overwrite").code == 0


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--features", "image", "expected --features NAME=FILE, got 'image'"),
        ("--graph", "=x.npz", "expected --graph NAME=FILE, got '=x.npz'"),
        ("--columns", "usr=x", "no column role 'usr'; did you mean 'user'?"),
        (
            "--split",
            "temporal",
            "no split 'temporal'; known: 'cold-items', 'column', 'global-time', 'leave-one-",
        ),
        ("--fractions", "0.8,0.2", "expected --fractions TRAIN,VALID,TEST, got '0.8,0.2'"),
        ("--repeats", "perhaps", "expected repeats to be drop or keep, got 'perhaps'"),
        ("--time-unit", "min", "no time unit 'min'"),
    ],
)
def test_a_wrong_option_is_one_line(
    fuserec: RunCommand, files: Path, option: str, value: str, told: str
) -> None:
    done = fuserec("data", "check", "--events", files / "events.csv", option, value)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {told}")
    assert done.err.count("\n") == 1


def test_a_modality_is_given_once(fuserec: RunCommand, files: Path) -> None:
    twice = ["--features", "image=a.npy", "--features", "image=b.npy"]
    done = fuserec("data", "check", "--events", files / "events.csv", *twice)
    assert done.err == "error: expected every name once, but --features image= is given twice\n"


def test_show_refuses_what_is_no_dataset(fuserec: RunCommand, tmp_path: Path) -> None:
    done = fuserec("data", "show", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: expected a dataset folder, but {tmp_path} holds no manifest.json\n"


@pytest.mark.parametrize("command", ["build", "check", "show"])
def test_help_has_an_example(fuserec: RunCommand, command: str) -> None:
    done = fuserec("data", command, "--help")
    assert done.code == 0
    assert f"\n    fuserec data {command} " in done.out


@pytest.mark.parametrize("types", ["", " , "])
def test_types_without_a_type_are_refused(fuserec: RunCommand, files: Path, types: str) -> None:
    done = fuserec("data", "check", *arguments(files), "--types", types)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"error: expected --types TYPE,..., got {types!r}; name a type, or leave --types out to keep all events\n"
    )
