"""The runner of sparse attention with the smallest settings, and what is drawn of its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fuserec import compiled
from fuserec.ops.attention import reference
from fuserec.ops.attention.native.library import LIBRARY
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import in_earlier_block, in_own_block, in_window

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "attention.json"
PAGE = ROOT / "docs" / "explanation" / "attention.md"


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def runner(*arguments: str) -> subprocess.CompletedProcess[str]:
    return program("benchmarks/attention.py", "--rounds", "1", *arguments)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the runner prints after one test that passes."""
    folder = tmp_path_factory.mktemp("results")
    green = folder / "test_green.py"
    green.write_text("def test_green(): pass\n")
    done = runner(
        "--events", "144", "--lengths", "40", "72", "--growth", "40", "72", "--memory", "--tests", str(green)
    )
    assert done.returncode == 0, done.stderr
    path = folder / "attention.json"
    path.write_text(done.stdout)
    return path


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import attention_forms

    return attention_forms


@pytest.mark.slow
@pytest.mark.parametrize("content", ["def test_red(): assert False\n", ""], ids=["a failure", "no test"])
def test_unless_the_tests_pass_nothing_is_printed(content: str, tmp_path: Path) -> None:
    red = tmp_path / "test_red.py"
    red.write_text(content)
    done = runner("--lengths", "16", "--tests", str(red))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the tests failed, so nothing is measured" in done.stderr
    assert ("FAILED" in done.stderr and "::test_red" in done.stderr) == bool(content)


@pytest.mark.slow
def test_a_library_that_is_not_the_tested_one_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled.built(LIBRARY)
    if library is None:
        pytest.skip("the native form is not built here; fuserec build-native compiles it")
    own = Path(shutil.copy(library, tmp_path))
    monkeypatch.setenv("FUSEREC_CACHE", str(tmp_path))
    green = tmp_path / "test_green.py"
    green.write_text(f"def test_green():\n    with open({str(own)!r}, 'ab') as file: file.write(b'new')\n")
    done = runner("--lengths", "16", "--tests", str(green))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the native library is another one than at the start; measure again" in done.stderr


@pytest.mark.slow
def test_the_runner_tells_circumstances_and_ratios_to_dense_attention(results: Path) -> None:
    told = json.loads(results.read_text())
    assert told["tests"]["outcome"].startswith("1 passed")
    assert told["threads"] == 1
    for name in ("processor", "cores", "memory_gib", "torch", "python", "numpy", "commit", "allocator"):
        assert told[name], name
    assert len(told["load_before"]) == len(told["load_after"]) == 3
    assert list(told["lengths"]) == ["40", "72"]
    for each in told["lengths"].values():
        for kind in ("forward", "forward_and_backward"):
            speedup, taken = each[kind]["speedup"], each[kind]["microseconds"]
            assert {"dense", "blocked", "matmul_mask_softmax", "multihead_attention"} <= set(speedup)
            # of one round, the median is that round's ratio
            assert {name: taken["dense"] / one for name, one in taken.items()} == pytest.approx(speedup)
    assert ("native" in told["lengths"]["40"]["forward"]["speedup"]) == (told["library"] is not None)


@pytest.mark.slow
def test_what_the_runner_tells_is_drawn_and_tabulated(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="comes with the extra [plots]")
    told = json.loads(results.read_text())
    told["memory_mib"] = {"40": {"dense": 1.0, "blocked": 2.0}, "72": {"dense": 1.5}}
    changed, page = tmp_path / "attention.json", tmp_path / "page.md"
    changed.write_text(json.dumps(told))
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    where = (
        "--results",
        str(changed),
        "--further",
        str(results),
        "--page",
        str(page),
        "--images",
        str(tmp_path),
    )
    done = program("tools/draw_attention.py", *where)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    speedup = told["lengths"]["72"]["forward_and_backward"]["speedup"]["blocked"]
    assert text.count(f"/ {speedup:.2f} |") >= 1
    assert text.count("Times as fast as dense attention") == 2
    for name in ("attention-time.svg", "attention-memory.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<?xml")
    assert (tmp_path / "attention-sight.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_the_page_are_those_of_the_kept_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="comes with the extra [plots]")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import draw_attention

    page = PAGE.read_text(encoding="utf-8")
    measured = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (RESULTS, *draw_attention.FURTHER)
        if path.exists()
    ]
    # before there are results, there are no tables
    kept = draw_attention.table(measured[0], measured[1:]) if measured else ""
    assert page.split(draw_attention.BEGIN)[1].split(draw_attention.END)[0].strip() == kept
    assert draw_attention.with_table(draw_attention.with_table(page, "old"), kept) == (
        draw_attention.with_table(page, kept)
    )


@pytest.mark.slow
def test_peak_memory_grows_with_the_matrix_of_a_plain_form_and_not_with_ours() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak is measured on Linux alone")
    of = {form: float(runner("--peak", form, "2048").stdout) for form in ("matmul_mask_softmax", "blocked")}
    scores = 2 * 2048**2 * 4 / 2**20
    # mask, scores, masked scores, softmax, and their gradients
    assert 3 * scores < of["matmul_mask_softmax"] < 10 * scores
    assert 4 < of["blocked"] < scores  # the output and three gradients of a MiB each


def test_the_plain_forms_are_dense_attention(forms: Any) -> None:
    x = forms.Inputs.drawn(2, 40)
    expected = forms.prepared("dense", x)
    gradients = torch.autograd.grad(expected.attend(), expected.inputs, expected.upstream)
    for name in forms.PLAIN:
        step = forms.prepared(name, x)
        out, upstream = step.attend(), step.upstream
        found = torch.autograd.grad(out, step.inputs, upstream)
        for ours, theirs in zip((expected.attend(), *gradients), (out, *found), strict=True):
            same = theirs if theirs.dim() == 4 else theirs.unflatten(2, (2, 64)).transpose(1, 2)
            torch.testing.assert_close(same, ours, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 31, 33, 200, 300])
def test_keys_are_counted_as_the_rules_of_the_branches_have_them(forms: Any, length: int) -> None:
    block = forms.BLOCK
    pattern = Pattern(window=forms.WINDOW, block=block, selected=forms.SELECTED, group=1)
    q, k = torch.randn(2, 1, 1, length, 4, generator=torch.Generator().manual_seed(0))
    at = torch.arange(length)
    chosen = reference.choose(q, k, pattern, Summaries())[0][..., None] == at // block
    seen = (
        in_window(at[:, None], at, forms.WINDOW).sum()
        + in_earlier_block(at[:, None], torch.arange(-(-length // block)), block).sum()
        + (chosen.any(1) | in_own_block(at[:, None], at, block)).sum()
    )
    assert forms.keys_seen(length) == int(seen)
