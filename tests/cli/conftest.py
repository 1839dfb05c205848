"""Stores and models on disk, made once, copied for whoever may damage them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import forked, mixture_rows, write_store


@pytest.fixture(scope="session")
def x() -> np.ndarray:
    """Rows of three well separated components."""
    return mixture_rows(10_000, 3, 3)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> Path:
    """A folder with ``data.zarr`` and ``model.zarr``, not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_store(folder / "data.zarr", x)
    fitted = forked("fit", "data.zarr", "--components", 3, "--output", "model.zarr", cwd=folder)
    assert fitted.status == 0, fitted.stderr
    return folder


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    """A copy of :func:`made`, to work in and to damage."""
    return Path(shutil.copytree(made, tmp_path / "work"))
