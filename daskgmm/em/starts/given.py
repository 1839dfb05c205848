"""Given: the parts of a start that the user gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import (
    Affine,
    Elliptical,
    Float64Array,
    Mixture,
    components_named,
    gaussian_mixture,
)

__all__ = ["NOTHING_GIVEN", "GivenStart"]


@dataclass(frozen=True, eq=False)
class GivenStart:
    """The parts of the start that the user gave; the initialiser makes those that are None.

    Attributes
    ----------
    weights : array of shape (K,) or None
    means : array of shape (K, D) or None
    covariances : array of the kind's shape or None
    """

    weights: Float64Array | None = None
    means: Float64Array | None = None
    covariances: Float64Array | None = None

    @classmethod
    def checked(
        cls, kind: str, shape: tuple[int, int], weights: Any, means: Any, precisions: Any
    ) -> Self:
        """Check ``weights_init``, ``means_init`` and ``precisions_init`` before any row is read.

        Parameters
        ----------
        kind : str
            Kind of the components.
        shape : tuple
            ``(n_components, n_features)``.
        weights, means, precisions : array-like or None

        Raises
        ------
        ParameterError
            If a part does not have the mixture's shape or is not finite, if weights are negative
            or do not sum to 1, or if a precision is not positive definite.
        """
        law, (k, d) = components_named(kind), shape
        assert issubclass(law, Elliptical)
        law = law.family()
        of = f"{k} components, {d} features and {law.kind} covariances"
        part = _part("weights_init", weights, (k,), of)
        if part is not None and (np.any(part < 0) or abs(part.sum() - 1.0) > 1e-6):
            raise ParameterError(
                f"weights_init must be at least 0 and sum to 1; they sum to {part.sum():g}",
                "weights_init",
            )
        inverse = _part("precisions_init", precisions, law.covariance_shape(k, d), of)
        try:
            covariances = None if inverse is None else law.inverted(inverse)
        except SingularComponentError as error:
            which = "" if error.component < 0 else f"[{error.component}]"
            raise ParameterError(
                f"precisions_init{which} is not positive definite; give inverse covariances",
                "precisions_init",
            ) from error
        return cls(part, _part("means_init", means, (k, d), of), covariances)

    @property
    def is_empty(self) -> bool:
        """Whether no part is given."""
        return all(part is None for part in (self.weights, self.means, self.covariances))

    @property
    def complete(self) -> bool:
        """Whether weights, means and covariances are all given."""
        return not any(part is None for part in (self.weights, self.means, self.covariances))

    def through(self, affine: Affine, kind: str) -> GivenStart:
        """The same parts for rows that are put through a map; covariances by single features.

        Raises
        ------
        ParameterError
            If there are covariances, and the map projects rows.
        """
        if self.covariances is not None and affine.projects:
            raise ParameterError(
                "precisions_init is of all features, and some are constant; leave it out, or drop "
                "these columns from the data and from precisions_init",
                "precisions_init",
            )
        if self.means is None and self.covariances is None:
            return self
        law = components_named(kind)
        assert issubclass(law, Elliptical)
        law = law.family()
        means, covariances = self.means, self.covariances
        if covariances is not None:
            zero = np.zeros((len(covariances), affine.n_in))
            covariances = law(zero, covariances).scaled(affine.factors).covariances
        if means is not None:
            means = affine.of(means)
        return GivenStart(self.weights, means, covariances)

    def mixture(self, kind: str) -> Mixture | None:
        """The start, if it is complete; None otherwise."""
        if self.weights is None or self.means is None or self.covariances is None:
            return None
        return gaussian_mixture(self.weights, self.means, self.covariances, kind)

    def put_into(self, mixture: Mixture) -> Mixture:
        """The mixture with the given parts in place of its own."""
        if self.is_empty:
            return mixture
        components = mixture.components
        assert isinstance(components, Elliptical)
        gaussians = components.family()(
            mixture.means if self.means is None else self.means,
            mixture.covariances if self.covariances is None else self.covariances,
        )
        weights = mixture.weights if self.weights is None else self.weights
        return Mixture(weights, components.with_gaussians(gaussians))


NOTHING_GIVEN = GivenStart()
"""A start of which the initialiser makes every part."""


def _part(name: str, value: Any, shape: tuple[int, ...], of: str) -> NDArray[np.float64] | None:
    if value is None:
        return None
    try:
        part = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be numbers: {error}", name) from error
    if part.shape != shape:
        raise ParameterError(f"{name} must have shape {shape} for {of}; got {part.shape}", name)
    if not np.isfinite(part).all():
        raise ParameterError(f"{name} must be finite", name)
    return part
