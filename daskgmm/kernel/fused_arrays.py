"""Arguments of the compiled loops: arrays, grouped by their meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Cells",
    "CorrelatedArrays",
    "MeasuredArrays",
    "NaturalArrays",
    "SeparateArrays",
    "TailSums",
    "WeightedRows",
    "WhitenedArrays",
    "WhitenedSums",
]

Array = NDArray[Any]


class TailSums(NamedTuple):
    """What is added to of t components, beside the sums of Gaussians.

    Attributes
    ----------
    n_u, tails : arrays of shape (K,), float64
        Sums of ``r u``, and of ``r (log u - u)``.
    """

    n_u: Array
    tails: Array


class WeightedRows(NamedTuple):
    """Rows, their weights, and what is found of each.

    Attributes
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    weight : array of shape (n,), float64, C-contiguous
        Above 0; of shape (0,) where every row counts once.
    log_density : array of shape (n,), float64, C-contiguous
        Written over; of shape (0,) where it is not asked for.
    picked : array of shape (m,), int64, or None
        Indices of the rows that count, if not all do; then weight and log_density are of these.
    """

    x: Array
    weight: Array
    log_density: Array
    picked: Array | None = None


class Cells(NamedTuple):
    """Runs of rows, each with the components that its rows are compared with.

    Attributes
    ----------
    row_bounds : array of shape (cells + 1,), int64
        Cell m has the rows ``row_bounds[m] : row_bounds[m + 1]``.
    candidates : array of shape (cells, G), int64
        Components of each cell; its rows have responsibility 0 for all others.
    """

    row_bounds: Array
    candidates: Array


@dataclass(frozen=True, eq=False)
class NaturalArrays:
    """A mixture in its natural form.

    Attributes
    ----------
    centre, inverse_scale : arrays of shape (D,), float64
        ``z = (x - centre) * inverse_scale``.
    first_of, second_of : arrays of shape (products,), int64
        Features whose products are the second-order terms, or whose sum is the only one.
    coefficients : array of shape (K, P + D), float32 or float64
        Coefficients of the second-order terms, then of z, in the log densities. The loops work in
        its dtype.
    constant : array of shape (K,), of the same dtype
        Constant term of each log density.
    noise : array of shape (1,), float64
        One more log density, the same for every row, of which there are no sums; of shape (0,)
        where there is none.
    tails : array of shape (K, 5), float64
        Of t components: log height, ``(nu + D) / 2``, ``1 / nu``, ``(nu + D) / nu`` and its
        logarithm; the other arrays then give ``-delta / 2``. Of shape (0,) for Gaussians.
    """

    centre: Array
    inverse_scale: Array
    first_of: Array
    second_of: Array
    coefficients: Array
    constant: Array
    noise: Array
    tails: Array = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class WhitenedArrays:
    """A mixture in its whitened form.

    Attributes
    ----------
    centre, inverse_scale : arrays of shape (D,), float64
        ``z = (x - centre) * inverse_scale``.
    means : array of shape (K, D), float32 or float64
        Means of z. The loops work in its dtype.
    factors, shifts : arrays of shape (K, D, D) and (K, D), of the same dtype
        ``factors[k] @ z + shifts[k]`` has unit covariance under component k, and mean 0;
        factors are lower triangular.
    heights : array of shape (K,), of the same dtype
        Log of the weighted densities at the means.
    noise, tails : arrays of shape (1,) and (K, 5), float64
        As of :class:`NaturalArrays`.
    """

    centre: Array
    inverse_scale: Array
    means: Array
    factors: Array
    shifts: Array
    heights: Array
    noise: Array
    tails: Array = field(default_factory=lambda: np.empty(0))


class WhitenedSums(NamedTuple):
    """Sums that the whitened loop adds to, in place.

    Attributes
    ----------
    n_k, first, second : arrays of shape (K,), (K, D) and (K, D, D), float64
        Moments about the means; of ``second`` only the lower triangle is written.
    """

    n_k: Array
    first: Array
    second: Array

    @classmethod
    def zero(cls, k: int, d: int) -> WhitenedSums:
        """Sums of no rows."""
        return cls(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)))


class CorrelatedArrays(NamedTuple):
    """Gaussians as the loop over rows with gaps takes them, in the data's own units.

    Attributes
    ----------
    means : array of shape (K, D), float64
    precisions : array of shape (K, D, D), or (1, D, D) where all share one, float64
    heights : array of shape (K,), float64
        Log of the weighted densities at the means.
    """

    means: Array
    precisions: Array
    heights: Array


class SeparateArrays(NamedTuple):
    """Gaussians without correlations as the loop over rows with gaps takes them.

    Attributes
    ----------
    centre : array of shape (D,), float64
        ``z = x - centre``; 0 where a feature is missing.
    coefficients : array of shape (K, 3 D), float64
        Coefficients of squares of z, of z, and of 1 for each feature that is there, in the log
        densities.
    constant : array of shape (K,), float64
        Constant term of each.
    """

    centre: Array
    coefficients: Array
    constant: Array


class MeasuredArrays(NamedTuple):
    """Gaussians as the loops over rows with measurement noise take them.

    Attributes
    ----------
    means : array of shape (K, D), float64
    matrices : array of shape (K, D, D), (1, D, D) or (K, D), float64
        Covariances of each or of all, or variances.
    heights : array of shape (K,), float64
        Logs of the weights.
    """

    means: Array
    matrices: Array
    heights: Array
