"""What only the native form has: instruction sets, threads, processes, a schema, memory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from fuserec.errors import ConfigError
from fuserec.ops.attention import multi_granularity, reference
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries

pytestmark = pytest.mark.usefixtures("native_form")

PATTERNS = (
    Pattern(window=20, block=16, selected=2, group=8),
    Pattern(window=9, block=7, selected=3, group=1),
    Pattern(window=40, block=64, selected=1, group=32),
    Pattern(window=150, block=160, selected=1, group=80),  # longer than a tile of the kernel
)


Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def drawn(L: int, D: int, pattern: Pattern, *, own: bool) -> tuple[Inputs, Summaries, list[torch.Tensor]]:
    """q, k, v, gates; summaries; and all of these as leaves."""
    generator = torch.Generator().manual_seed(L * 1000 + D)
    B, H, C = 2, 2, -(-L // pattern.block)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    inputs = (leaf(B, H, L, D), leaf(B, H, L, D), leaf(B, H, L, D), leaf(B, L, H, 3))
    if not own:
        return inputs, Summaries(), [*inputs]
    query, key, value, bias = leaf(B, H, L, D), leaf(B, H, C, D), leaf(B, H, C, D), leaf(H, max(C, 2))
    summaries = Summaries(query=query, key=key, value=value, bias=bias)
    return inputs, summaries, [*inputs, query, key, value, bias]


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "plain"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=["16", "7", "64", "160"])
@pytest.mark.parametrize(("L", "D"), [(7, 8), (100, 24), (200, 64), (350, 16)])
@pytest.mark.parametrize("own", [False, True], ids=["means", "own summaries"])
def test_every_instruction_set_equals_the_reference(
    instruction_set: str, pattern: Pattern, L: int, D: int, own: bool
) -> None:
    order = ["plain", "avx2", "avx512"]
    if order.index(instruction_set) > order.index(native.best_instruction_set()):
        pytest.skip(f"this processor has no {instruction_set}")
    inputs, summaries, leaves = drawn(L, D, pattern, own=own)
    upstream = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))

    found = native.run("multi_granularity", *inputs, pattern, summaries, instruction_set=instruction_set)
    expected = reference.multi_granularity(*inputs, pattern, summaries)

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(found, leaves, upstream),
        torch.autograd.grad(expected, leaves, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


def test_an_unknown_instruction_set_is_refused() -> None:
    inputs, summaries, _ = drawn(7, 8, PATTERNS[0], own=False)
    with pytest.raises(ConfigError, match="expected an instruction set of this processor, got 'sse9'"):
        native.run("multi_granularity", *inputs, PATTERNS[0], summaries, instruction_set="sse9")


@pytest.mark.parametrize("own", [False, True], ids=["means", "own summaries"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_operator_is_what_its_schema_says(own: bool, packed: bool) -> None:
    """Fake form, autograd, no hidden mutation or aliasing: torch's own checks."""
    pattern = PATTERNS[0]
    (q, k, v, gates), it, _ = drawn(40, 16, pattern, own=own)

    def joined(x: torch.Tensor | None) -> torch.Tensor | None:
        """The two histories one after the other."""
        if x is None or not packed:
            return x
        return x.detach().transpose(1, 2).flatten(0, 1).contiguous().requires_grad_()

    if packed:
        gates = gates.detach().flatten(0, 1).requires_grad_()
    tensors = (*map(joined, (q, k, v)), gates, *map(joined, (it.query, it.key, it.value)), it.bias)
    offsets = torch.tensor([0, 40, 80]) if packed else None
    settings = (7, pattern.window, pattern.block, pattern.selected, pattern.group, "")
    torch.library.opcheck(torch.ops.fuserec.sparse_attention.default, (*tensors, None, offsets, *settings))


def test_it_can_be_compiled_into_a_graph() -> None:
    pattern = PATTERNS[0]
    inputs, _, leaves = drawn(40, 16, pattern, own=False)

    def loss(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        return native.run("multi_granularity", q, k, v, gates, pattern, Summaries()).square().sum()

    graph = make_fx(loss, tracing_mode="fake")(*inputs)
    assert "sparse_attention" in graph.code
    torch.testing.assert_close(graph(*inputs), loss(*inputs))
    assert all(x is not None for x in torch.autograd.grad(graph(*inputs), leaves))


def test_a_forked_child_computes_the_same() -> None:
    """Threads end with a call, so a child finds nothing that it lacks."""
    code = """
import os, torch
from fuserec.ops.attention import multi_granularity
torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
q = torch.randn(4, 2, 100, 16, generator=generator, requires_grad=True)
gates = torch.rand(4, 100, 2, 3, generator=generator)
def once():
    out = multi_granularity(q, q, q, gates, window=9, block=16, selected=2, group=8, implementation="native")
    return torch.autograd.grad(out.square().sum(), q)[0]
before = once()
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(once(), before) else 3)
assert os.waitpid(child, 0)[1] == 0
assert torch.equal(once(), before)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_several_callers_at_once_do_not_disturb_each_other() -> None:
    pattern = PATTERNS[0]
    inputs, summaries, _ = drawn(200, 16, pattern, own=True)
    with torch.no_grad():
        expected = native.run("multi_granularity", *inputs, pattern, summaries)
        found: list[torch.Tensor] = []
        callers = [
            threading.Thread(
                target=lambda: found.append(native.run("multi_granularity", *inputs, pattern, summaries))
            )
            for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert len(found) == len(callers)
    assert all(torch.equal(one, expected) for one in found)


def test_numbers_beyond_the_history_are_no_danger() -> None:
    """A window, a block or a choice of 10^30 is one as long as the history."""
    inputs, _, _ = drawn(40, 16, PATTERNS[0], own=False)
    huge = 10**30
    dense = torch.nn.functional.scaled_dot_product_attention(*inputs[:3], is_causal=True)
    for branch, window, block, selected, group in (
        (0, huge, 16, 1, 8),
        (2, 1, huge, 1, huge),
        (2, 1, 16, huge, 8),
    ):
        gates = torch.zeros_like(inputs[3])
        gates[..., branch] = 1
        out = multi_granularity(
            *inputs[:3],
            gates,
            window=window,
            block=block,
            selected=selected,
            group=group,
            implementation="native",
        )
        torch.testing.assert_close(out, dense, rtol=1e-4, atol=1e-5)


def test_the_output_lies_as_the_queries_do() -> None:
    """So that heads that were split from rows are joined again without a copy."""
    x = torch.randn(2, 40, 3, 16).transpose(1, 2)
    out = native.run("windowed", x, x, x, None, PATTERNS[0], Summaries())
    assert out.stride() == x.stride()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_threads_work_as_torch_is_told_to_use(count: int) -> None:
    pattern = PATTERNS[0]
    rows = torch.randn(1, 8, 4000, 32)
    before, done = torch.get_num_threads(), threading.Event()

    def work() -> None:
        # the caller is one of them; in a thread of its own, so that this one can count
        torch.set_num_threads(count)
        for _ in range(3):
            native.run("selective", rows, rows, rows, None, pattern, Summaries())
        done.set()

    alone = len(os.listdir("/proc/self/task"))  # noqa: PTH208 (names alone, many times a second)
    caller = threading.Thread(target=work)
    most = 0
    try:
        caller.start()
        while not done.is_set():
            most = max(most, len(os.listdir("/proc/self/task")))  # noqa: PTH208
        caller.join()
    finally:
        torch.set_num_threads(before)
    assert most - alone == count
