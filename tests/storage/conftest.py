"""Fixtures over every kind of store and every layout of a Zarr array."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_rows import CHUNKED, KINDS, N_FEATURES, N_ROWS, Kind, Victim, write_chunked


def _rows() -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 2, size=(N_ROWS, N_FEATURES))


@pytest.fixture
def x() -> np.ndarray:
    """Rows without zeros, which are the fill value."""
    return _rows()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of store."""
    return request.param


@pytest.fixture(params=CHUNKED)
def layout(request: pytest.FixtureRequest) -> str:
    """Every layout of a Zarr array on disk."""
    return request.param


@pytest.fixture(scope="module")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Any]:
    @functools.cache
    def written(kind: Kind) -> Any:
        return kind.write(tmp_path_factory.mktemp("stored") / "x", _rows())

    return written


@pytest.fixture
def stored(kind: Kind, _written: Callable[[Kind], Any]) -> Any:
    """Rows ``x`` in a store of every kind, written once: whoever changes it writes its own."""
    return _written(kind)


@pytest.fixture(scope="module")
def _laid_out(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @functools.cache
    def laid_out(layout: str) -> Path:
        return write_chunked(tmp_path_factory.mktemp("laid-out") / "x.zarr", _rows(), layout)

    return laid_out


@pytest.fixture
def victim(layout: str, _laid_out: Callable[[str], Path]) -> Iterator[Victim]:
    """A stored object of rows ``x`` in every layout, which comes back after each test."""
    found = Victim.of(_laid_out(layout))
    whole = found.chunk.read_bytes()
    yield found
    found.chunk.write_bytes(whole)
