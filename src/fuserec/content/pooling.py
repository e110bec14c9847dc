"""From a vector for every token of a text to one for the text.

Shape legend
    B  texts of a batch   T  tokens of the longest of them   W  width
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fuserec.shapes import Bool, Float

__all__ = ["first", "maximum", "mean", "unit_length"]


def mean(tokens: Float[Tensor, "B T W"], given: Bool[Tensor, "B T"]) -> Float[Tensor, "B W"]:
    """The mean over the tokens of each text; zero for a text without any.

    Args:
        tokens: (B, T, W) what the model says of each token.
        given: (B, T) True where there is a token, False where the batch was filled up.
    """
    weights = given.to(tokens.dtype).unsqueeze(-1)
    # The smallest divisor is that of sentence-transformers.
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def first(tokens: Float[Tensor, "B T W"], given: Bool[Tensor, "B T"]) -> Float[Tensor, "B W"]:
    """The first token of each text, which some models teach to stand for it; zero for a text without any."""
    return tokens[:, 0] * given[:, :1].to(tokens.dtype)


def maximum(tokens: Float[Tensor, "B T W"], given: Bool[Tensor, "B T"]) -> Float[Tensor, "B W"]:
    """The largest value of each column over the tokens of each text; zero for a text without any."""
    largest = tokens.masked_fill(~given.unsqueeze(-1), -float("inf")).amax(dim=1)
    return largest.masked_fill(~given.any(dim=1, keepdim=True), 0.0)


def unit_length(rows: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
    """The rows divided by their Euclidean lengths; a row of zeros stays one."""
    return functional.normalize(rows, dim=1)
