"""Mixture: weights and components, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import Components, Gaussians, components_named
from daskgmm.kernel.components.base import frozen

__all__ = ["Mixture", "count_parameters", "gaussian_mixture"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights and K components of one kind in D features.

    Parameters
    ----------
    weights : array of shape (K,)
        Positive or zero, summing to 1.
    components : Components

    Raises
    ------
    ParameterError
        If the weights have another shape, are negative or do not sum to 1.
    """

    weights: Float64Array
    components: Components

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", frozen("weights", self.weights))
        k = self.components.n_components
        if self.weights.shape != (k,):
            raise ParameterError(f"weights must be of shape ({k},); got {self.weights.shape}")
        if np.any(self.weights < 0) or abs(self.weights.sum() - 1.0) > 1e-6:
            raise ParameterError(
                f"weights must be at least 0 and sum to 1; got {self.weights.tolist()}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable, so the object is built anew.
        return (type(self), (self.weights, self.components))

    @property
    def kind(self) -> str:
        """Kind of the components, a key of :data:`daskgmm.kernel.COMPONENTS`."""
        return self.components.kind

    @property
    def means(self) -> Float64Array:
        """Locations of the components, (K, D), in the data's own units."""
        return self.components.locations

    @property
    def covariances(self) -> Float64Array:
        """Covariances, of the kind's shape, in squared units of the data.

        Raises
        ------
        TypeError
            If the components are not Gaussians.
        """
        if not isinstance(self.components, Gaussians):
            raise TypeError(f"{self.kind} components have no array of covariances")
        return self.components.covariances

    @property
    def n_components(self) -> int:
        """K."""
        return self.components.n_components

    @property
    def n_features(self) -> int:
        """D."""
        return self.components.n_features

    @property
    def n_parameters(self) -> int:
        """Free parameters; see :func:`count_parameters`."""
        return count_parameters(self.kind, self.n_components, self.n_features)

    def check(self) -> None:
        """Raise SingularComponentError if a component has no density; see ``error.component``."""
        self.components.check()

    @cached_property
    def log_heights(self) -> Float64Array:
        """``log w_k`` plus the largest log density of each component, (K,).

        A weight of 0 gives -inf. Raises as :meth:`check`.
        """
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        heights: Float64Array = log_weights + self.components.log_peaks
        return heights

    def take(self, chosen: Any) -> Mixture:
        """The mixture of the ``chosen`` components, with weights that sum to 1."""
        weights = self.weights[chosen]
        return Mixture(weights / weights.sum(), self.components.take(chosen))


def gaussian_mixture(weights: Any, means: Any, covariances: Any, kind: str) -> Mixture:
    """A mixture of Gaussians from its arrays.

    Parameters
    ----------
    weights : array of shape (K,)
    means : array of shape (K, D)
    covariances : array
        Full (K, D, D), tied (D, D), diag (K, D) or spherical (K,).
    kind : str
        A key of :data:`daskgmm.kernel.COMPONENTS`.

    Raises
    ------
    ParameterError
        If shapes, values or the kind's name are wrong.
    """
    law = components_named(kind)
    if not issubclass(law, Gaussians):
        raise ParameterError(f"{kind} components are no Gaussians")
    return Mixture(weights, law(means, covariances))


def count_parameters(kind: str, k: int, d: int) -> int:
    """Free parameters of a mixture: K - 1 weights, and the components'."""
    return (k - 1) + components_named(kind).count_parameters(k, d)
