"""Deconvolved: rows with measurement noise, and what each component expects of the values behind.

A measured row x is v + e, v of a Gaussian with mean mu and covariance V, and e of N(0, S), where S is
known and diagonal. With T = V + S,

    x ~ N(mu, T),  E[v - mu | x] = V inv(T) (x - mu),  Cov[v | x] = V - V inv(T) V

(Bovy, Hogg and Roweis 2011). Every row has an S of its own, and so its own T.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Expected

__all__ = ["Deconvolves"]


class Deconvolves(ABC):
    """Components that have a density of rows with measurement noise, and expect the values behind."""

    @abstractmethod
    def deconvolved(self, x_t: Float64Array, noise_t: Float64Array) -> Expected:
        """Rows (D, n) as the components expect them to be without their noise.

        ``noise_t`` (D, n) are variances, infinite where a value is missing.
        """
        ...

    @classmethod
    @abstractmethod
    def deconvolved_bytes(cls, k: int, d: int) -> int:
        """Bytes that :meth:`deconvolved` takes for each row."""
        ...
