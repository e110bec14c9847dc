"""What ``fuserec features`` tells of single items."""

from __future__ import annotations

import pytest

from fuserec.cli.features import told_lines
from fuserec.features.store import Told


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("red/7.jpg", "red/7.jpg"),
        ("new\nline.jpg", r"'new\nline.jpg'"),
        ("\x1b[31m.jpg", r"'\x1b[31m.jpg'"),
        ("rtl\u202egpj", r"'rtl\u202egpj'"),
    ],
)
def test_the_name_of_a_file_neither_breaks_the_line_nor_commands_the_terminal(
    source: str, shown: str
) -> None:
    told = Told(item_id="7", source=source, kind="empty", message="the file is empty", lost=True)
    assert told_lines("image", [told]) == [f"image: item '7' ({shown}): empty: the file is empty"]
