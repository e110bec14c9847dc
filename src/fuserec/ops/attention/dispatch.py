"""The public calls: arguments are checked, and the form is chosen.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories   C  blocks of a history
"""

from __future__ import annotations

import functools
import logging
from typing import Literal, get_args

import torch
from torch import Tensor

from fuserec.errors import ConfigError, nearest
from fuserec.ops.attention import ragged, reference
from fuserec.ops.attention.arguments import check
from fuserec.ops.attention.blocked import form as blocked
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.ops.attention.precision import as_given
from fuserec.ops.attention.summaries import Summaries
from fuserec.shapes import Float, Int

__all__ = [
    "Form",
    "Implementation",
    "blockwise",
    "implementation_for",
    "multi_granularity",
    "selective",
    "windowed",
]

Form = Literal["reference", "blocked", "native"]
Implementation = Literal["auto", "reference", "blocked", "native"]

_PLAIN = {"reference": reference.run, "blocked": blocked.run}
_logger = logging.getLogger(__name__)


def multi_granularity(
    q: Float[Tensor, "*rows D"],
    k: Float[Tensor, "*rows D"],
    v: Float[Tensor, "*rows D"],
    gates: Float[Tensor, "*events 3"],
    *,
    window: int,
    block: int,
    selected: int,
    group: int,
    lengths: Int[Tensor, " B"] | None = None,
    offsets: Int[Tensor, " B_plus_1"] | None = None,
    block_query: Float[Tensor, "*rows D"] | None = None,
    block_key: Float[Tensor, "*blocks D"] | None = None,
    block_value: Float[Tensor, "*blocks D"] | None = None,
    block_bias: Float[Tensor, "H M"] | None = None,
    implementation: Implementation = "auto",
) -> Float[Tensor, "*rows D"]:
    """Windowed, block-level and selective attention over histories, each times its gate, summed.

    Every branch is causal: an output depends on its own and earlier events alone, choice included. Products are
    divided by sqrt(D). A branch in which a query sees nothing gives exactly 0. Source: MUFASA (arXiv 2508.09664);
    the rules are those of docs/papers/mufasa.md.

    Args:
        q: (B, H, L, D) queries, float32 or float64; packed (T, H, D) with ``offsets``.
        k: keys, as ``q``.
        v: values, as ``q``.
        gates: (B, L, H, 3), packed (T, H, 3): what windowed, block-level and selective output are multiplied by.
        window: events that the windowed branch sees, the query's own included.
        block: events in a block, counted from the start of a history.
        selected: earlier blocks that a group chooses, to attend to event by event; fewer where there are fewer.
        group: neighbouring queries that share the choice of their first; divides ``block``. Part of the model.
        lengths: (B,) events of each right-padded history; None when all have L. What comes after is not read,
            gets output 0 and gradient 0.
        offsets: (B + 1,) where each packed history begins, and T.
        block_query: as ``q``: what block-level scores and the choice are made of; None for ``q``.
        block_key: (B, H, C, D) with C = ceil(L / block), packed (sum of C, H, D): a summary of each block; None for the
            mean of its keys.
        block_value: as ``block_key``: what the block-level branch reads; None for the mean of the block's values.
        block_bias: (H, M) added to block-level scores after scaling; column m is for a block m + 1 blocks before
            the query's. M at least C - 1 of the longest history, and 1.
        implementation: the form: "reference", "blocked" or "native"; "auto" for `implementation_for`.

    Returns:
        As ``q``.

    Raises:
        ConfigError: arguments do not fit together, or the form cannot serve them here.
        MemoryError: there is not enough memory for the native form.

    Example:
        >>> x = torch.ones(1, 1, 4, 2)
        >>> gates = torch.full((1, 4, 1, 3), 0.5)
        >>> multi_granularity(x, x, x, gates, window=2, block=2, selected=1, group=1)[0, 0, :, 0].tolist()
        [1.0, 1.0, 1.5, 1.5]
    """
    return _call(
        "multi_granularity",
        (q, k, v, gates),
        Pattern(window=window, block=block, selected=selected, group=group),
        Summaries(query=block_query, key=block_key, value=block_value, bias=block_bias),
        lengths,
        offsets,
        implementation,
    )


def windowed(
    q: Float[Tensor, "*rows D"],
    k: Float[Tensor, "*rows D"],
    v: Float[Tensor, "*rows D"],
    *,
    window: int,
    lengths: Int[Tensor, " B"] | None = None,
    offsets: Int[Tensor, " B_plus_1"] | None = None,
    implementation: Implementation = "auto",
) -> Float[Tensor, "*rows D"]:
    """Attention to the last ``window`` events, the query's own included.

    Arguments, errors and result as in `multi_granularity`.

    Example:
        >>> v = torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 3, 1)
        >>> windowed(torch.zeros_like(v), torch.zeros_like(v), v, window=2).flatten().tolist()
        [1.0, 1.5, 3.0]
    """
    pattern = Pattern(window=window, block=1, selected=0, group=1)
    return _call("windowed", (q, k, v, None), pattern, Summaries(), lengths, offsets, implementation)


