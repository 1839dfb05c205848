"""Data for the fits that two checkouts are compared on, drawn from seeds by NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

__all__ = ["DATA", "write_data"]

_CHUNK_ROWS = 4096

Rows = NDArray[np.float64]


def _mixed(n_rows: int, d: int, k: int, separation: float, seed: int) -> Rows:
    """Rows of correlated components, their centres ``separation`` standard deviations apart."""
    rng = np.random.default_rng(seed)
    centres = separation * rng.standard_normal((k, d))
    spread = np.eye(d) + 0.3 * rng.standard_normal((k, d, d)) / np.sqrt(d)
    z = rng.choice(k, size=n_rows, p=rng.dirichlet(np.full(k, 5.0)))
    return centres[z] + np.einsum("nij,nj->ni", spread[z], rng.standard_normal((n_rows, d)))


def _scaled() -> Rows:
    """Columns in units between which there are twelve orders of magnitude."""
    return _mixed(6_000, 4, 3, separation=2.5, seed=4) * np.array([1e-6, 1.0, 1e6, 1e-3])


def _many() -> Rows:
    """Components on a grid, each with neighbours that it overlaps."""
    rng = np.random.default_rng(5)
    z = rng.integers(220, size=9_000)
    return np.column_stack([z % 20, z // 20]) * 4.0 + rng.standard_normal((9_000, 2))


def _rare() -> Rows:
    """A dozen rows far from all others, and too many rows for the scan's sample to hold."""
    rng = np.random.default_rng(6)
    x = _mixed(260_000, 2, 2, separation=4.0, seed=6)
    x[np.sort(rng.choice(len(x), 12, replace=False))] = 60.0 + 0.5 * rng.standard_normal((12, 2))
    return x


DATA: dict[str, Callable[[], Rows]] = {
    "large": lambda: _mixed(150_000, 8, 4, separation=0.9, seed=1),
    "apart": lambda: _mixed(30_000, 8, 4, separation=3.0, seed=1),
    "overlapping": lambda: _mixed(8_000, 2, 5, separation=1.0, seed=2),
    "one-feature": lambda: _mixed(5_000, 1, 3, separation=3.0, seed=3),
    "scaled": _scaled,
    "many": _many,
    "rare": _rare,
    "wide": lambda: _mixed(4_000, 40, 3, separation=1.0, seed=7),
}
"""By name; "large" and "rare" have more rows than the scan's sample. To add one, add a row."""


def write_data(folder: Path, names: Iterable[str]) -> None:
    """Write data named ``NAME-DTYPE``, such as ``apart-float32``, as ``.npy`` and as ``.zarr``."""
    for name in names:
        kind, _, dtype = name.rpartition("-")
        x = DATA[kind]().astype(dtype)
        np.save(folder / f"{name}.npy", x)
        zarr.create_array(
            folder / f"{name}.zarr",
            data=x,
            chunks=(_CHUNK_ROWS, x.shape[1]),
            config={"write_empty_chunks": True},
        )
