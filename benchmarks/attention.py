"""Sparse attention against dense causal attention, forward and backward with a random upstream gradient.

First the operator's tests run; if one fails, nothing is printed. The native form is measured where it is compiled, and the
library has to be the same before the tests, after them, and at the end.

    native, blocked, each also with group 8   docs/explanation/attention.md
    dense                                     torch's causal attention: the base of all ratios
    matmul_mask_softmax, multihead_attention  the plain forms of other recommenders, up to --plain-to

Sequences times length stay about the same (--events), two heads, width 64, window 128, block 32, 4 selected. Told are, for every
length and pass, the median over the rounds of dense seconds per second of a form, and microseconds per event and head; for
our forms also their time over that of a matrix product (1024 x 1024 x 1024, same rounds) with as many operations as their
keys ask for: 2 D for each key and product, 2 products forward, 7 with backward. "growth" is the cost of an event at the last
length over that at the first, both in one round, beside the growth of the keys that an event sees. "memory_mib" is what one
pass forward and backward of one history takes above its inputs, masks included, in a process of its own; freed memory goes back there.

Held, one thread, group = block, forward and backward: native at least 1.3 times as fast as dense at 512, 1.7 at 1k, 4 at
4k, 10.5 at 16k; blocked 2.3 at 4k, 5.5 at 16k; memory linear in the length; growth from 1k to 16k with block 64 at most 1.3 for
blocked. Native grows as the keys do, 1.44 times.

    python benchmarks/attention.py [--rounds 7] [--threads 1] [--lengths 512 1024] [--tests tests/ops/attention]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from attention_forms import BLOCK, DIM, HEADS, PLAIN, SELECTED, WINDOW, Inputs, Step, keys_seen, prepared
from measure import interleaved, median_ratio, parser_of, report
from operator_tests import passed
from peak_memory import available, peak_above

from fuserec import compiled
from fuserec.errors import CompileError
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.native.library import LIBRARY

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
MEMORY_LENGTHS = (1024, 2048, 4096, 8192, 16_384, 65_536)
GROWTH_LENGTHS = (1024, 16_384)
WARM_UP_LENGTH = 512
PRODUCT_SIDE = 1024
PRODUCTS = {"forward": 2, "forward_and_backward": 7}


class Remaining:
    """Tells on stderr how long it will take still, by the parts' guessed shares of the work."""

    def __init__(self, shares: dict[str, float]) -> None:
        self._shares, self._done, self._begun = shares, 0.0, time.monotonic()

    def done(self, part: str) -> None:
        """A part is done."""
        self._done += self._shares[part]
        left = (time.monotonic() - self._begun) * (sum(self._shares.values()) / self._done - 1)
        print(f"{part}: done, about {left / 60:.1f} minutes left", file=sys.stderr)


def library() -> dict[str, str] | None:
    """The compiled library that calls use: which file, and by what it was made; None where there is none."""
    path = compiled.built(LIBRARY)
    if path is None:
        return None
    try:
        compiler = compiled.find_compiler()
        known = compiled.place(LIBRARY, compiler) == path
        by = compiled.compiler_version(compiler) if known else "unknown"
    except CompileError:
        by = "unknown"
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "compiler": by,
        "instruction_set": native.best_instruction_set(),
    }


def names(length: int, plain_to: int, *, groups: bool) -> list[str]:
    """The forms that are measured at a length."""
    ours = ["native", "blocked"] if native.built() else ["blocked"]
    if groups:
        ours = [name for form in ours for name in (form, f"{form}_group_8")]
    return ["dense", *ours, *(PLAIN if length <= plain_to else ())]


