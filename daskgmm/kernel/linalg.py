"""Factor and invert covariance matrices, with errors that name the component."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from daskgmm.errors import SingularComponentError
from daskgmm.kernel.block import Float64Array

__all__ = ["from_lower", "positive_roots", "precision_factors", "scatter_matrix"]

_REMEDY = "lower n_components or raise reg_covar"


def from_lower(matrices: Float64Array) -> Float64Array:
    """Symmetric matrices (K, D, D) of which what is on and below the diagonal is given."""
    lower = np.tril(matrices)
    whole: Float64Array = lower + np.swapaxes(np.tril(lower, -1), 1, 2)
    return whole


def precision_factors(covariances: Float64Array, *, shared: bool = False) -> Float64Array:
    """Upper triangular P_k with ``inv(covariances[k]) = P_k @ P_k.T``, shape (K, D, D).

    Matrices are factored at unit diagonal, so that features of very different units
    lose no digits to each other, and one that is singular to rounding in any unit is
    found.

    Raises
    ------
    SingularComponentError
        If a matrix is not positive definite to working precision; ``error.component`` is the
        first such, or -1 if the covariance is ``shared``.
    """
    names = [-1] if shared else range(len(covariances))
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    if not 0 < variances.min() <= variances.max() < np.inf:  # also False if one is NaN
        for name, of_component in zip(names, variances, strict=True):
            positive_roots(of_component, name)
    scale = np.sqrt(variances)
    correlations = covariances / scale[:, :, None] / scale[:, None, :]
    try:
        lower = np.linalg.cholesky(correlations)
    except np.linalg.LinAlgError:
        lower = np.stack([_cholesky_or_zero(correlation) for correlation in correlations])
    # Pivots of a correlation matrix are 1 - R^2: below D eps they are rounding.
    d = covariances.shape[1]
    pivots = np.square(np.diagonal(lower, axis1=1, axis2=2)).min(axis=1)
    for name, pivot in zip(names, pivots, strict=True):
        if pivot <= d * np.finfo(np.float64).eps:
            raise SingularComponentError(
                f"{_whose(name)} is singular: its features are linearly dependent; {_REMEDY}",
                name,
            )
    inverses: Float64Array = np.stack([linalg.lapack.dtrtri(one, lower=1)[0] for one in lower])
    return np.ascontiguousarray(np.swapaxes(inverses / scale[:, None, :], 1, 2))


def _cholesky_or_zero(correlation: Float64Array) -> Float64Array:
    """Lower Cholesky factor of a matrix (D, D); zeros if it has none."""
    try:
        return np.asarray(np.linalg.cholesky(correlation), np.float64)
    except np.linalg.LinAlgError:
        return np.zeros_like(correlation)


def positive_roots(variances: Float64Array, component: int = -1) -> Float64Array:
    """Square roots of variances that must all be positive.

    Raises
    ------
    SingularComponentError
        If one is zero, negative or not finite; ``error.component`` is ``component``.
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
