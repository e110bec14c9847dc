"""Pictures become rows as transformers makes them by hand; broken ones are told and stop nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from fuserec.content.encoder import Encoder
from fuserec.content.vision import VisionEncoder
from fuserec.content.weights import find_model
from fuserec.errors import ConfigError

transformers = pytest.importorskip("transformers", reason="transformers (fuserec[images]) is not installed")
torch = pytest.importorskip("torch")

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = {"vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, **SMALL}
SQUARE = {"height": 16, "width": 16}
ROWS = {"clip": 12, "siglip": 16, "siglip2": 16, "dinov2": 16}


def made(kind: str) -> tuple[Any, Any]:
    """A model with random weights and its picture processor."""
    seen = {"image_size": 16, "patch_size": 8, **SMALL}
    if kind == "clip":
        clip = transformers.CLIPConfig(text_config=WORDS, vision_config=seen, projection_dim=12)
        processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SQUARE)
        return transformers.CLIPModel(clip), processor
    if kind == "siglip":
        siglip = transformers.SiglipConfig(text_config=WORDS, vision_config=seen)
        return transformers.SiglipModel(siglip), transformers.SiglipImageProcessorPil(size=SQUARE)
    if kind == "siglip2":
        patches = {"num_patches": 16, "patch_size": 8, **SMALL}
        siglip2 = transformers.Siglip2Config(text_config=WORDS, vision_config=patches)
        processor = transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
        return transformers.Siglip2Model(siglip2), processor
    dinov2 = transformers.Dinov2Config(**{**seen, "intermediate_size": None})
    processor = transformers.BitImageProcessorPil(size={"shortest_edge": 16}, crop_size=SQUARE)
    return transformers.Dinov2Model(dinov2), processor


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a folder with a small model of a kind."""

    def make(kind: str) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            network, processor = made(kind)
        network.save_pretrained(tmp_path / kind)
        processor.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Noise of several sizes, three pixels high among them."""
    noise = np.random.default_rng(9)
    places = []
    for number, (width, height) in enumerate([(20, 30), (40, 16), (3, 3), (9, 3), (16, 16)]):
        places.append(tmp_path / f"{number}.png")
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(places[-1])
    return places


def encoder(place: Path) -> VisionEncoder:
    return VisionEncoder(find_model(str(place)))


@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_those_of_transformers_by_hand(
    model: Callable[[str], Path], pictures: list[Path], kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    place = model(kind)
    capfd.readouterr()
    ours = encoder(place)
    outcome = ours.encode(pictures)
    assert capfd.readouterr() == ("", "")
    processor = transformers.AutoImageProcessor.from_pretrained(place)
    network = transformers.AutoModel.from_pretrained(place)
    for row, picture in zip(outcome.rows, pictures, strict=True):
        with torch.no_grad():
            inputs = processor(images=Image.open(picture).convert("RGB"), return_tensors="pt")
            # As each page of transformers' documentation says of the whole picture.
            if kind == "dinov2":
                expected = network(**inputs).last_hidden_state[0, 0]
            else:
                expected = network.vision_model(**inputs).pooler_output[0]
            if kind == "clip":
                expected = network.visual_projection(expected)
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
    assert outcome.problems == ()
    assert ours.width == ROWS[kind]
    assert outcome.rows.dtype == np.float32
    assert np.ptp(outcome.rows, axis=0).min() > 1e-4


def test_options_tell_all_that_decides_the_numbers(model: Callable[[str], Path]) -> None:
    place = model("clip")
    ours = encoder(place)
    assert isinstance(ours, Encoder)
    assert json.loads(json.dumps(ours.options)) == {
        "kind": "image",
        "model": "clip",
        "revision": None,
        "fingerprint": find_model(str(place)).fingerprint,
        "pooling": "pooled output",
        "normalise": False,
        "version": 1,
    }


def test_what_is_no_picture_is_told_and_stops_nothing(
    model: Callable[[str], Path], pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not a picture", encoding="utf-8")
    Image.new("RGB", (600, 3)).save(tmp_path / "narrow.png")
    Image.new("CMYK", (20, 20)).save(tmp_path / "print.jpg")
    inputs = [
        pictures[0],
        tmp_path / "none.png",
        tmp_path / "text.jpg",
        tmp_path / "narrow.png",
        tmp_path / "print.jpg",
    ]
    ours = encoder(model("clip"))
    outcome = ours.encode(inputs)
    told = [(one.position, one.kind, one.lost) for one in outcome.problems]
    assert told == [
        (1, "missing", True),
        (2, "not a picture", True),
        (3, "narrow", True),
        (4, "CMYK", False),
    ]
    assert (
        outcome.problems[2].message == "the picture has 600 x 3 pixels, one side more than 50 times the other"
    )
    assert outcome.rows.any(axis=1).tolist() == [True, False, False, False, True]
    lost = ours.encode(inputs[1:3])
    assert not lost.rows.any()
    assert len(lost.problems) == 2
    assert ours.encode([]).rows.shape == (0, 12)


def test_batches_hold_each_picture_once(model: Callable[[str], Path]) -> None:
    batches = encoder(model("dinov2")).batches([Path(str(number)) for number in range(40)])
    assert [len(batch) for batch in batches] == [16, 16, 8]
    assert np.concatenate(batches).tolist() == list(range(40))


def test_a_processor_inside_that_of_the_whole_model_is_found(
    model: Callable[[str], Path], pictures: list[Path]
) -> None:
    place = model("clip")
    rows = encoder(place).encode(pictures).rows
    file = place / "preprocessor_config.json"
    nested = {
        "processor_class": "CLIPProcessor",
        "image_processor": json.loads(file.read_text(encoding="utf-8")),
    }
    (place / "processor_config.json").write_text(json.dumps(nested), encoding="utf-8")
    file.unlink()
    np.testing.assert_array_equal(encoder(place).encode(pictures).rows, rows)


def test_a_model_without_processor_is_told(model: Callable[[str], Path]) -> None:
    place = model("clip")
    (place / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"expected a picture processor .*is clip a model for texts\?"):
        encoder(place)


def test_weights_that_are_missing_are_never_drawn_at_random(
    model: Callable[[str], Path], pictures: list[Path]
) -> None:
    place = model("siglip")
    weights = load_file(place / "model.safetensors")
    gone = next(name for name in sorted(weights) if name.startswith("vision_model.head"))
    del weights[gone]
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"but 1 are missing, such as vision_model\.head"):
        encoder(place).encode(pictures)


def test_code_of_a_model_is_never_run(
    model: Callable[[str], Path], pictures: list[Path], tmp_path: Path
) -> None:
    place, trap = model("clip"), tmp_path / "ran"
    (place / "trap.py").write_text(f"open({str(trap)!r}, 'w').close()\n", encoding="utf-8")
    file = place / "preprocessor_config.json"
    settings = {"image_processor_type": "Trap", "auto_map": {"AutoImageProcessor": "trap.Trap"}}
    file.write_text(json.dumps(settings), encoding="utf-8")
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "trap", "auto_map": {"AutoConfig": "trap.Trap"}}
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"needs code of its own \(auto_map\), which fuserec never runs"):
        encoder(place).encode(pictures)
    assert not trap.exists()
