"""A killed run goes on where it was, to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fuserec.content.encoder import Encoded, Problem
from fuserec.features import work
from fuserec.features.work import encode_all
from fuserec.training.progress import Silent


@dataclass
class Lengths:
    """Rows of a text's length and of its batch's size; longer texts come first."""

    size: int = 2
    stops_at: int | None = None
    seen: list[Sequence[str]] = field(default_factory=list)
    name: str = "lengths"
    width: int = 2

    @property
    def options(self) -> Mapping[str, Any]:
        return {"kind": "lengths", "size": self.size}

    def batches(self, inputs: Sequence[Any]) -> list[NDArray[np.int64]]:
        order = np.argsort([-len(text) for text in inputs], kind="stable")
        return [order[start : start + self.size] for start in range(0, len(inputs), self.size)]

    def encode(self, inputs: Sequence[Any]) -> Encoded:
        if self.stops_at is not None and len(self.seen) == self.stops_at:
            raise KeyboardInterrupt
        self.seen.append(inputs)
        rows = np.array([[len(text), len(inputs)] for text in inputs], dtype=np.float32)
        problems = [
            Problem(position=place, kind="odd", message=f"{text} is odd", lost=len(text) == 1)
            for place, text in enumerate(inputs)
            if len(text) % 2
        ]
        return Encoded(rows=rows, problems=tuple(problems))


TEXTS = ["a", "bb", "ccc", "dddd", "eeeee"]


def run(encoder: Lengths, place: Path, texts: Sequence[str] = TEXTS) -> Encoded:
    return encode_all(encoder, texts, list(texts), place, progress=Silent())


def test_every_input_has_its_row_and_its_problems(tmp_path: Path) -> None:
    encoded = run(Lengths(), tmp_path)
    assert encoded.rows.tolist() == [[1, 1], [2, 2], [3, 2], [4, 2], [5, 2]]
    assert [(one.position, one.message, one.lost) for one in encoded.problems] == [
        (0, "a is odd", True),
        (2, "ccc is odd", False),
        (4, "eeeee is odd", False),
    ]


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_an_interrupted_run_goes_on_with_the_batches_that_are_left(tmp_path: Path, finished: int) -> None:
    whole = run(Lengths(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Lengths(stops_at=finished), tmp_path / "work")
    again = Lengths()
    encoded = run(again, tmp_path / "work")
    assert encoded.rows.tobytes() == whole.rows.tobytes()
    assert encoded.problems == whole.problems
    assert len(again.seen) == 3 - finished


def test_what_was_saved_as_it_went_counts_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_SAVE_EVERY", 0.0)
    run(Lengths(), tmp_path)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 3
    (folder / "00000002.npz").unlink()
    again = Lengths()
    run(again, tmp_path)
    assert again.seen == [["a"]]


def test_other_inputs_or_another_encoder_begin_anew(tmp_path: Path) -> None:
    run(Lengths(), tmp_path)
    other = Lengths()
    run(other, tmp_path, TEXTS[:4])
    assert len(other.seen) == 2
    smaller = Lengths(size=1)
    run(smaller, tmp_path, TEXTS[:4])
    assert len(smaller.seen) == 4
    assert len(list(tmp_path.iterdir())) == 1, "what is of no use any more stays"


def test_other_batches_of_the_same_inputs_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Lengths(), tmp_path)
    monkeypatch.setattr(Lengths, "batches", lambda self, inputs: [np.arange(len(inputs))])
    other = Lengths()
    assert run(other, tmp_path).rows.tolist() == [[length, 5] for length in range(1, 6)]
    assert len(other.seen) == 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({}, id="cut short"),
        pytest.param({"rows": np.zeros((2, 2))}, id="without its number"),
        pytest.param({"batches": np.array(0)}, id="of no batch"),
        pytest.param({"batches": np.array(9)}, id="of more batches than there are"),
        pytest.param({"rows": np.zeros((2, 3), dtype=np.float32)}, id="of another width"),
        pytest.param({"problems": np.frombuffer(b"[1]", dtype=np.uint8)}, id="of other problems"),
    ],
)
def test_a_damaged_part_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: dict[str, NDArray[Any]]
) -> None:
    monkeypatch.setattr(work, "_SAVE_EVERY", 0.0)
    whole = run(Lengths(), tmp_path)
    (folder,) = tmp_path.iterdir()
    part = folder / "00000001.npz"
    if not damage:
        part.write_bytes(part.read_bytes()[:-40])
    else:
        with np.load(part) as arrays:
            kept = {} if "rows" in damage and damage["rows"].dtype == np.float64 else dict(arrays)
        np.savez(part, **{**kept, **damage})
    again = Lengths()
    assert run(again, tmp_path).rows.tobytes() == whole.rows.tobytes()
    assert again.seen == [["ccc", "bb"], ["a"]]
