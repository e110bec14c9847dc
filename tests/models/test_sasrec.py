from __future__ import annotations

from typing import Any, ClassVar

from fuserec.models.sasrec import SasrecConfig, sasrec
from fuserec.testing.contract import GradientContract


class TestSasrec(GradientContract):
    model: ClassVar[Any] = staticmethod(sasrec)
    config = SasrecConfig(dim=16, num_layers=1)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01
