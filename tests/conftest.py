"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The research data, which never enters the repository; tests skip where it is absent."""
    place = Path(os.environ.get("FUSEREC_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (place / "amazon-baby" / "interactions.parquet").exists():
        pytest.skip(f"the research data is not at {place}; set FUSEREC_DATA to run this test")
    return place
