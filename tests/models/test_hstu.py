from __future__ import annotations

from typing import Any, ClassVar

from fuserec.models.hstu import HstuConfig, hstu
from fuserec.testing.contract import GradientContract


class TestHstu(GradientContract):
    model: ClassVar[Any] = staticmethod(hstu)
    config = HstuConfig(dim=16, num_layers=1)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01
