from __future__ import annotations

from typing import Any, ClassVar

from fuserec.models.freedom import Freedom, FreedomConfig
from fuserec.testing.contract import GradientContract


class TestContract(GradientContract):
    model: ClassVar[Any] = Freedom
    config: ClassVar[Any] = FreedomConfig(dim=8)
