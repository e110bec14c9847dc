"""The page docs/how-to/models.md: a pickle that is trusted becomes safetensors as it says."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from fuserec.content.text import TextEncoder
from fuserec.content.weights import find_model
from fuserec.errors import ConfigError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "models.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of transformers, which stands on the page without our guard
def test_the_block_of_the_page_converts_a_model(
    text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    expected = TextEncoder(find_model(str(text_model))).encode(["the dog sings"]).rows
    shutil.copytree(text_model, "old")
    torch.save(load_file("old/model.safetensors"), "old/pytorch_model.bin")
    Path("old/model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"found pytorch_model.bin; convert it \(docs/how-to/models.md\)"):
        find_model("./old")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(textwrap.dedent("  " + block.lstrip()), PAGE.name, "exec"), {})
    np.testing.assert_array_equal(TextEncoder(find_model("./new")).encode(["the dog sings"]).rows, expected)
