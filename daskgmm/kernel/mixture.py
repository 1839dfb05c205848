"""Mixture: the parameters of a Gaussian mixture, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel.families import Family, family_named

__all__ = ["Mixture", "n_parameters"]

Float64Array = NDArray[np.float64]


def _frozen(name: str, value: Any) -> Float64Array:
    array = np.array(value, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ParameterError(f"{name} must be finite; got {array!r}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights, means and covariances of K Gaussian components in D dimensions.

    Parameters
    ----------
    weights : array of shape (K,)
        Positive or zero, summing to 1.
    means : array of shape (K, D)
        In the data's own units.
    covariances : array
        Full (K, D, D), tied (D, D), diag (K, D) or spherical (K,), squared units
        of the data.
    covariance_type : str
        Name of the family, a key of :data:`daskgmm.kernel.families.FAMILIES`.

    Raises
    ------
    ParameterError
        If shapes, values or the family's name are wrong.
    """

    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    covariance_type: str

    def __post_init__(self) -> None:
        family = family_named(self.covariance_type)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, _frozen(name, getattr(self, name)))
        if self.means.ndim != 2:
            raise ParameterError(
                f"means must be (n_components, n_features); got {self.means.shape}"
            )
        k, d = self.means.shape
        if self.weights.shape != (k,):
            raise ParameterError(f"weights must be of shape ({k},); got {self.weights.shape}")
        if np.any(self.weights < 0) or abs(self.weights.sum() - 1.0) > 1e-6:
            raise ParameterError(
                f"weights must be at least 0 and sum to 1; got {self.weights.tolist()}"
            )
        expected = family.shape(k, d)
        if self.covariances.shape != expected:
            raise ParameterError(
                f"{family.name} covariances must be of shape {expected}; "
                f"got {self.covariances.shape}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays lose their read-only flag in a pickle: build anew.
        return (type(self), (self.weights, self.means, self.covariances, self.covariance_type))

    @property
    def family(self) -> Family:
        """The covariance family, the one place that knows the covariances' shape."""
        return family_named(self.covariance_type)

    @property
    def n_components(self) -> int:
        """K."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @cached_property
    def factors(self) -> Float64Array:
        """Factors of the precisions, of the family's shape; see :class:`Family`.

        Raises
        ------
        SingularComponentError
            If a covariance is not positive definite.
        """
        return self.family.factor(self.covariances)

    @cached_property
    def log_heights(self) -> Float64Array:
        """``log w_k + log N(mu_k | mu_k, Sigma_k)``, the weighted densities at the means, (K,).

        A weight of 0 gives -inf. Raises as :attr:`factors`.
        """
        k, d = self.n_components, self.n_features
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        heights: Float64Array = (
            log_weights + self.family.log_det(self.factors, k, d) - 0.5 * d * np.log(2.0 * np.pi)
        )
        return heights

    @property
    def n_parameters(self) -> int:
        """See :func:`n_parameters`."""
        return n_parameters(self.covariance_type, self.n_components, self.n_features)


def n_parameters(covariance_type: str, k: int, d: int) -> int:
    """Free parameters of a mixture: K - 1 weights, K D means and the family's covariances."""
    return (k - 1) + k * d + family_named(covariance_type).n_parameters(k, d)
