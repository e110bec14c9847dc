"""The page docs/how-to/other-formats.md does what it says, block by block; MovieLens is a small zip of ours."""

from __future__ import annotations

import hashlib
import re
import shlex
import zipfile
from pathlib import Path

import pytest

from fuserec.testing.commands import RunCommand

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "other-formats.md"
BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<kind>csv|console|python)\n(?P<text>.*?)```", re.DOTALL)


def test_every_block_of_the_page_runs_in_order(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "ml-latest-small.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ml/ratings.csv", "userId,movieId,rating,timestamp\n1,10,4.0,5\n")
        file.writestr("ml/movies.csv", "movieId,title,genres\n10,Pond (1999),Drama\n")
    Path(f"{archive}.md5").write_text(hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest())
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```") // 2
    told = ""
    for block in blocks:
        if block["kind"] == "csv":
            name = re.findall(r"`([a-z]+\.csv)`", block["before"])[-1]
            Path(name).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "python":
            exec(compile(block["text"], PAGE.name, "exec"), {})
        else:
            for line in block["text"].splitlines():
                program, *arguments = shlex.split(line)
                assert program == "fuserec"
                at = ["--address", tmp_path.as_uri()] if "fetch" in arguments else []
                done = fuserec(*arguments, *at)
                assert done.code == 0, (line, done.err)
                told += done.out + done.err
    assert "1 item without image features: a row of zeros in image_feat.npy" in told
    assert "1 event left out: the user has had the item already (more.csv:2)" in told
    assert "2 events, 1 user and 1 item added to the dataset" in told
    assert "300\tKite\ttoys open_air\n" in Path("whole/toys/toys.item").read_text()
    assert Path("recbole/toys/toys.valid.inter").read_text().splitlines()[1:] == ["bob\t100\t4.0\t25"]
