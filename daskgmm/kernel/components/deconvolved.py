"""Deconvolved: rows with measurement noise, and what each component expects of the values behind.

A measured row x is v + e, v of a Gaussian with mean mu and covariance V, and e of N(0, S), where S is
known. With T = V + S,

    x ~ N(mu, T),  E[v - mu | x] = V inv(T) (x - mu),  Cov[v | x] = V - V inv(T) V

(Bovy, Hogg and Roweis 2011). Every row has an S of its own, and so its own T.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Expected
from daskgmm.kernel.components.noise_loops import NoiseLoop

__all__ = ["Deconvolves"]


class Deconvolves(ABC):
    """Components that have a density of rows with measurement noise, and expect the values behind."""

    @abstractmethod
    def deconvolved(
        self,
        x_t: Float64Array,
        variances_t: Float64Array,
        covariances_t: Float64Array | None = None,
    ) -> Expected:
        """Rows (D, n) as the components expect them to be without their noise.

        ``variances_t`` (D, n) are of independent noise, infinite where a value is missing;
        ``covariances_t`` (D, D, n) of correlated noise beside it, 0 there.
        """

    @abstractmethod
    def noise_loop(self, log_weights: Float64Array) -> NoiseLoop | None:
        """The compiled loop over rows with independent noise; None where it would lose digits.

        Asked only where there are loops.
        """

    @classmethod
    @abstractmethod
    def deconvolved_bytes(cls, k: int, d: int, *, is_correlated: bool) -> int:
        """Bytes that :meth:`deconvolved` takes for each row."""
