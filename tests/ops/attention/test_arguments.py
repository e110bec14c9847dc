from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.ops.attention import dispatch
from fuserec.ops.attention.arguments import check
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.testing.attention import BRANCHES, drawn
from fuserec.testing.attention_forms import attended

SIZES = {"window": 4, "block": 8, "selected": 2, "group": 4}
PATTERN = Pattern(**SIZES)


def zeros(*shape: int, **options: Any) -> torch.Tensor:
    return torch.zeros(shape, **options)


def padded(**changed: Any) -> dict[str, Any]:
    """What `check` takes for two histories of 20 events, three blocks begun, two heads, width 6."""
    q = zeros(2, 2, 20, 6)
    arguments = {"q": q, "k": q, "v": q, "gates": zeros(2, 20, 2, 3), "pattern": PATTERN}
    return arguments | {"summaries": Summaries(), "lengths": None, "offsets": None} | changed


def packed(**changed: Any) -> dict[str, Any]:
    """The same packed, of 20 and 9 events: 29 in all, five blocks begun, three of them in one."""
    q = zeros(29, 2, 6)
    offsets = torch.tensor([0, 20, 29], dtype=torch.int32)
    return padded(q=q, k=q, v=q, gates=zeros(29, 2, 3), offsets=offsets) | changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 0}, "window must be a whole number of at least 1, got 0"),
        ({"block": -8}, "block must be a whole number of at least 1, got -8"),
        ({"selected": -1}, "selected must be a whole number of at least 0, got -1"),
        ({"group": 0}, "group must be a whole number of at least 1, got 0"),
        ({"group": True}, "group must be a whole number of at least 1, got True"),
        ({"group": 3}, "group must divide block, got group = 3 and block = 8"),
        ({"group": 16}, "group must divide block, got group = 16 and block = 8"),
    ],
)
def test_a_pattern_out_of_its_range_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Pattern(**(SIZES | changed))


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_every_divisor_of_the_block_may_be_the_group(group: int) -> None:
    assert Pattern(**(SIZES | {"group": group})).group == group


@pytest.mark.parametrize(
    "summaries",
    [
        Summaries(),
        Summaries(query=zeros(2, 2, 20, 6), key=zeros(2, 2, 3, 6), value=zeros(2, 2, 3, 6), bias=zeros(2, 2)),
        Summaries(bias=zeros(2, 50)),
    ],
)
@pytest.mark.parametrize("lengths", [None, torch.tensor([0, 20]), torch.tensor([7, 7], dtype=torch.int32)])
def test_what_fits_together_is_accepted(summaries: Summaries, lengths: torch.Tensor | None) -> None:
    check(**padded(summaries=summaries, lengths=lengths))
    check(**padded(summaries=summaries, lengths=lengths, gates=None))


