"""Held out: log-likelihoods of rows that a mixture was not fitted to.

Where the sample is a part of all rows, the other rows are held out, and one pass over all rows
gives their log-likelihood. Where the sample is all rows, each fold is held out from a fit to the
others (Stone 1974, Cross-validatory choice and assessment of statistical predictions). The hash
of a row's index decides where it belongs, so that the order of rows does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.rows import rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starts.climbs import Climber
from daskgmm.kernel import Float64Array, Mixture, hash_rows, log_density

__all__ = ["N_FOLDS", "HeldOut"]

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Log-likelihood per held-out row, and its standard error.

    Attributes
    ----------
    per_row : float
        Mean log density, in nats.
    densities : array of shape (n,)
        Log densities of the sample's rows, whose variance gives the standard error.
    weight_of : array of shape (n,) or None
        Weights of these rows; None where each counts once.
    weight : float
        Sum of the weights of the held-out rows.
    """

    per_row: float
    densities: Float64Array
    weight_of: Float64Array | None
    weight: float

    @property
    def error(self) -> float:
        """Standard error of ``per_row``."""
        return self._error_of(self.densities)

    def gain_over(self, other: Self) -> tuple[float, float]:
        """Gain per row over another mixture on the same rows, and its standard error.

        Differences row by row spread less than the log densities, so that the gain has a far
        smaller error than either log-likelihood.
        """
        return self.per_row - other.per_row, self._error_of(self.densities - other.densities)

    def _error_of(self, values: Float64Array) -> float:
        spread = np.sqrt(weighted.variance(values, self.weight_of))
        return float(spread / np.sqrt(self.weight))

    @classmethod
    def outside(cls, scan: Scan, mixture: Mixture, of_all: float) -> Self:
        """Held-out rows are those outside the sample that ``mixture`` was fitted to.

        Parameters
        ----------
        scan : Scan
        mixture : Mixture
        of_all : float
            Log-likelihood per row of all rows.
        """
        sample = scan.sample
        densities = log_density(sample.x, mixture, sample.measurement_noise)
        inside, rest = sample.total_weight, scan.weight - sample.total_weight
        of_sample = inside * weighted.mean(densities, sample.weight)
        return cls((scan.weight * of_all - of_sample) / rest, densities, sample.weight, rest)

    @classmethod
    def in_folds(cls, sample: Climber, mixture: Mixture, seed: int) -> Self:
        """Held-out rows are all rows in folds, each scored under a fit to the other folds.

        Parameters
        ----------
        sample : Climber
        mixture : Mixture
            Fit to the sample, from which the fits without a fold start; used where one fails.
        seed : int
            Seed of the hash that assigns rows to folds.
        """
        block = sample.rows.block
        fold_of = hash_rows(0, len(block), seed) % np.uint64(N_FOLDS)
        densities = np.empty(len(block))
        for fold in np.unique(fold_of):
            is_held = fold_of == fold
            rest = block.take(~is_held)
            fitted = mixture
            if len(rest) > mixture.n_components:
                rows = rows_of_sample(rest, sample.rows.n_threads)
                fitted = Climber(rows, sample.prior).finished(mixture)
            held = block.take(is_held)
            densities[is_held] = log_density(held.x, fitted, held.measurement_noise)
        per_row = weighted.mean(densities, block.weight)
        return cls(per_row, densities, block.weight, block.total_weight)
