"""Statistics: what an E-step leaves of its rows; what travels from worker to driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.kernel.families import Family, family_named
from daskgmm.kernel.families.base import Float64Array

__all__ = ["Statistics", "add_rows"]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sufficient statistics of rows under a mixture, about given centres.

    Additive: the statistics of two sets of rows are the sum of theirs. Moments are
    taken about centres near the components, never raw, because raw second moments
    lose all digits once ``|mean| / sigma`` nears ``1 / sqrt(eps)``.

    Parameters
    ----------
    n_rows : int
    log_likelihood : float
        Sum over rows of the log density, in nats.
    n_k : array of shape (K,)
        Sum of responsibilities.
    first : array of shape (K, D)
        ``sum r (x - centre_k)``.
    second : array of the family's shape
        ``sum r (x - centre_k)(x - centre_k)^T``, or of it the diagonal (diag), the
        trace (spherical), the sum over components (tied).
    centres : array of shape (K, D)
    covariance_type : str
    """

    n_rows: int
    log_likelihood: float
    n_k: Float64Array
    first: Float64Array
    second: Float64Array
    centres: Float64Array
    covariance_type: str

    @classmethod
    def zero(cls, centres: Float64Array, covariance_type: str) -> Self:
        """Statistics of no rows: the neutral element of ``+`` at these centres."""
        k, d = centres.shape
        shape = family_named(covariance_type).shape(k, d)
        return cls(0, 0.0, np.zeros(k), np.zeros((k, d)), np.zeros(shape), centres, covariance_type)

    @property
    def family(self) -> Family:
        """The covariance family that ``second`` belongs to."""
        return family_named(self.covariance_type)

    def __add__(self, other: Self) -> Self:
        """Statistics of both sets of rows.

        Raises
        ------
        ValueError
            If the two are about different centres or of different families;
            :meth:`recentre` one first.
        """
        same = self.centres is other.centres or np.array_equal(self.centres, other.centres)
        if not same or self.covariance_type != other.covariance_type:
            raise ValueError(
                "statistics about different centres or of different families do not add; "
                "recentre one of them first"
            )
        return type(self)(
            self.n_rows + other.n_rows,
            self.log_likelihood + other.log_likelihood,
            self.n_k + other.n_k,
            self.first + other.first,
            self.second + other.second,
            self.centres,
            self.covariance_type,
        )

    def recentre(self, centres: Float64Array) -> Self:
        """The same statistics about other centres, shape (K, D); an identity in exact arithmetic."""
        shift = centres - self.centres
        return type(self)(
            self.n_rows,
            self.log_likelihood,
            self.n_k,
            self.first - self.n_k[:, None] * shift,
            self.family.recentre(self.second, self.n_k, self.first, shift),
            centres,
            self.covariance_type,
        )


def add_rows(total: Statistics, x_t: Float64Array, resp: Float64Array) -> None:
    """Add to the moments in ``total``, in place, rows (D, n) of responsibilities (K, n).

    For arrays that the caller has made and nobody else sees; rows and log-likelihood
    are the caller's to count.
    """
    total.n_k[:] += resp.sum(axis=1)
    deviations = np.empty_like(x_t)
    for k, r in enumerate(resp):
        np.subtract(x_t, total.centres[k][:, None], out=deviations)
        total.first[k] += deviations @ r
        total.family.add_scatter(total.second, k, deviations, r)