def test_what_fits_together_is_accepted_packed() -> None:
    check(**packed())
    summaries = Summaries(query=zeros(29, 2, 6), key=zeros(5, 2, 6), value=zeros(5, 2, 6), bias=zeros(2, 2))
    check(**packed(summaries=summaries))
    check(**packed(offsets=torch.tensor([0, 0, 29, 29])))
    check(**padded(q=zeros(0, 2, 0, 6), k=zeros(0, 2, 0, 6), v=zeros(0, 2, 0, 6), gates=None))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"q": zeros(20, 2, 6)},
            "expected q of shape (B, H, L, D), got (20, 2, 6); packed histories need offsets",
        ),
        ({"k": zeros(2, 2, 19, 6)}, "expected k of shape (2, 2, 20, 6), got (2, 2, 19, 6)"),
        ({"v": zeros(2, 2, 20, 5)}, "expected v of shape (2, 2, 20, 6), got (2, 2, 20, 5)"),
        ({"gates": zeros(2, 2, 20, 3)}, "expected gates of shape (2, 20, 2, 3), got (2, 2, 20, 3)"),
        ({"gates": zeros(2, 20, 2, 1)}, "expected gates of shape (2, 20, 2, 3), got (2, 20, 2, 1)"),
        (
            {"summaries": Summaries(query=zeros(2, 2, 3, 6))},
            "expected block_query of shape (2, 2, 20, 6), got (2, 2, 3, 6)",
        ),
        (
            {"summaries": Summaries(key=zeros(2, 2, 2, 6))},
            "expected block_key of shape (2, 2, 3, 6), got (2, 2, 2, 6)",
        ),
        (
            {"summaries": Summaries(value=zeros(2, 2, 20, 6))},
            "expected block_value of shape (2, 2, 3, 6), got (2, 2, 20, 6)",
        ),
        (
            {"summaries": Summaries(bias=zeros(2, 1))},
            "expected block_bias of shape (2, at least 2), got (2, 1)",
        ),
        (
            {"summaries": Summaries(bias=zeros(3, 2))},
            "expected block_bias of shape (2, at least 2), got (3, 2)",
        ),
        ({"lengths": torch.tensor([20])}, "expected lengths of shape (2,), got (1,)"),
        (
            {"lengths": torch.tensor([20, 21])},
            "expected lengths from 0 to 20, got 20 to 21; a length is the number of a history's events",
        ),
        (
            {"lengths": torch.tensor([-1, 3])},
            "expected lengths from 0 to 20, got -1 to 3; a length is the number of a history's events",
        ),
        ({"lengths": torch.tensor([1.0, 3.0])}, "expected lengths of int32 or int64, got torch.float32"),
        (
            {"k": zeros(2, 2, 20, 6, dtype=torch.float64)},
            "expected k of torch.float32 on cpu as q is, got torch.float64 on cpu",
        ),
        (
            {"v": zeros(2, 2, 20, 6, device="meta")},
            "expected v of torch.float32 on cpu as q is, got torch.float32 on meta",
        ),
        (
            {"gates": zeros(2, 20, 2, 3, dtype=torch.float16)},
            "expected gates of torch.float32 on cpu as q is, got torch.float16 on cpu",
        ),
        (
            {"summaries": Summaries(bias=zeros(2, 2, dtype=torch.float64))},
            "expected block_bias of torch.float32 on cpu as q is, got torch.float64 on cpu",
        ),
        (
            {"q": zeros(2, 2, 20, 6, dtype=torch.bfloat16)},
            "expected q of float32 or float64, got torch.bfloat16",
        ),
        ({"q": zeros(2, 2, 20, 6, dtype=torch.int64)}, "expected q of float32 or float64, got torch.int64"),
        ({"q": zeros(2, 0, 20, 6)}, "expected at least one head of width 1, got (2, 0, 20, 6)"),
        ({"q": zeros(2, 2, 20, 0)}, "expected at least one head of width 1, got (2, 2, 20, 0)"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        check(**padded(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"q": zeros(2, 2, 20, 6)}, "expected q of shape (T, H, D) with offsets, got (2, 2, 20, 6)"),
        (
            {"lengths": torch.tensor([20, 9])},
            "expected lengths or offsets, got both; offsets say the lengths of packed histories",
        ),
        ({"offsets": torch.tensor([0.0, 29.0])}, "expected offsets of int32 or int64, got torch.float32"),
        ({"offsets": torch.tensor([[0, 29]])}, "expected offsets of shape (B + 1,), got (1, 2)"),
        ({"offsets": torch.tensor([], dtype=torch.int64)}, "expected offsets of shape (B + 1,), got (0,)"),
        (
            {"offsets": torch.tensor([0, 20])},
            "expected offsets from 0 to 29, the packed positions, got 0 to 20",
        ),
        (
            {"offsets": torch.tensor([1, 29])},
            "expected offsets from 0 to 29, the packed positions, got 1 to 29",
        ),
        (
            {"offsets": torch.tensor([0, 20, 9, 29])},
            "expected offsets that never fall, since histories follow one another; offset 2 is below the one before it",
        ),
        ({"gates": zeros(2, 29, 3)}, "expected gates of shape (29, 2, 3), got (2, 29, 3)"),
        (
            {"summaries": Summaries(key=zeros(4, 2, 6))},
            "expected block_key of shape (5, 2, 6), got (4, 2, 6)",
        ),
        (
            {"summaries": Summaries(bias=zeros(2, 1))},
            "expected block_bias of shape (2, at least 2), got (2, 1)",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_packed(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        check(**packed(**changed))


def test_every_public_call_checks_its_pattern_and_its_arguments() -> None:
    inputs = drawn(0, PATTERN, (2, 2, 20, 6))
    for branch in BRANCHES:
        with pytest.raises(ConfigError, match="expected lengths from 0 to 20, got 3 to 21"):
            attended(branch, inputs, PATTERN, "reference", lengths=torch.tensor([3, 21]))
    q, gates = inputs["q"], inputs["gates"]
    with pytest.raises(ConfigError, match="window must be a whole number of at least 1, got 0"):
        dispatch.windowed(q, q, q, window=0)
    with pytest.raises(ConfigError, match="block must be a whole number of at least 1, got 0"):
        dispatch.blockwise(q, q, q, block=0)
    with pytest.raises(ConfigError, match="group must divide block, got group = 3 and block = 8"):
        dispatch.selective(q, q, q, block=8, selected=1, group=3)
    with pytest.raises(ConfigError, match="group must divide block, got group = 3 and block = 8"):
        dispatch.multi_granularity(q, q, q, gates, window=4, block=8, selected=1, group=3)


def test_an_unknown_implementation_is_refused_with_the_nearest_name() -> None:
    q = zeros(1, 1, 4, 2)
    with pytest.raises(
        ConfigError, match=r"^expected an implementation, got 'nativ'; did you mean 'native'\?$"
    ):
        dispatch._form("nativ", q)
    with pytest.raises(ConfigError, match="got 'sdpa'; known: 'auto', 'blocked', 'native', 'reference'"):
        dispatch._form("sdpa", q)


def test_the_native_form_refuses_float64() -> None:
    inputs = drawn(0, PATTERN, (1, 1, 4, 2))
    with pytest.raises(
        ConfigError, match=r"expects float32 on cpu, got torch\.float64 on cpu; use implementation='blocked'"
    ):
        attended("multi_granularity", inputs, PATTERN, "native")


@pytest.mark.parametrize(
    ("device", "dtype", "built", "form"),
    [
        ("cpu", torch.float32, True, "native"),
        ("cpu", torch.float32, False, "blocked"),
        ("cpu", torch.float64, True, "blocked"),
        ("cuda", torch.float32, True, "blocked"),
    ],
)
def test_auto_takes_the_native_form_for_float32_on_the_processor_where_it_is_built(
    device: str, dtype: torch.dtype, built: bool, form: str
) -> None:
    assert dispatch.implementation_for(device, dtype, built=built) == form


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_auto_is_the_form_that_it_stands_for(dtype: torch.dtype) -> None:
    inputs = drawn(0, PATTERN, (2, 2, 30, 16), dtype=dtype)
    form = dispatch.implementation_for("cpu", dtype, built=native.built())
    found, expected = (attended("multi_granularity", inputs, PATTERN, name) for name in ("auto", form))
    assert torch.equal(found, expected)
