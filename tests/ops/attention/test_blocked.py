"""What only the blocked form has: runs of tiles that are cut where scores would not fit, and a choice by products."""

from __future__ import annotations

import pytest
import torch

from fuserec.ops.attention import reference
from fuserec.ops.attention.blocked.choice import choose
from fuserec.ops.attention.blocked.tiles import MAX_SCORES
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.testing.attention import drawn
from fuserec.testing.attention_forms import Form, assert_equals_reference, attended

BLOCKED = Form("blocked", torch.float64)


def test_histories_too_long_for_one_tile_run_are_cut_into_several() -> None:
    pattern = Pattern(window=64, block=16, selected=4, group=8)
    assert 32 * (MAX_SCORES // (32 * 96)) < 1701  # windowed: tiles of 32 queries, 96 keys each
    assert 16 * (MAX_SCORES // (16 * 80)) < 1701  # selective: tiles of 16 queries, 5 blocks each
    assert_equals_reference("multi_granularity", drawn(0, pattern, (1, 1, 1701, 8)), pattern, BLOCKED)


def test_batches_too_large_for_one_tile_run_are_cut_into_several() -> None:
    pattern = Pattern(window=128, block=32, selected=4, group=8)
    assert MAX_SCORES // (32 * 160) < 60  # windowed: a tile of 32 queries, 160 keys, from each history
    assert MAX_SCORES // (9 * 32 * 9) < 60  # block-level: 9 blocks of 32 queries, 9 summaries, from each
    inputs = drawn(1, pattern, (60, 1, 300, 8), summaries=True)
    assert_equals_reference("multi_granularity", inputs, pattern, BLOCKED)


def test_a_history_that_is_not_a_number_spoils_no_other() -> None:
    pattern = Pattern(window=16, block=8, selected=2, group=8)
    inputs = drawn(2, pattern, (2, 3, 331, 8))
    spoilt = {name: x.clone() for name, x in inputs.items()}
    for x in spoilt.values():
        x[0] = torch.nan
    out, expected = (attended("multi_granularity", one, pattern, BLOCKED) for one in (spoilt, inputs))
    assert torch.equal(out[1], expected[1])


@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("length", [1, 7, 63, 100, 700])
@pytest.mark.parametrize("bias", [False, True])
def test_the_choice_is_the_literal_one(length: int, group: int, bias: bool) -> None:
    pattern = Pattern(window=1, block=8, selected=3, group=group)
    inputs = drawn(3, pattern, (2, 3, length, 8), dtype=torch.float32, summaries=True)
    query, key, by_distance = (
        inputs["block_query"],
        inputs["block_key"],
        inputs["block_bias"] if bias else None,
    )
    summaries = Summaries(query=query, key=key, bias=by_distance)
    expected = reference.choose(inputs["q"], inputs["k"], pattern, summaries)
    found = choose(query, key, by_distance, block=8, selected=3, group=group)
    assert torch.equal(found.sort().values, expected.sort().values)


def test_equal_blocks_go_to_the_earlier_one() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 400, 8, generator=generator)
    key = torch.randn(2, 3, 5, 8, generator=generator).repeat(1, 1, 10, 1)
    found = choose(query, key, None, block=8, selected=4, group=4)
    pattern = Pattern(window=1, block=8, selected=4, group=4)
    expected = reference.choose(query, query, pattern, Summaries(key=key))
    assert torch.equal(found.sort().values, expected.sort().values)
    # of ten copies of the best of five the first four
    late = found[:, -1].sort().values
    assert torch.equal(late, late[:, :1] % 5 + 5 * torch.arange(4))
