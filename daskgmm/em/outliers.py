"""Outliers: rows that a mixture hardly explains, by a threshold that is chosen in one of two ways.

- A quantile of the log density of some rows: this share of these rows is below the threshold,
  whatever the rows are. Noise beside the components is left out of the density, because no density
  is below that of noise, so that all rows of noise would be alike.
- A probability, for the squared Mahalanobis distance to the component of greatest responsibility.
  For rows of a Gaussian component this distance has a chi-square distribution with D degrees of
  freedom. So the threshold follows from the probability without a read, and rows that are like the
  mixture are beyond it with about this probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from daskgmm.em.evaluate import label_rows, log_densities
from daskgmm.em.finite import check_finite
from daskgmm.em.lowest import quantile_of_rows
from daskgmm.em.rows import Rows
from daskgmm.errors import DataError, ParameterError
from daskgmm.kernel import Block, Float64Array, Gaussians, Mixture, squared_distances

__all__ = [
    "MEASURES",
    "Threshold",
    "are_outliers",
    "labels_of_inliers",
    "threshold_of_mixture",
    "threshold_of_rows",
]

OUTLIER_LABEL = -1
"""Label of outliers, which is that of noise."""


def component_densities(block: Block, mixture: Mixture) -> Float64Array:
    """Log density of each row under the components alone, without noise, in nats, (n_rows,)."""
    return log_densities(block, _without_noise(mixture))


@lru_cache(maxsize=4)  # it is asked for with every block
def _without_noise(mixture: Mixture) -> Mixture:
    return mixture.with_noise(None, 0.0)


def distances(block: Block, mixture: Mixture) -> Float64Array:
    """Squared Mahalanobis distance of each row to its most probable component, (n_rows,)."""
    check_finite(block)
    return squared_distances(block.x, mixture)


class Measure(NamedTuple):
    """What a threshold is compared with.

    Attributes
    ----------
    of : callable
        ``of(block, mixture)`` gives it for each row.
    is_within : callable
        ``is_within(values, threshold)`` says which rows are no outliers.
    """

    of: Callable[[Block, Mixture], Float64Array]
    is_within: Callable[[Float64Array, float], Any]


MEASURES: dict[str, Measure] = {
    "log_density": Measure(component_densities, np.greater_equal),
    "squared_distance": Measure(distances, np.less_equal),
}


@dataclass(frozen=True)
class Threshold:
    """What makes a row an outlier.

    Attributes
    ----------
    measure : str
        ``"log_density"``, that of the components without noise, in nats: rows below the threshold
        are outliers. Or
        ``"squared_distance"``, the squared Mahalanobis distance to the component of greatest
        responsibility: rows above the threshold are outliers.
    value : float
    share : float
        The quantile, or the probability, that was asked for.
    rank_error : float or None
        Largest difference that there can be between ``share`` and the share of the rows' weight
        that is below the threshold. None where a probability was asked for.
    """

    measure: str
    value: float
    share: float
    rank_error: float | None = None

    def marked(self, block: Block, mixture: Mixture) -> tuple[NDArray[np.bool_], Float64Array]:
        """Whether each row of a block is an outlier, and the measure that says so."""
        measure = MEASURES[self.measure]
        values = measure.of(block, mixture)
        # A row so far away that float64 has no square of its distance is within nothing.
        return ~measure.is_within(values, self.value), values


def threshold_of_rows(rows: Rows, mixture: Mixture, quantile: float) -> Threshold:
    """The threshold below which a share of rows lies, by their weight; it takes one pass.

    Raises
    ------
    DataError
        If so many rows are so far from all components that float64 has no log density for them.
    """
    found = quantile_of_rows(rows, mixture, component_densities, quantile)
    if not np.isfinite(found.value):
        raise DataError(
            f"{quantile:g} of the rows are so far from all components that their log density is "
            f"{found.value}; fit the model to such rows, or raise the quantile"
        )
    return Threshold("log_density", found.value, quantile, found.rank_error)


def threshold_of_mixture(mixture: Mixture, probability: float) -> Threshold:
    """The squared distance that rows of the mixture itself exceed with a probability.

    Raises
    ------
    ParameterError
        If the components are not Gaussians.
    """
    if not isinstance(mixture.components, Gaussians):
        raise ParameterError(
            "squared distances have a chi-square distribution only under Gaussians, and the model "
            "has t components; give a quantile of log densities",
            "probability",
        )
    value = float(chdtri(mixture.n_features, probability))
    return Threshold("squared_distance", value, probability)


def are_outliers(block: Block, mixture: Mixture, threshold: Threshold) -> NDArray[np.bool_]:
    """Whether each row of a block is beyond a threshold, shape (n_rows,)."""
    return threshold.marked(block, mixture)[0]


def labels_of_inliers(block: Block, mixture: Mixture, threshold: Threshold) -> NDArray[np.int64]:
    """Most probable component of each row of a block, and -1 for outliers, shape (n_rows,)."""
    found = label_rows(block, mixture)
    found[are_outliers(block, mixture, threshold)] = OUTLIER_LABEL
    return found


def check_no_noise(measurement_noise: object) -> None:
    """Refuse to mark outliers among rows with measurement noise.

    Raises
    ------
    ParameterError
    """
    if measurement_noise is not None:
        raise ParameterError(
            "mark_outliers and measurement_noise do not go together: outliers are told by one "
            "threshold for all rows, whose noise differs; leave one of them out",
            "mark_outliers",
        )
