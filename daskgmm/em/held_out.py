"""Held out: what mixtures are worth on rows that they were not fitted to.

Where the sample is a part of all rows, the others are held out, and one pass says what they
are worth. Where it is all of them, they are held out in folds, each from a fit to the rest
(Stone 1974, Cross-validatory choice and assessment of statistical predictions). The hash of
its index decides where a row is, so that rows in any order are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.em.progressive import finished
from daskgmm.em.rows import rows_of_sample
from daskgmm.em.scan import Scan, hash_rows
from daskgmm.kernel import Float64Array, Mixture, Prior, log_density

__all__ = ["N_FOLDS", "HeldOut"]

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Log-likelihood per row of rows held out, and how well it is known.

    Attributes
    ----------
    per_row : float
        Mean log density, in nats.
    densities : array of shape (n,)
        Log densities of the sample's rows: how they spread tells the error.
    n_rows : int
        Rows held out.
    """

    per_row: float
    densities: Float64Array
    n_rows: int

    @property
    def error(self) -> float:
        """Standard error of ``per_row``."""
        return self._error_of(self.densities)

    def gain_over(self, other: Self) -> tuple[float, float]:
        """Gain per row over another, of the same rows, and its standard error.

        Of differences row by row: it is known far better than what is gained on.
        """
        return self.per_row - other.per_row, self._error_of(self.densities - other.densities)

    def _error_of(self, values: Float64Array) -> float:
        return float(values.std() / np.sqrt(self.n_rows))

    @classmethod
    def outside(cls, scan: Scan, mixture: Mixture, of_all: float) -> Self:
        """Of all rows but the sample, which a mixture was fitted to.

        Parameters
        ----------
        scan : Scan
        mixture : Mixture
        of_all : float
            Log-likelihood per row of all rows.
        """
        densities = log_density(scan.sample.x, mixture)
        n, rest = len(densities), scan.n_rows - len(densities)
        return cls((scan.n_rows * of_all - n * float(densities.mean())) / rest, densities, rest)

    @classmethod
    def in_folds(
        cls, scan: Scan, mixture: Mixture, prior: Prior, seed: int, n_threads: int
    ) -> Self:
        """Of a sample that is all rows, each fold under a fit to the others.

        Parameters
        ----------
        scan : Scan
        mixture : Mixture
            Fitted to the sample, from where the fits to folds begin; where one fails, it counts.
        prior : Prior
        seed : int
            Decides the folds.
        n_threads : int
        """
        fold_of = hash_rows(0, len(scan.sample), seed) % np.uint64(N_FOLDS)
        densities = np.empty(len(scan.sample))
        for fold in np.unique(fold_of):
            is_held = fold_of == fold
            rest = scan.sample.take(~is_held)
            fitted = mixture
            if len(rest) > mixture.n_components:
                fitted = finished(rows_of_sample(rest, n_threads), mixture, prior)
            densities[is_held] = log_density(scan.sample.x[is_held], fitted)
        return cls(float(densities.mean()), densities, len(densities))
