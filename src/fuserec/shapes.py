"""Array annotations such as ``Float[Tensor, "B D"]``.

They come from jaxtyping, which tests use to check every shape. It is a development dependency only:
training also runs on a bare machine with torch, numpy and safetensors alone, and there the annotation
is just the array type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Bool", "Complex", "Float", "Int"]

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Int
else:
    try:
        from jaxtyping import Bool, Complex, Float, Int
    except ModuleNotFoundError:

        class _Unchecked:
            """Stands where jaxtyping is not installed: ``Float[Tensor, "B"]`` is ``Tensor``."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Complex = Float = Int = _Unchecked
