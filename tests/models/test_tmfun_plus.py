from __future__ import annotations

from typing import Any, ClassVar

from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.testing.contract import GradientContract


class TestContract(GradientContract):
    model: ClassVar[Any] = TmfunPlus
    config: ClassVar[Any] = TmfunPlusConfig(dim=8)


class TestContractWithoutHistory(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, history=False)


class TestContractWithoutBehaviour(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, behaviour_weight=0.0, max_items=1)


class TestContractTwoItemLayers(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, item_layers=2, weights={"text": 1.0})


class TestContractWholeGraphs(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, kept_share=1.0, thinned_share=0.0)
