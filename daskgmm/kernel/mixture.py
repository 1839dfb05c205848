"""Mixture: weights and components, frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import Components, Elliptical, components_named
from daskgmm.kernel.components.base import frozen
from daskgmm.kernel.noise import Noise, Uniform

__all__ = ["NOISE", "Mixture", "count_parameters", "gaussian_mixture"]

NOISE = -1
"""Label of rows that are most probably noise."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights and K components of one kind in D features, and noise beside them if there is any.

    Parameters
    ----------
    weights : array of shape (K,)
        Positive or zero, summing to 1 with the weight of noise.
    components : Components
    noise : Noise, optional
        One more term of constant density: a row's is ``sum_k w_k f_k(x) + w_0 / V``.

    Raises
    ------
    ParameterError
        If the weights have another shape, are negative or do not sum to 1.
    """

    weights: Float64Array
    components: Components
    noise: Noise | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", frozen("weights", self.weights))
        k = self.components.n_components
        if self.weights.shape != (k,):
            raise ParameterError(f"weights must be of shape ({k},); got {self.weights.shape}")
        if np.any(self.weights < 0) or abs(self.weights.sum() + self.noise_weight - 1.0) > 1e-6:
            beside = "" if self.noise is None else f" with the weight {self.noise_weight} of noise"
            raise ParameterError(
                f"weights must be at least 0 and sum to 1{beside}; got {self.weights.tolist()}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable, so the object is built anew.
        return (type(self), (self.weights, self.components, self.noise))

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
        """Covariances or scale matrices, of the kind's shape, in squared units of the data.

        Raises
        ------
        TypeError
            If the components have none.
        """
        if not isinstance(self.components, Elliptical):
            raise TypeError(f"{self.kind} components have no array of covariances")
        return self.components.gaussians.covariances

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
        has_noise = self.noise is not None
        return count_parameters(self.kind, self.n_components, self.n_features, has_noise)

    @property
    def noise_weight(self) -> float:
        """Weight of noise; 0 where the mixture has none."""
        return 0.0 if self.noise is None else self.noise.weight

    @property
    def log_noise(self) -> float:
        """Log of the weighted density of noise, in nats; -inf where there is none."""
        return -np.inf if self.noise is None else self.noise.log_height

    @property
    def uniform(self) -> Uniform | None:
        """Density of noise; None where the mixture has none."""
        return None if self.noise is None else self.noise.uniform

    @property
    def classes(self) -> tuple[int, ...]:
        """What a row can be labelled: 0 to K - 1 and, where there is noise, -1 after these."""
        return (*range(self.n_components), *((NOISE,) if self.noise is not None else ()))

    @property
    def shares(self) -> Float64Array:
        """Weights of the components among themselves, (K,), summing to 1."""
        return self.weights if self.noise is None else self.weights / self.weights.sum()

    def check(self) -> None:
        """Raise SingularComponentError if a component has no density; see ``error.component``."""
        self.components.check()

    @cached_property
    def log_weights(self) -> Float64Array:
        """``log w_k``, (K,); -inf for a weight of 0."""
        with np.errstate(divide="ignore"):
            log_weights: Float64Array = np.log(self.weights)
        return log_weights

    @cached_property
    def log_heights(self) -> Float64Array:
        """``log w_k`` plus the largest log density of each component, (K,).

        A weight of 0 gives -inf. Raises as :meth:`check`.
        """
        heights: Float64Array = self.log_weights + self.components.log_peaks
        return heights

    @property
    def log_bound(self) -> float:
        """The largest log of a weighted density, of components at their peaks or of noise."""
        return max(float(self.log_heights.max()), self.log_noise)

    @property
    def probabilities_of_classes(self) -> Float64Array:
        """Weights of :attr:`classes`, in their order, summing to 1."""
        beside = [] if self.noise is None else [self.noise.weight]
        weights = np.append(self.weights, beside)
        shares: Float64Array = weights / weights.sum()
        return shares

    def sample(self, rng: np.random.Generator, counts: Any) -> Float64Array:
        """Draw so many rows of each class, (sum of counts, D), in the order of :attr:`classes`."""
        drawn = [self.components.sample(rng, k, counts[k]) for k in range(self.n_components)]
        if self.noise is not None:
            drawn.append(self.noise.uniform.sample(rng, counts[-1]))
        return np.vstack(drawn)

    def take(self, chosen: Any) -> Mixture:
        """The mixture of the ``chosen`` components and of noise, with weights that sum to 1."""
        weights = self.weights[chosen]
        total = weights.sum() + self.noise_weight
        noise = None
        if self.noise is not None:
            noise = replace(self.noise, weight=float(self.noise.weight / total))
        return Mixture(weights / total, self.components.take(chosen), noise)

    def with_noise(self, uniform: Uniform | None, weight: float) -> Mixture:
        """The mixture with noise of a density and a weight; without any for None."""
        if uniform is None:
            return self if self.noise is None else Mixture(self.shares, self.components)
        return Mixture(self.shares * (1.0 - weight), self.components, Noise(weight, uniform))


def gaussian_mixture(
    weights: Any, means: Any, covariances: Any, kind: str, noise: Noise | None = None
) -> Mixture:
    """A mixture of Gaussians from its arrays; of t components, one to start from.

    Parameters
    ----------
    weights : array of shape (K,)
    means : array of shape (K, D)
    covariances : array
        Of the kind's shape, as :meth:`Gaussians.covariance_shape` gives it.
    kind : str
        A key of :data:`daskgmm.kernel.COMPONENTS`.
    noise : Noise, optional

    Raises
    ------
    ParameterError
        If shapes, values or the kind's name are wrong.
    """
    law = components_named(kind)
    if not issubclass(law, Elliptical):
        raise ParameterError(f"{kind} components are no Gaussians")
    return Mixture(weights, law.begun(law.family()(means, covariances)), noise)


def count_parameters(kind: str, k: int, d: int, has_noise: bool = False) -> int:
    """Free parameters of a mixture: K - 1 weights, or K beside noise, and the components'."""
    return (k - 1) + has_noise + components_named(kind).count_parameters(k, d)
