"""The public calls of sparse attention, held against its reference.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories   C  blocks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fuserec.ops.attention import dispatch
from fuserec.ops.attention.dispatch import Implementation
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import Inputs, by_reference, cut, gradients

__all__ = ["Form", "assert_equals_reference", "assert_near", "attended", "leaves", "packed", "unpacked"]

_SUMMARIES = ("block_query", "block_key", "block_value", "block_bias")
_TENSORS: dict[Branch, tuple[str, ...]] = {
    "windowed": ("q", "k", "v"),
    "blockwise": ("q", "k", "v", *_SUMMARIES),
    "selective": ("q", "k", "v", "block_query", "block_key", "block_bias"),
    "multi_granularity": ("q", "k", "v", "gates", *_SUMMARIES),
}
_SIZES: dict[Branch, tuple[str, ...]] = {
    "windowed": ("window",),
    "blockwise": ("block",),
    "selective": ("block", "selected", "group"),
    "multi_granularity": tuple(field.name for field in fields(Pattern)),
}


@dataclass(frozen=True)
class Form:
    """An implementation and the numbers that it is given."""

    name: Implementation
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.name}-{str(self.dtype).removeprefix('torch.')}"


def attended(branch: Branch, inputs: Inputs, pattern: Pattern, form: Form | str, **options: Any) -> Tensor:
    """The branch's public call with what it takes of the inputs and the pattern; options are lengths and offsets."""
    tensors = {name: inputs[name] for name in _TENSORS[branch] if name in inputs}
    sizes = {name: getattr(pattern, name) for name in _SIZES[branch]}
    name = form.name if isinstance(form, Form) else form
    out: Tensor = getattr(dispatch, branch)(**tensors, **sizes, implementation=name, **options)
    return out


def leaves(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """The same numbers, laid out the same, as tensors that gradients end in."""
    return {name: x.detach().to(dtype).requires_grad_() for name, x in inputs.items()}


def packed(inputs: Inputs, lengths: Sequence[int], block: int) -> tuple[Inputs, Tensor]:
    """The histories without their padding, one after the other, and their offsets."""
    alone = [cut(inputs, b, length, block) for b, length in enumerate(lengths)]
    rows = {
        name: torch.cat([one[name][0] if name == "gates" else one[name][0].transpose(0, 1) for one in alone])
        for name in inputs
        if name != "block_bias"
    }
    if "block_bias" in inputs:
        rows["block_bias"] = inputs["block_bias"]
    return rows, torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def unpacked(out: Tensor, lengths: Sequence[int], length: int) -> Tensor:
    """(B, H, L, D) of (T, H, D), 0 after the end of each history."""
    rows = out.split(list(lengths))
    return torch.stack([pad(row.transpose(0, 1), (0, 0, 0, length - row.shape[0])) for row in rows])


def assert_equals_reference(
    branch: Branch,
    inputs: Inputs,
    pattern: Pattern,
    form: Form,
    *,
    lengths: Sequence[int] | None = None,
    pack: bool = False,
) -> None:
    """The form gives the values and the gradients of the reference in float64, history by history.

    Args:
        branch: what to compute.
        inputs: the numbers, of the form's dtype.
        pattern: how far each branch sees.
        form: what is held against the reference.
        lengths: events of each history.
        pack: hand the histories over without their padding.
    """
    ours, exact = leaves(inputs, form.dtype), leaves(inputs, torch.float64)
    expected = by_reference(branch, exact, pattern, lengths)
    if pack:
        assert lengths is not None
        rows, offsets = packed(ours, lengths, pattern.block)
        found = attended(branch, rows, pattern, form, offsets=offsets)
        assert found.shape == rows["q"].shape
        found = unpacked(found, lengths, inputs["q"].shape[2])
    else:
        given = None if lengths is None else torch.tensor(lengths)
        found = attended(branch, ours, pattern, form, lengths=given)
    assert found.dtype == form.dtype
    assert_near(found, expected, "values")
    theirs = gradients(expected, exact)
    for name, gradient in gradients(found, ours).items():
        assert_near(gradient, theirs[name], f"gradient by {name}")


def assert_near(found: Tensor, expected: Tensor, what: str) -> None:
    """As far as the numbers of what was found allow, for sums over some hundred events."""
    rtol, atol = (1e-4, 2e-5) if found.dtype == torch.float32 else (1e-9, 1e-10)
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}"
    )