def product() -> Callable[[], object]:
    """The machine's own matrix product."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, PRODUCT_SIDE, PRODUCT_SIDE, generator=generator)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def at_length(
    length: int, rounds: int, chosen: argparse.Namespace, tell: Callable[[str], None]
) -> dict[str, Any]:
    """All forms at one length, forward and with backward."""
    sequences = max(1, chosen.events // length)
    x = Inputs.drawn(sequences, length)
    steps = {name: prepared(name, x) for name in names(length, chosen.plain_to, groups=True)}
    keys = sequences * HEADS * keys_seen(length)
    result: dict[str, Any] = {"sequences": sequences}
    for kind, products in PRODUCTS.items():
        runs = {name: getattr(step, kind) for name, step in steps.items()}
        times = interleaved({**runs, "product": product()}, rounds)
        share = products * keys * DIM / PRODUCT_SIDE**3  # of the operations of one product
        result[kind] = {
            "speedup": {name: median_ratio(times, "dense", name) for name in steps},
            "microseconds": {
                name: statistics.median(times[name]) / (sequences * HEADS * length) * 1e6 for name in steps
            },
            "product_times": {
                name: median_ratio(times, name, "product") / share
                for name in steps
                if name.startswith(("native", "blocked"))
            },
            "product_gflops": 2 * PRODUCT_SIDE**3 / statistics.median(times["product"]) / 1e9,
        }
        tell(f"{kind} at {length}")
    return result


def growth(block: int, rounds: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """How much more an event costs in the longer history, and how many more keys it sees."""
    steps: dict[str, Step] = {}
    events: dict[int, int] = {}
    for length in chosen.growth:
        sequences = max(1, chosen.events // length)
        events[length] = sequences * length
        x = Inputs.drawn(sequences, length)
        for name in names(length, 0, groups=False)[1:]:
            steps[f"{name} {length}"] = prepared(name, x, block=block)
    times = interleaved({name: step.forward_and_backward for name, step in steps.items()}, rounds)
    first, last = chosen.growth
    same = events[first] / events[last]
    return {
        "lengths": [first, last],
        "microseconds": {
            name: statistics.median(taken) / (events[int(name.split()[1])] * HEADS) * 1e6
            for name, taken in times.items()
        },
        "growth": {
            name: median_ratio(times, f"{name} {last}", f"{name} {first}") * same
            for name in names(first, 0, groups=False)[1:]
        },
        "growth_of_keys": keys_seen(last, block=block) / last * first / keys_seen(first, block=block),
    }


def peak(form: str, length: int) -> float:
    """MiB above the inputs of one history, in this process, which has loaded all code before."""
    prepared(form, Inputs.drawn(1, min(length, WARM_UP_LENGTH))).forward_and_backward()
    # in the layout that the form reads, so that no copy of it is counted
    x = Inputs.drawn(1, length, heads_first=form != "multihead_attention")
    return peak_above(lambda: prepared(form, x).forward_and_backward())


def peak_of_own_process(form: str, length: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads())]
    command += ["--peak", form, str(length)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def shares_of(chosen: argparse.Namespace, rounds: int) -> dict[str, float]:
    """The parts of a run, and about how many seconds they take by one thread of a machine of 2023."""
    shares: dict[str, float] = {}
    for length in chosen.lengths:
        dense = 0.3 * max(length, 512) / 1024
        each = dense + 2.0 + (5.5 * dense if length <= chosen.plain_to else 0.0)
        shares[f"forward at {length}"] = (rounds + 1) * each / 3.5
        shares[f"forward_and_backward at {length}"] = (rounds + 1) * each
    shares |= {f"growth with block {block}": (rounds + 1) * 2.0 for block in (BLOCK, 2 * BLOCK)}
    if available():
        shares |= {f"memory at {length}": 10 + 60 * (length / 65_536) ** 2 for length in chosen.memory}
    return shares


def measure(rounds: int, *, chosen: argparse.Namespace) -> dict[str, Any]:
    """Tests, then time, then memory."""
    before = library()
    print("tests: begun" if before else "tests: begun; the native form is not compiled here", file=sys.stderr)
    tests = passed(chosen.tests)
    _require_same(before)
    remaining = Remaining(shares_of(chosen, rounds))
    result: dict[str, Any] = {
        "tests": {"selection": chosen.tests, "outcome": tests},
        "library": before,
        "heads": HEADS,
        "dim": DIM,
        "window": WINDOW,
        "block": BLOCK,
        "selected": SELECTED,
        "lengths": {
            str(length): at_length(length, rounds, chosen, remaining.done) for length in chosen.lengths
        },
        "growth": {},
        "memory_mib": {},
    }
    for block in (BLOCK, 2 * BLOCK):
        result["growth"][f"block {block}"] = growth(block, rounds, chosen)
        remaining.done(f"growth with block {block}")
    for length in chosen.memory if available() else ():
        result["memory_mib"][str(length)] = {
            form: peak_of_own_process(form, length) for form in names(length, chosen.plain_to, groups=False)
        }
        remaining.done(f"memory at {length}")
    _require_same(before)
    return result


def _require_same(before: dict[str, str] | None) -> None:
    if library() != before:
        print("the native library is another one than at the start; measure again", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="of the histories")
    parser.add_argument("--events", type=int, default=16_384, help="of a batch, about")
    parser.add_argument(
        "--growth", type=int, nargs=2, default=GROWTH_LENGTHS, help="from which to which length"
    )
    parser.add_argument("--memory", type=int, nargs="*", default=MEMORY_LENGTHS, help="lengths for memory")
    parser.add_argument("--plain-to", type=int, default=4096, help="longest history for the plain forms")
    parser.add_argument("--tests", nargs="+", default=["tests/ops/attention"], help="what has to pass first")
    parser.add_argument("--peak", nargs=2, metavar=("FORM", "LENGTH"), help="only memory, in this process")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(json.dumps(peak(arguments.peak[0], int(arguments.peak[1]))))
    else:
        report(arguments.rounds, partial(measure, chosen=arguments))
