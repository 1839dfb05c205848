"""Parameters of mixtures that were made elsewhere: given as arrays, or set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import COMPONENTS, Float64Array, Gaussians, Mixture, gaussian_mixture

__all__ = ["checked_mixture", "covariances_of_factors", "kind_of_shapes"]


def kind_of_shapes(n_components: int, n_features: int, shape: tuple[int, ...]) -> str:
    """The covariance type whose covariances have a shape.

    Raises
    ------
    ParameterError
        If none has, or two have for these numbers of components and features.
    """
    by_shape: dict[tuple[int, ...], str] = {}
    for kind, law in COMPONENTS.items():
        if not issubclass(law, Gaussians):
            continue
        if law.covariance_shape(n_components, n_features) == tuple(shape):
            # Of those that have one shape for other numbers, too, the first allows what others do.
            by_shape.setdefault(law.covariance_shape(n_components + 1, n_features + 2), kind)
    fitting = list(by_shape.values())
    if len(fitting) == 1:
        return fitting[0]
    of = f"{n_components} components and {n_features} features"
    if fitting:
        raise ParameterError(
            f"covariances of shape {tuple(shape)} for {of} can be {' or '.join(fitting)}: give "
            "covariance_type",
            "covariance_type",
        )
    raise ParameterError(f"covariances have shape {tuple(shape)}, which none has for {of}")


def checked_mixture(
    weights: Any, means: Any, covariances: Any, covariance_type: str | None
) -> Mixture:
    """A mixture of arrays from anywhere.

    Raises
    ------
    ParameterError
        If no mixture has them: shapes, weights that do not sum to 1, values that are not
        finite, covariances that are not positive definite.
    """
    try:
        w, m, c = (np.array(part, dtype=np.float64) for part in (weights, means, covariances))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"weights, means and covariances must be numbers: {error}") from error
    if m.ndim != 2 or w.shape != m.shape[:1] or 0 in m.shape:
        raise ParameterError(
            f"weights must have shape (K,) and means (K, D); got {w.shape} and {m.shape}"
        )
    if not (np.isfinite(w).all() and np.isfinite(m).all() and np.isfinite(c).all()):
        raise ParameterError("weights, means and covariances must be finite")
    if np.any(w < 0) or abs(w.sum() - 1.0) > 1e-6:
        raise ParameterError(f"weights must be at least 0 and sum to 1; they sum to {w.sum():g}")
    kind = covariance_type or kind_of_shapes(m.shape[0], m.shape[1], c.shape)
    mixture = gaussian_mixture(w, m, c, kind)
    try:
        mixture.check()
    except SingularComponentError as error:
        whose = f" of component {error.component}" if error.component >= 0 else ""
        raise ParameterError(
            f"the covariance{whose} is not positive definite; give covariances that are",
            "covariances",
        ) from error
    return mixture


def covariances_of_factors(factors: Any, covariance_type: str) -> Float64Array:
    """Covariances of scikit-learn's ``precisions_cholesky_``, of the covariance type's shape."""
    chol = np.asarray(factors, dtype=np.float64)
    if covariance_type in ("diag", "spherical"):
        found: Float64Array = 1.0 / np.square(chol)
        return found
    inverse = np.linalg.inv(chol)
    return np.swapaxes(inverse, -1, -2) @ inverse