def blockwise(
    q: Float[Tensor, "*rows D"],
    k: Float[Tensor, "*rows D"],
    v: Float[Tensor, "*rows D"],
    *,
    block: int,
    lengths: Int[Tensor, " B"] | None = None,
    offsets: Int[Tensor, " B_plus_1"] | None = None,
    block_query: Float[Tensor, "*rows D"] | None = None,
    block_key: Float[Tensor, "*blocks D"] | None = None,
    block_value: Float[Tensor, "*blocks D"] | None = None,
    block_bias: Float[Tensor, "H M"] | None = None,
    implementation: Implementation = "auto",
) -> Float[Tensor, "*rows D"]:
    """Attention to a summary of every block before the query's own; 0 in the first block.

    Arguments, errors and result as in `multi_granularity`.

    Example:
        >>> v = torch.tensor([1.0, 3.0, 9.0, 9.0]).view(1, 1, 4, 1)
        >>> blockwise(torch.zeros_like(v), torch.zeros_like(v), v, block=2).flatten().tolist()
        [0.0, 0.0, 2.0, 2.0]
    """
    pattern = Pattern(window=1, block=block, selected=0, group=1)
    summaries = Summaries(query=block_query, key=block_key, value=block_value, bias=block_bias)
    return _call("blockwise", (q, k, v, None), pattern, summaries, lengths, offsets, implementation)


def selective(
    q: Float[Tensor, "*rows D"],
    k: Float[Tensor, "*rows D"],
    v: Float[Tensor, "*rows D"],
    *,
    block: int,
    selected: int,
    group: int,
    lengths: Int[Tensor, " B"] | None = None,
    offsets: Int[Tensor, " B_plus_1"] | None = None,
    block_query: Float[Tensor, "*rows D"] | None = None,
    block_key: Float[Tensor, "*blocks D"] | None = None,
    block_bias: Float[Tensor, "H M"] | None = None,
    implementation: Implementation = "auto",
) -> Float[Tensor, "*rows D"]:
    """Attention to every event of the blocks that the query's group chose, and to its own block up to itself.

    Arguments, errors and result as in `multi_granularity`. The choice has no gradient.

    Example:
        >>> v = torch.tensor([1.0, 3.0, 9.0, 9.0]).view(1, 1, 4, 1)
        >>> zeros = torch.zeros_like(v)
        >>> selective(zeros, zeros, v, block=2, selected=0, group=1).flatten().tolist()
        [1.0, 2.0, 9.0, 9.0]
    """
    pattern = Pattern(window=1, block=block, selected=selected, group=group)
    summaries = Summaries(query=block_query, key=block_key, bias=block_bias)
    return _call("selective", (q, k, v, None), pattern, summaries, lengths, offsets, implementation)


def implementation_for(device: str, dtype: torch.dtype, *, built: bool) -> Form:
    """The form that "auto" stands for.

    Args:
        device: its type, "cpu" or another.
        dtype: of q.
        built: the native form is compiled on this machine.

    Example:
        >>> implementation_for("cpu", torch.float32, built=True)
        'native'
        >>> implementation_for("cpu", torch.float64, built=True)
        'blocked'
    """
    return "native" if built and device == "cpu" and dtype == torch.float32 else "blocked"


def _call(
    branch: Branch,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None],
    pattern: Pattern,
    summaries: Summaries,
    lengths: Tensor | None,
    offsets: Tensor | None,
    implementation: Implementation,
) -> Tensor:
    if branch == "multi_granularity" and inputs[3] is None:
        raise ConfigError("expected gates, got None; each branch has a call of its own without gates")
    pattern = pattern.within(check(*inputs, pattern, summaries, lengths, offsets))
    form = _form(implementation, inputs[0])
    if form == "native":
        return native.run(branch, *inputs, pattern, summaries, lengths=lengths, offsets=offsets)

    def run(q: Tensor, k: Tensor, v: Tensor, gates: Tensor | None, summaries: Summaries) -> Tensor:
        with as_given(q.device):
            return _PLAIN[form](branch, q, k, v, gates, pattern, summaries)

    if offsets is not None:
        return ragged.in_buckets(run, *inputs, summaries, offsets, block=pattern.block)
    if lengths is not None:
        return ragged.within(run, *inputs, summaries, lengths, block=pattern.block)
    return run(*inputs, summaries)


def _form(implementation: str, q: Tensor) -> Form:
    if implementation not in get_args(Implementation):
        raise ConfigError(
            f"expected an implementation, got {implementation!r}; "
            f"{nearest(str(implementation), get_args(Implementation))}"
        )
    if implementation != "auto":
        return implementation  # type: ignore[return-value]
    form = implementation_for(q.device.type, q.dtype, built=native.built())
    _tell(form, q.device.type, q.dtype)
    return form


@functools.lru_cache
def _tell(form: str, device: str, dtype: torch.dtype) -> None:
    """Once for each kind of call."""
    _logger.info("attention of %s on %s is done by the form %r", dtype, device, form)
