"""A model beside its literal form, both in float64: what every such comparison needs, and no arithmetic of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fuserec.batch import Corpus
from fuserec.testing.corpora import tiny_corpus

__all__ = ["assert_close", "assert_same_losses", "assert_same_output", "randomised", "small_corpus"]

Model = TypeVar("Model", bound=nn.Module)


def small_corpus(**options: Any) -> Corpus:
    """`tiny_corpus` of 15 users and 14 items, few enough for loops."""
    drawn: dict[str, Any] = {"num_users": 15, "num_items": 14, "events_per_user": 6, "num_cold": 3}
    return tiny_corpus(**{**drawn, **options})


def randomised(model: Model) -> Model:
    """The same model in float64, every parameter drawn anew with values of about 1."""
    model = model.double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return model


def assert_close(found: Tensor, expected: Tensor, what: str = "") -> None:
    """As far as graphs in float32 allow."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text: f"{what} {text}")


def assert_same_losses(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    literal: Mapping[str, Tensor],
) -> None:
    """The same terms with the same values, and the same gradient of each by every parameter.

    Args:
        found: the model's terms.
        expected: those of the literal form.
        parameters: the model's, by name.
        literal: the literal form's, by the same names.
    """
    assert found.keys() == expected.keys()
    assert parameters.keys() == literal.keys()
    for term, value in expected.items():
        assert_close(found[term], value, term)
        ours, theirs = (
            _gradients(loss, [leaves[name] for name in literal])
            for loss, leaves in ((found[term], parameters), (value, literal))
        )
        for name, one, other in zip(literal, ours, theirs, strict=True):
            assert_close(one, other, f"{term} by {name}")


def assert_same_output(found: Tensor, expected: Tensor, leaves: Mapping[str, Tensor]) -> None:
    """The same values, and the same gradient by every leaf along a drawn direction, as closely as float64 allows.

    Args:
        found: the output.
        expected: of the literal form, from the same leaves.
        leaves: by name.
    """
    torch.testing.assert_close(found, expected)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    ours, theirs = (torch.autograd.grad(out, list(leaves.values()), direction) for out in (found, expected))
    for name, one, other in zip(leaves, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, msg=f"the gradient by {name} differs")


def _gradients(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """Of every leaf; zeros where it has no part."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
