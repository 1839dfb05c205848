"""Evaluate: labels, densities and scores of rows under a fitted mixture.

Every function here refuses NaN and infinity, naming the place: a label of a row
that has no density would be silent damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.drawn import uniform_of_rows
from daskgmm.em.finite import check_finite
from daskgmm.em.missing import Gaps, Missing, check_some_complete, left_out
from daskgmm.em.rows import Rows
from daskgmm.kernel import (
    Block,
    Float64Array,
    Mixture,
    Regression,
    conditional_moments,
    density_sums,
    imputed,
    labels,
    log_density,
    most_probable,
)
from daskgmm.kernel import probabilities as probabilities_of

__all__ = [
    "Score",
    "feature_means",
    "feature_moments",
    "imputed_rows",
    "label_rows",
    "log_densities",
    "of_present",
    "probabilities",
    "score_rows",
    "top_components",
    "with_rows_present",
]


@dataclass(frozen=True)
class Score:
    """Log-likelihood of rows and the criteria that follow from it. Additive.

    Criteria are in nats times two and lower is better. They take the sum of the weights for the
    number of rows, which is right where a weight says how often a row was seen.

    Attributes
    ----------
    n_rows : int
        Rows that were read, of whatever weight, without those that are left out for their gaps.
    weight : float
        Sum of the weights.
    log_likelihood : float
        Weighted sum of the log densities, in nats.
    log_decided : float
        Weighted sum of the log probabilities of each row's likeliest class.
    n_parameters : int
    """

    n_rows: int
    weight: float
    log_likelihood: float
    log_decided: float
    n_parameters: int

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            self.log_decided + other.log_decided,
            self.n_parameters,
        )

    @property
    def log_likelihood_per_row(self) -> float:
        """Mean log density, in nats."""
        return self.log_likelihood / self.weight

    @property
    def aic(self) -> float:
        """Akaike's information criterion, ``-2 l + 2 p``."""
        return -2.0 * self.log_likelihood + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Bayesian information criterion, ``-2 l + p log N`` (Schwarz 1978)."""
        return -2.0 * self.log_likelihood + self.n_parameters * float(np.log(self.weight))

    @property
    def icl(self) -> float:
        """Integrated completed likelihood, ``BIC - 2 sum log r_MAP`` (Biernacki et al. 2000)."""
        return self.bic - 2.0 * self.log_decided


def label_rows(block: Block, mixture: Mixture) -> NDArray[np.int64]:
    """Most probable component of each row of a block, or -1 for noise, shape (n_rows,)."""
    check_finite(block)
    return labels(block.x, mixture, block.measurement_noise)


def probabilities(block: Block, mixture: Mixture) -> Float64Array:
    """Probability of each of ``mixture.classes`` given each row of a block, (n_rows, classes)."""
    check_finite(block)
    return probabilities_of(block.x, mixture, block.measurement_noise)


def top_components(
    block: Block, mixture: Mixture, n: int
) -> tuple[NDArray[np.int64], Float64Array]:
    """The n most probable classes of each row and their probabilities, the likeliest first.

    Both are of shape (n_rows, n), or (n_rows, classes) where there are fewer.
    """
    check_finite(block)
    return most_probable(block.x, mixture, n, block.measurement_noise)


def log_densities(block: Block, mixture: Mixture) -> Float64Array:
    """Log density of each row of a block, in nats, shape (n_rows,)."""
    check_finite(block)
    return log_density(block.x, mixture, block.measurement_noise)


def feature_means(block: Block, given: Mixture, regression: Regression) -> Float64Array:
    """Mean of each missing feature given the block's, which are the observed ones, (n_rows, M)."""
    check_finite(block)
    return conditional_moments(block.x, given, regression)[0]


def feature_moments(block: Block, given: Mixture, regression: Regression) -> Float64Array:
    """:func:`feature_means`, and beside them the standard deviations, (n_rows, 2 M)."""
    check_finite(block)
    means, variances = conditional_moments(block.x, given, regression)
    return np.hstack([means, np.sqrt(variances)])


def imputed_rows(block: Block, mixture: Mixture, seed: int | None = None) -> NDArray[Any]:
    """The rows of a block with numbers in place of NaN, (n_rows, D).

    The numbers are means given what is there, or drawn by a seed and the index of each row. They
    have the dtype of the block if that is a float, and float64 otherwise. A row of NaN alone stays
    as it is.
    """
    block = replace(block, has_gaps=True)
    check_finite(block)
    if block.x.dtype.kind != "f":
        return block.x.astype(np.float64)
    uniform = None
    if seed is not None:
        uniform = uniform_of_rows(block.start, len(block), 1 + block.n_features, seed)
    return imputed(block.x, mixture, uniform)


def of_present(
    block: Block,
    function: Callable[..., NDArray[Any]],
    mixture: Mixture,
    fill: float,
    missing: Missing = "drop",
) -> NDArray[Any]:
    """What ``function`` gives for each row of a block; ``fill`` for rows left out for their gaps.

    Booleans come as int8, which has room for ``fill``.
    """
    block, out = with_rows_present(block, mixture, missing)
    found = _with_room(function(block, mixture))
    if out is not None:
        found[out] = fill
    return found


def with_rows_present(
    block: Block, mixture: Mixture, missing: Missing
) -> tuple[Block, NDArray[np.intp] | None]:
    """The block with numbers in place of rows that are left out, and which these are.

    Such rows are filled and not removed, so that row numbers in errors stay right.
    """
    if (some := block.gaps) is None:
        return block, None
    block, out = replace(block, has_gaps=missing == "em"), left_out(some, missing)
    if len(out) == 0:
        return block, None
    filled = block.x.copy()
    filled[out] = mixture.means[0]
    return replace(block, x=filled), out


def _with_room(found: NDArray[Any]) -> NDArray[Any]:
    return found.astype(np.promote_types(found.dtype, np.int8), copy=False)


def _score_of_grain(block: Block, mixture: Mixture) -> Score:
    check_finite(block)
    sums = density_sums(block, mixture)
    # A row that is left out for its gaps has got weight 0; without weights no row is left out.
    n_left_out = 0 if block.weight is None else Gaps.of(block).n_left_out
    return Score(len(block) - n_left_out, block.total_weight, *sums, mixture.n_parameters)


def score_rows(rows: Rows, mixture: Mixture) -> Score:
    """Score all rows in one pass; raises as :func:`daskgmm.kernel.e_step`, and if all have gaps."""
    found = rows.fold(_score_of_grain, mixture)
    check_some_complete(found.weight, rows.n_rows)
    return found
