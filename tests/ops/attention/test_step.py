from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fuserec.errors import ConfigError
from fuserec.ops.attention import reference
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.step import History
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import num_blocks

H, D, BLOCK = 2, 4, 4


class Events:
    """Random events of one history, what the full pass makes of them, and the arguments of each step."""

    def __init__(
        self, length: int, *, own: tuple[str, ...] = (), dtype: torch.dtype = torch.float64, **pattern: Any
    ) -> None:
        generator = torch.Generator().manual_seed(length)
        chosen: dict[str, Any] = {"window": 3, "block": BLOCK, "selected": 2, "group": 2} | pattern
        self.pattern, self.length, self.dtype = chosen, length, dtype
        begun = num_blocks(length, chosen["block"])
        shapes = dict.fromkeys(("q", "k", "v", "query"), (H, length, D))
        shapes |= {"key": (H, begun, D), "value": (H, begun, D)}
        self.q, self.k, self.v, *_ = drawn = [
            torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes.values()
        ]
        self.gates = torch.rand(length, H, 3, dtype=dtype, generator=generator)
        bias = torch.randn(H, begun + 1, dtype=dtype, generator=generator)
        self.own = {
            name: tensor
            for name, tensor in zip(("query", "key", "value", "bias"), [*drawn[3:], bias], strict=True)
            if name in own
        }

    def full(self) -> Tensor:
        """(L, H, D)."""
        summaries = Summaries(**{name: x if name == "bias" else x[None] for name, x in self.own.items()})
        one = (self.q[None], self.k[None], self.v[None], self.gates[None])
        return reference.multi_granularity(*one, Pattern(**self.pattern), summaries)[0].transpose(0, 1)

    def step(self, t: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The arguments of `append` for event t."""
        block = self.pattern["block"]
        more = {}
        if "query" in self.own:
            more["block_query"] = self.own["query"][:, t]
        if "bias" in self.own:
            more["block_bias"] = self.own["bias"]
        for name in ("key", "value"):
            if name in self.own and (t + 1) % block == 0:
                more[f"block_{name}"] = self.own[name][:, t // block]
        return (self.q[:, t], self.k[:, t], self.v[:, t], self.gates[t]), more

    def empty(self, *, capacity: int = 1) -> History:
        return History(H, D, **self.pattern, dtype=self.dtype, capacity=capacity)

    def prefilled(self, length: int) -> History:
        begun = num_blocks(length, self.pattern["block"])
        more: dict[str, Any] = {
            f"block_{name}": x if name == "bias" else x[:, : begun if name in ("key", "value") else length]
            for name, x in self.own.items()
        }
        return History.of(self.q[:, :length], self.k[:, :length], self.v[:, :length], **self.pattern, **more)

    def appended(self, history: History) -> Tensor:
        """(steps, H, D) of the events that the history does not have yet."""
        steps = []
        for t in range(len(history), self.length):
            arguments, more = self.step(t)
            steps.append(history.append(*arguments, **more))
        return torch.stack(steps)


ALL = ("query", "key", "value", "bias")


@pytest.mark.parametrize(
    "pattern",
    [
        {"group": 1},
        {"group": 2},
        {"group": BLOCK},
        {"window": 100},
        {"window": 1, "selected": 0},
        {"block": 1, "group": 1},
        {"block": 64, "group": 8},
        {"selected": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize("own", [(), ("query",), ("key",), ("value", "bias"), ALL], ids=str)
def test_every_step_equals_its_row_of_the_full_pass(pattern: dict[str, Any], own: tuple[str, ...]) -> None:
    events = Events(31, own=own, **pattern)
    torch.testing.assert_close(events.appended(events.empty()), events.full())


def test_float32_is_served_as_well() -> None:
    events = Events(70, dtype=torch.float32, group=1)
    out = events.appended(events.empty())
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, events.full())


@pytest.mark.parametrize("own", [(), ALL], ids=str)
def test_a_prefilled_history_goes_on_as_if_it_had_been_appended(own: tuple[str, ...]) -> None:
    events = Events(19, own=own, group=BLOCK)
    full = events.full()
    for length in range(19):
        history = events.prefilled(length)
        assert len(history) == length
        torch.testing.assert_close(events.appended(history), full[length:])


def test_the_first_event_sees_itself_alone() -> None:
    v = torch.tensor([[2.0, 4.0], [6.0, 8.0]])
    gates = torch.tensor([[0.5, 9.0, 0.25], [0.0, 9.0, 1.0]])
    history = History(2, 2, window=3, block=4, selected=1, group=2)
    assert history.append(torch.ones(2, 2), torch.ones(2, 2), v, gates).tolist() == [[1.5, 3.0], [6.0, 8.0]]


def test_a_block_is_pooled_for_the_event_after_its_last_by_hand() -> None:
    history = History(1, 1, window=1, block=2, selected=0, group=1)
    gates = torch.tensor([[0.0, 1.0, 0.0]])
    out = [
        history.append(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[v]]), gates).item()
        for v in (1.0, 3.0, 7.0, 9.0, 0.0)
    ]
    # blocks (1, 3) and (7, 9) have the means 2 and 8
    assert out == [0.0, 0.0, 2.0, 2.0, 5.0]


@pytest.mark.parametrize("prefilled", [0, 9])
def test_of_equal_blocks_the_earlier_is_chosen(prefilled: int) -> None:
    events = Events(12, window=1, selected=1, group=1)
    events.k[:, :] = events.k[:, :1]  # every block has the same keys, and its own values
    history = events.prefilled(prefilled)
    events.gates[:] = torch.tensor([0.0, 0.0, 1.0])
    out = events.appended(history)
    seen = torch.cat([events.v[:, :4], events.v[:, 8:]], 1)  # the first block, and the own one
    torch.testing.assert_close(out[-1], seen.mean(1))


def test_a_group_keeps_the_choice_of_its_first_query() -> None:
    events = Events(12, window=1, selected=1, group=4)
    events.k[:, :4], events.k[:, 4:8], events.k[:, 8:] = 1.0, -1.0, 0.0
    events.q[:, 8], events.q[:, 9:] = 5.0, -5.0  # the later ones would choose the other block
    events.gates[:] = torch.tensor([0.0, 0.0, 1.0])
    out = events.appended(events.prefilled(8))
    scores = torch.tensor(
        [-10.0] * 4 + [0.0] * 4, dtype=torch.float64
    )  # -5 * 4 / sqrt(4) for the chosen block
    seen = torch.cat([events.v[:, :4], events.v[:, 8:]], 1)
    torch.testing.assert_close(out[-1], (torch.softmax(scores, 0)[:, None] * seen).sum(1))


def test_a_clone_goes_its_own_way() -> None:
    events, other = Events(23, own=ALL), Events(23, own=ALL)
    for x in (other.k, other.v, other.own["key"], other.own["value"]):
        changed_from = 10 if x.shape[1] == 23 else 2
        x[:, changed_from:] *= -1
    history = events.prefilled(10)
    what_if = history.clone()
    assert (len(what_if), what_if.nbytes) == (10, history.nbytes)
    # in turn, so that each would read what the other wrote last
    rows = []
    for t in range(10, 23):
        for source, going in ((events, history), (other, what_if)):
            arguments, more = source.step(t)
            rows.append(going.append(*arguments, **more))
    torch.testing.assert_close(torch.stack(rows[::2]), events.full()[10:])
    torch.testing.assert_close(torch.stack(rows[1::2]), other.full()[10:])


def test_a_clone_of_what_is_full_and_of_what_is_empty_works() -> None:
    events = Events(20)
    torch.testing.assert_close(events.appended(events.prefilled(8).clone()), events.full()[8:])
    torch.testing.assert_close(events.appended(events.empty().clone()), events.full())


def test_room_doubles_and_bytes_are_counted() -> None:
    events = Events(33)
    history = events.empty(capacity=5)  # rounded up to two blocks
    row = 2 * H * D * 8
    sizes = []
    for t in range(33):
        arguments, more = events.step(t)
        history.append(*arguments, **more)
        sizes.append((history.nbytes - history._chosen_S.numel() * 8) // row)
    # keys and values of 8 events and 2 blocks, then twice as much each time
    assert sizes == [10] * 8 + [20] * 8 + [40] * 16 + [80]


def test_nothing_has_a_gradient_and_inference_mode_may_come_and_go() -> None:
    events = Events(14)
    events.q.requires_grad_()
    events.v.requires_grad_()
    with torch.inference_mode():
        history = events.empty()
        arguments, more = events.step(0)
        out = [history.append(*arguments, **more)]
        copied = history.clone()
    for t in range(1, 14):
        arguments, more = events.step(t)
        out.append(history.append(*arguments, **more))
    assert not any(row.requires_grad for row in out)
    torch.testing.assert_close(torch.stack(out), events.full().detach())
    torch.testing.assert_close(events.appended(copied), events.full()[1:].detach())
    assert not events.appended(events.prefilled(13)).requires_grad


class Traffic(TorchDispatchMode):
    """Numbers read and written by whatever copies or computes; a view costs nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers: int = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            # index_select reads as much as it writes, not all that it is given
            read = () if func.overloadpacket is torch.ops.aten.index_select else args
            flat = [x for x in torch.utils._pytree.tree_leaves((read, out)) if isinstance(x, Tensor)]
            self.numbers += sum(x.numel() for x in flat)
        return out


def traffic(call: Callable[[], object]) -> int:
    counted = Traffic()
    with counted:
        call()
    return counted.numbers


def test_a_step_touches_no_more_of_a_longer_history_but_its_blocks() -> None:
    pattern: dict[str, Any] = {"window": 16, "block": 8, "selected": 2, "group": 1}
    counts = {}
    for length in (160, 320, 640):
        events = Events(length, **pattern)
        history = History.of(events.q, events.k, events.v, **pattern, capacity=length + 1)
        arguments = events.step(0)[0]
        counts[length] = traffic(functools.partial(history.append, *arguments))
    # each more block costs the same: its key and value read, products and scores in between
    assert counts[640] - counts[320] == 2 * (counts[320] - counts[160])
    assert (counts[320] - counts[160]) / 20 <= 10 * H * D
    # all that is read: the window, the 20 blocks, and 3 blocks event by event
    assert counts[160] <= 10 * H * D * (16 + 20 + 3 * 8)


def test_a_step_within_a_group_scores_no_block_again() -> None:
    pattern: dict[str, Any] = {"window": 16, "block": 8, "selected": 2, "group": 8}
    events = Events(642, **pattern)
    first, second = (
        History.of(events.q[:, :t], events.k[:, :t], events.v[:, :t], **pattern, capacity=700)
        for t in (640, 641)
    )
    chosen = traffic(lambda: first.append(*events.step(640)[0]))
    kept = traffic(lambda: second.append(*events.step(641)[0]))
    assert kept < chosen - 2 * H * D * 80


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"q": torch.ones(D)},
            r"expected q of shape \(2, 4\), torch.float32 on cpu, got \(4,\), torch.float32",
        ),
        ({"k": torch.ones(H, D + 1)}, r"expected k of shape \(2, 4\), .* got \(2, 5\)"),
        ({"v": torch.ones(H, D, dtype=torch.float64)}, r"expected v .*float32 on cpu, got .*float64 on cpu"),
        ({"gates": torch.ones(H, 2)}, r"expected gates of shape \(2, 3\), .* got \(2, 2\)"),
        ({"block_query": torch.ones(1, D)}, r"expected block_query of shape \(2, 4\), .* got \(1, 4\)"),
        ({"block_key": torch.ones(H, 1, D)}, r"expected block_key of shape \(2, 4\), .* got \(2, 1, 4\)"),
        ({"block_bias": torch.ones(H, 1)}, r"expected block_bias of shape \(2, at least 2\), got \(2, 1\)"),
        ({"block_bias": torch.ones(H)}, r"expected block_bias of shape \(2, at least 2\), got \(2,\)"),
        ({"block_bias": torch.ones(1, 2)}, r"expected block_bias of shape \(2, 2\), .* got \(1, 2\)"),
        (
            {"block_value": torch.ones(H, D)},
            "expected block_value with the last event of a block of 4, got it with event 2; leave it out there",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_history_as_it_was(
    changed: dict[str, Tensor], words: str
) -> None:
    events = Events(12, dtype=torch.float32)
    history = events.prefilled(9)
    fitting = dict(zip(("q", "k", "v", "gates"), events.step(9)[0], strict=True))
    with pytest.raises(ConfigError, match=words):
        history.append(**(fitting | changed))
    assert len(history) == 9
    torch.testing.assert_close(events.appended(history), events.full()[9:])


def test_summaries_are_given_for_every_block_or_for_none() -> None:
    events = Events(12, own=("key",))
    arguments, more = events.step(7)
    with pytest.raises(ConfigError, match="expected block_key for every block or for none, got one for the"):
        events.prefilled(7).append(*arguments)
    events.own = {}
    with pytest.raises(ConfigError, match="or for none, got none for the blocks before and one for block 1"):
        events.prefilled(7).append(*arguments, **more)
    events.prefilled(0)
    events.prefilled(3).append(*events.step(3)[0], block_key=more["block_key"])


def test_sizes_out_of_range_are_refused() -> None:
    pattern: dict[str, Any] = {"window": 3, "block": 4, "selected": 2, "group": 2}
    for wrong in (0, True):
        with pytest.raises(ConfigError, match=f"num_heads must be a whole number of at least 1, got {wrong}"):
            History(wrong, D, **pattern)
    with pytest.raises(ConfigError, match="capacity must be a whole number of at least 1, got 0"):
        History(H, D, **pattern, capacity=0)
    with pytest.raises(ConfigError, match=r"expected float32 or float64, got torch\.float16"):
        History(H, D, **pattern, dtype=torch.float16)
    with pytest.raises(ConfigError, match="group must divide block, got group = 3"):
        History(H, D, **{**pattern, "group": 3})
    k = torch.ones(H, 9, D)
    with pytest.raises(ConfigError, match=r"expected k of shape \(H, L, D\), got \(2, 4\)"):
        History.of(k, k[:, 0], k, **pattern)
    with pytest.raises(ConfigError, match=r"expected v of shape \(2, 9, 4\), .* got \(2, 8, 4\)"):
        History.of(k, k, k[:, 1:], **pattern)
    with pytest.raises(ConfigError, match=r"expected block_value of shape \(2, 3, 4\), .* got \(2, 2, 4\)"):
        History.of(k, k, k, **pattern, block_value=k[:, :2])
    with pytest.raises(ConfigError, match=r"expected block_bias of shape \(2, at least 2\), got \(2, 1\)"):
        History.of(k, k, k, **pattern, block_bias=k[:, 0, :1])


def test_large_logits_stay_finite() -> None:
    events = Events(30, group=1)
    events.q *= 1e3
    out = events.appended(events.empty())
    assert math.isfinite(out.sum().item())
    torch.testing.assert_close(out, events.full())


def test_a_shallow_copy_is_a_clone() -> None:
    """One that shared the caches would write into those of the original."""
    events = Events(12, group=1)
    history, length = events.prefilled(8), 8
    expected = history.clone().append(*events.step(length)[0])
    other = copy.copy(history)
    for t in (9, 10, 11):
        other.append(*events.step(t)[0])
    assert len(history) == length
    assert torch.equal(history.append(*events.step(length)[0]), expected)
