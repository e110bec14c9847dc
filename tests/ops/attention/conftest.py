"""The forms of sparse attention, each with the numbers that it takes."""

from __future__ import annotations

import pytest
import torch

from fuserec.compiled import find_compiler
from fuserec.errors import CompileError
from fuserec.ops.attention.native import operator as native
from fuserec.testing.attention_forms import Form

REFERENCE = Form("reference", torch.float64)
BLOCKED = Form("blocked", torch.float64)
NATIVE = Form("native", torch.float32)


@pytest.fixture(params=(REFERENCE, BLOCKED, Form("blocked", torch.float32), NATIVE), ids=str, scope="session")
def form(request: pytest.FixtureRequest) -> Form:
    """Every form that works here, the blocked one in both precisions."""
    return _working(request.param)


@pytest.fixture(params=(REFERENCE, BLOCKED, NATIVE), ids=str, scope="session")
def form_once(request: pytest.FixtureRequest) -> Form:
    """Every form that works here, for the larger matrices of cases."""
    return _working(request.param)


@pytest.fixture(params=(BLOCKED, NATIVE), ids=str, scope="session")
def fast_form(request: pytest.FixtureRequest) -> Form:
    """Every form but the reference, for tests that hold each against it."""
    return _working(request.param)


@pytest.fixture(scope="session")
def native_form() -> Form:
    return _working(NATIVE)


def _working(form: Form) -> Form:
    if form == NATIVE and not native.built():
        try:
            find_compiler()
        except CompileError:
            pytest.skip("the native form is not built here, for want of a compiler")
        pytest.fail(
            "the native form is not built here although there is a compiler; fuserec build-native tells why"
        )
    return form
