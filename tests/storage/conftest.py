"""Fixtures over every kind of store and every layout of a Zarr array."""

from __future__ import annotations

import numpy as np
import pytest
from stored_rows import CHUNKED, KINDS, N_FEATURES, N_ROWS, Kind


@pytest.fixture
def x() -> np.ndarray:
    """Rows without zeros, which are the fill value."""
    return np.random.default_rng(0).uniform(1, 2, size=(N_ROWS, N_FEATURES))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of store."""
    return request.param


@pytest.fixture(params=CHUNKED)
def layout(request: pytest.FixtureRequest) -> str:
    """Every layout of a Zarr array on disk."""
    return request.param
