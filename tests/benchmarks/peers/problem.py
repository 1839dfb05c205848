"""Problem: rows and a start, as a peer's script is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Rows in memory and the mixture that EM starts from.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_features)
        C-contiguous, in the dtype that the peer computes in.
    weights, means, covariances, precisions : ndarray
        Of shape (K,), (K, D) and of scikit-learn's for the family; in the dtype of ``x``.
    covariance : str
        The family.
    """

    x: NDArray[Any]
    weights: NDArray[Any]
    means: NDArray[Any]
    covariances: NDArray[Any]
    precisions: NDArray[Any]
    covariance: str

    @classmethod
    def read(cls, data: str, start: str, covariance: str, dtype: str) -> Problem:
        """Read rows from a .npy file and a start from a .npz file."""
        with np.load(start) as stored:
            parts = {name: stored[name].astype(dtype) for name in stored.files}
        x = np.ascontiguousarray(np.load(data), dtype=dtype)
        return cls(x, **parts, covariance=covariance)
