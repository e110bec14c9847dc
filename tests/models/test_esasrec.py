from __future__ import annotations

from typing import Any, ClassVar

from fuserec.models.esasrec import EsasrecConfig, esasrec
from fuserec.testing.contract import GradientContract


class TestEsasrec(GradientContract):
    model: ClassVar[Any] = staticmethod(esasrec)
    config = EsasrecConfig(dim=16, num_layers=1)
    batches: ClassVar[Any] = "histories"
    learning_rate = 0.01
