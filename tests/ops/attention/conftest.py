"""The forms of sparse attention, each with the numbers that it takes."""

from __future__ import annotations

import pytest
import torch

from fuserec.ops.attention.native import operator as native
from fuserec.testing.attention_forms import Form

NATIVE = Form("native", torch.float32)
FORMS = (
    Form("reference", torch.float64),
    Form("blocked", torch.float64),
    Form("blocked", torch.float32),
    NATIVE,
)


@pytest.fixture(params=FORMS, ids=str, scope="session")
def form(request: pytest.FixtureRequest) -> Form:
    """Every form that works here."""
    chosen: Form = request.param
    return _built() if chosen == NATIVE else chosen


@pytest.fixture(scope="session")
def native_form() -> Form:
    return _built()


def _built() -> Form:
    if not native.built():
        pytest.skip("the native form is not built here; fuserec build-native compiles it")
    return NATIVE
