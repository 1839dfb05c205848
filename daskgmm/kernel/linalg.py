"""Factor and invert covariance matrices, with errors that name the component."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from daskgmm.errors import SingularComponentError
from daskgmm.kernel.families.base import Float64Array

__all__ = ["positive_roots", "precision_factor", "scatter_matrix"]

_REMEDY = "lower n_components or raise reg_covar"


def precision_factor(covariance: Float64Array, component: int = -1) -> Float64Array:
    """Upper triangular P with ``inv(covariance) = P @ P.T``, shape (D, D).

    The matrix is factored at unit diagonal, so that features of very different
    units lose no digits to each other, and one that is singular to rounding in any
    unit is found.

    Raises
    ------
    SingularComponentError
        If the matrix is not positive definite to working precision.
    """
    scale = positive_roots(np.diagonal(covariance), component)
    correlation = covariance / scale[:, None] / scale
    try:
        lower = linalg.cholesky(correlation, lower=True, check_finite=False)
    except linalg.LinAlgError:
        lower = None
    # Pivots of a correlation matrix are 1 - R^2: below D eps they are rounding.
    d = len(covariance)
    if lower is None or np.min(np.diagonal(lower)) ** 2 <= d * np.finfo(np.float64).eps:
        raise SingularComponentError(
            f"{_whose(component)} is singular: its features are linearly dependent; {_REMEDY}",
            component,
        )
    inverse = linalg.solve_triangular(lower, np.eye(d), lower=True, check_finite=False)
    return np.ascontiguousarray((inverse / scale).T)


def positive_roots(variances: Float64Array, component: int = -1) -> Float64Array:
    """Square roots of variances that must all be positive.

    Raises
    ------
    SingularComponentError
        If one is zero, negative or not finite.
    """
    bad = ~(variances > 0) | ~np.isfinite(variances)
    if np.any(bad):
        feature = int(np.argmax(bad))
        raise SingularComponentError(
            f"{_whose(component)} collapsed: variance {variances[feature]:.3g} "
            f"of feature {feature} is not positive; {_REMEDY}",
            component,
        )
    roots: Float64Array = np.sqrt(variances)
    return roots


def scatter_matrix(deviations: Float64Array, r: Float64Array) -> Float64Array:
    """``sum_i r_i d_i d_i^T``, exactly symmetric, shape (D, D).

    One factor ``sqrt(r) d`` times its own transpose lets BLAS do half the work (syrk).
    """
    half = deviations * np.sqrt(r)
    product: Float64Array = half @ half.T
    return product


def _whose(component: int) -> str:
    return "the covariance" if component < 0 else f"the covariance of component {component}"
