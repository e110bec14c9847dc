"""The rows of a text are those of sentence-transformers, whose settings beside a model are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuserec.content.text import TextEncoder
from fuserec.content.weights import find_model

TEXTS = [
    "a",
    "The Singing Lighthouse (1987)",
    "Two sisters open a bakery on the moon; nobody buys the bread.",
    "Die Königin der Nadeln — übermorgen im Kino",
    "日本の静かな川",
    "тихая река",
    "\U0001f600 \U0001f680\U0001f680 caf\u00e9 e\u0301",
    "  spaces   and\ttabs\nand lines  ",
    "a river that never ends, and a detective who counts its stones; " * 40,
    "x" * 3000,
]


@pytest.fixture(scope="module")
def reference() -> Any:
    return pytest.importorskip(
        "sentence_transformers",
        reason="sentence-transformers, which our pooling is compared with, is not installed",
    )


def model(place: Path, *, pooling: str, normalise: bool, longest: int, prompt: str | None) -> Path:
    """The built-in model with other settings beside it."""
    shutil.copytree(find_model("all-MiniLM-L6-v2").path, place)
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    settings: dict[str, Any] = {f"pooling_mode_{name}": mode == pooling for mode, name in modes.items()}
    (place / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 384, **settings}), encoding="utf-8"
    )
    modules = json.loads((place / "modules.json").read_text(encoding="utf-8"))
    (place / "modules.json").write_text(json.dumps(modules[: 2 + normalise]), encoding="utf-8")
    (place / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": longest, "do_lower_case": False}), encoding="utf-8"
    )
    if prompt:
        (place / "config_sentence_transformers.json").write_text(
            json.dumps({"prompts": {"plain": prompt}, "default_prompt_name": "plain"}), encoding="utf-8"
        )
    return place


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of sentence-transformers, about itself
@pytest.mark.parametrize(
    ("pooling", "normalise", "longest", "prompt"),
    [
        ("mean", True, 256, None),
        ("cls", True, 128, None),
        ("max", False, 64, None),
        ("mean", False, 256, "a film: "),
    ],
)
def test_rows_equal_those_of_sentence_transformers(
    reference: Any, tmp_path: Path, pooling: str, normalise: bool, longest: int, prompt: str | None
) -> None:
    place = model(tmp_path / "model", pooling=pooling, normalise=normalise, longest=longest, prompt=prompt)
    expected = reference.SentenceTransformer(str(place), device="cpu").encode(TEXTS, batch_size=4)
    encoder = TextEncoder(find_model(str(place)))
    rows = np.zeros((len(TEXTS), encoder.width), dtype=np.float32)
    for batch in encoder.batches(TEXTS):
        rows[batch] = encoder.encode([TEXTS[position] for position in batch]).rows
    np.testing.assert_allclose(rows, expected, atol=1e-5, rtol=0)
