"""Completed: rows with missing features, and what each component expects these to be.

Where a row has observed features o and missing ones m, a Gaussian of precision L expects

    E[x_m - mu_m | x_o] = -inv(L_mm) L_mo (x_o - mu_o),  Cov[x_m | x_o] = inv(L_mm)

which are S_mo inv(S_oo) (x_o - mu_o) and S_mm - S_mo inv(S_oo) S_om (Ghahramani and Jordan 1994).
The precision is the same for all patterns of missing features, so that rows of different patterns
share the products by it; only matrices of missing features differ. But it cancels where features
are nearly sums of others: then each pattern is worked on by the factor of its own covariance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Sums
from daskgmm.kernel.components.gap_loops import GapLoop

__all__ = [
    "Completed",
    "CompletesRows",
    "Expected",
    "Filler",
    "Lift",
    "inverses_of",
    "scattered",
]


class Expected(ABC):
    """Some rows, n of them, as the K components expect them to be given what was measured.

    Attributes
    ----------
    log_densities : ndarray of shape (K, n)
        Of what was measured of each row under each component, in nats.
    """

    log_densities: Float64Array

    @abstractmethod
    def deviations(self, k: int) -> Float64Array:
        """Expected deviations from the mean of component k, (D, n)."""

    @abstractmethod
    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        """Add ``sum_i r_i Cov_i`` of component k to second moments, in place.

        ``Cov_i`` is the covariance that what was measured leaves of row i.
        """


class Completed(Expected):
    """Rows of which some features were measured, and what the others are expected to be."""

    @abstractmethod
    def coloured(self, k: int, white: Float64Array) -> Float64Array:
        """Deviations (D, n) of the conditional covariances, of ``white`` (D, n); 0 where observed."""


class Filler(Protocol):
    """What is known of the patterns of some rows, from which their rows are completed."""

    def completed(self, x_t: Float64Array, span: slice) -> Completed:
        """The rows ``span`` of those it was made for, (D, n), in which NaN is missing."""
        ...


class Lift(Protocol):
    """What turns sums of rows of one pattern, of their observed features, into those of all."""

    def of(self, sums: Sums) -> dict[str, Float64Array]:
        """Expected sums of all features about the means, from sums of some about theirs."""
        ...


class CompletesRows(ABC):
    """Components that have a density of the features that a row has, and expect the others."""

    fewest_of_pattern: ClassVar[int] = 64
    """Rows of a grain from which on a pattern is worth a pass over its observed features."""

    @abstractmethod
    def fillers(self, gaps: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], Filler]]:
        """Groups of rows by index, each row in one, and what completes them.

        ``gaps`` (n, D) says which features of each row are missing; of each row one or more are,
        and not all.
        """
        ...

    @abstractmethod
    def gap_loop(self, log_weights: Float64Array) -> GapLoop | None:
        """The compiled loop over rows with gaps; None where it would lose digits.

        Asked only where there are loops.
        """
        ...

    @abstractmethod
    def lift(self, observed: NDArray[np.intp], missing: NDArray[np.intp]) -> Lift:
        """For rows that have the observed features alone."""
        ...


def inverses_of(
    precisions: Float64Array, missing: NDArray[np.intp]
) -> tuple[Float64Array, Float64Array]:
    """Factors R (P, M, M) with ``R^T R = inv(L_mm)`` of each pattern, and ``log |L_mm|``, (P,).

    Parameters
    ----------
    precisions : ndarray of shape (D, D)
    missing : ndarray of int, shape (P, M)
    """
    lower = np.linalg.cholesky(precisions[missing[:, :, None], missing[:, None, :]])
    log_det = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    return np.linalg.inv(lower), log_det


def scattered(matrices: Float64Array, missing: NDArray[np.intp], d: int) -> Float64Array:
    """Sum of matrices (P, M, M), each at the rows and columns of its missing features, (D, D)."""
    places = (missing[:, :, None] * d + missing[:, None, :]).ravel()
    total = np.bincount(places, matrices.ravel(), d * d).astype(np.float64, copy=False)
    return total.reshape(d, d)
