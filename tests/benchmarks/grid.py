"""Grid: the points at which a pass is measured, and how many rows each is given."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from . import floor

__all__ = ["COMPONENTS", "COVARIANCES", "DTYPES", "FEATURES", "Point", "default_rows", "grid"]

FEATURES = (2, 4, 8, 16, 32, 64, 128)
COMPONENTS = (4, 16, 64)
COVARIANCES = ("full", "tied", "diag", "spherical")
DTYPES = ("float64", "float32")

_PASS_SECONDS = 0.25
_FEWEST_ROWS, _MOST_ROWS = 20_000, 2_000_000
_MOST_VALUES = 1 << 23  # of rows, and of the responsibilities that some peers keep


@dataclass(frozen=True)
class Point:
    """What is fitted: K components of a family to N rows of D features."""

    covariance: str
    dtype: str
    n_features: int
    n_components: int
    n_rows: int

    def __str__(self) -> str:
        return (
            f"{self.covariance} {self.dtype} D={self.n_features} K={self.n_components} "
            f"N={self.n_rows:,}"
        )


def default_rows(covariance: str, n_features: int, n_components: int) -> int:
    """Rows of which a pass takes some quarter of a second on two cores, within what memory allows.

    From the floor's work at 100 GFLOP/s and 2.5e9 exp/s, of which a pass reaches a
    third, and what no count of flops sees: whitening and moving the features.
    """
    d, k = n_features, n_components
    work = floor.flops(covariance, d, k) + 2.0 * d * d
    row_seconds = 3.0 * (work / 100e9 + k / 2.5e9) + 2e-9 * d
    most = min(_MOST_ROWS, _MOST_VALUES // max(d, k))
    rows = min(max(int(_PASS_SECONDS / row_seconds), _FEWEST_ROWS), most)
    return rows // 10_000 * 10_000


def grid(
    features: Iterable[int],
    components: Iterable[int],
    covariances: Iterable[str],
    dtypes: Iterable[str],
    n_rows: int | None = None,
) -> list[Point]:
    """All points, in the order in which they are run."""
    return [
        Point(covariance, dtype, d, k, n_rows or default_rows(covariance, d, k))
        for covariance, dtype, d, k in itertools.product(covariances, dtypes, features, components)
    ]
