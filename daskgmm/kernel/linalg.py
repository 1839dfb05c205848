"""Factor and invert covariance matrices, with errors that name the component."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from daskgmm.errors import SingularComponentError
from daskgmm.kernel.block import Float64Array

__all__ = ["from_lower", "positive_roots", "precision_factors", "scatter_matrix"]

_REMEDY = "lower n_components or raise reg_covar"


def from_lower(matrices: Float64Array) -> Float64Array:
    """Symmetric matrices (..., D, D) of which what is on and below the diagonal is given."""
    whole: Float64Array = np.tril(matrices)
    whole += np.swapaxes(np.tril(matrices, -1), -1, -2)
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
    # In C order: transposed, rows are columns, as LAPACK takes them, and it works in place.
    factors: Float64Array = np.divide(covariances, scale[:, :, None], order="C", dtype=np.float64)
    factors /= scale[:, None, :]
    for correlation in factors:
        _, info = linalg.lapack.dpotrf(correlation.T, lower=1, overwrite_a=1)
        if info > 0:  # it has no factor
            correlation[...] = 0.0
    # Pivots of a correlation matrix are 1 - R^2: below D eps they are rounding.
    d = covariances.shape[1]
    pivots = np.square(np.diagonal(factors, axis1=1, axis2=2)).min(axis=1)
    for name, pivot in zip(names, pivots, strict=True):
        if not pivot > d * np.finfo(np.float64).eps:  # NaN is none
            raise SingularComponentError(
                f"{_whose(name)} is singular: its features are linearly dependent; {_REMEDY}",
                name,
            )
    for lower in factors:
        linalg.lapack.dtrtri(lower.T, lower=1, overwrite_c=1)
    factors /= scale[:, :, None]
    return factors


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
