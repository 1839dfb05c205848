"""Rows of features on unlike scales, fits of them, and what scikit-learn makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from made_data import made_mixture, rows_of
from sklearn.preprocessing import RobustScaler, StandardScaler

from daskgmm import GaussianMixture

K, D = 3, 4
UNITS, OFFSETS = np.array([1e-3, 1.0, 1e3, 10.0]), np.array([5.0, 0.0, 1e4, -3.0])
QUARTILES_APART = 1.349
HOW = [
    {"standardize": True, "covariance_type": "spherical"},
    {"standardize": True, "covariance_type": "full"},
    {"standardize": "robust", "n_projected": 2},
]
IDS = ["spherical", "full", "projected"]
NAMES = list("abcd")


def unlike_rows() -> np.ndarray:
    mixture = made_mixture("full", K, D, seed=2, separation=4.0)
    return rows_of(mixture, 2000, seed=1) * UNITS + OFFSETS


def scaled(x: np.ndarray, standardize: bool | str) -> tuple[np.ndarray, np.ndarray]:
    """Rows that scikit-learn scaled, and what it divided them by."""
    if not standardize:
        return x, np.ones(x.shape[1])
    scaler = (StandardScaler() if standardize is True else RobustScaler()).fit(x)
    scale = scaler.scale_ / (1.0 if standardize is True else QUARTILES_APART)
    return (x - (scaler.mean_ if standardize is True else scaler.center_)) / scale, scale


def fitted(x: Any, family: str = "full", **settings: Any) -> GaussianMixture:
    """One start, so that no search on the sample goes on for the second that it may take."""
    how = {"random_state": 0, "progressive": False, **settings}
    return GaussianMixture(K, covariance_type=family, **how).fit(x)


def as_grid(x: np.ndarray) -> xr.Dataset:
    """A grid with a gap more than there are rows."""
    whole = np.vstack([np.full((1, D), np.nan), x, np.full((1, D), np.nan)])
    return xr.Dataset({n: (("y", "x"), whole[:, j].reshape(2, -1)) for j, n in enumerate(NAMES)})
