"""Given: the parts of a start that the user gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import (
    Affine,
    Fixed,
    FixedParts,
    Float64Array,
    Gaussians,
    Mixture,
    gaussian_mixture,
    gaussians_named,
)

__all__ = ["NOTHING_GIVEN", "GivenStart"]


@dataclass(frozen=True, eq=False)
class GivenStart:
    """The parts of the start that the user gave; the initialiser makes those that are None or NaN.

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
        cls,
        kind: str,
        shape: tuple[int, int],
        parts: tuple[Any, Any, Any],
        fixed: FixedParts = FixedParts(),  # noqa: B008 (frozen)
    ) -> Self:
        """Check ``weights_init``, ``means_init`` and ``precisions_init`` before any row is read.

        Parameters
        ----------
        kind : str
            Kind of the components.
        shape : tuple
            ``(n_components, n_features)``.
        parts : tuple of array-like or None
            Weights, means and precisions.
        fixed : FixedParts
            Of a part of which it names some components, others may be NaN.

        Raises
        ------
        ParameterError
            If a part does not have the mixture's shape or is not finite, if weights are negative
            or do not sum to 1, or if a precision is not positive definite.
        """
        weights, means, precisions = parts
        law, (k, d) = gaussians_named(kind), shape
        of = f"{k} components, {d} features and {law.kind} covariances"
        part = _part("weights_init", weights, (k,), of, fixed.weights)
        if part is not None:
            _check_weights(part, fixed.weights)
        shape_of_one = law.covariance_shape(k, d)
        of_one = () if law.couples_covariances else fixed.covariances
        inverse = _part("precisions_init", precisions, shape_of_one, of, of_one)
        covariances = None if inverse is None else _inverted(law, inverse)
        return cls(part, _part("means_init", means, (k, d), of, fixed.means), covariances)

    @property
    def is_empty(self) -> bool:
        """Whether no part is given."""
        return all(part is None for part in (self.weights, self.means, self.covariances))

    @property
    def complete(self) -> bool:
        """Whether weights, means and covariances are all given."""
        return all(_is_whole(part) for part in (self.weights, self.means, self.covariances))

    @property
    def has_places(self) -> bool:
        """Whether all means are given."""
        return _is_whole(self.means)

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
        law = gaussians_named(kind)
        means, covariances = self.means, self.covariances
        if covariances is not None:
            open_ones = np.isnan(covariances)
            covariances = np.where(open_ones, 1.0, covariances)
            zero = np.zeros((len(covariances), affine.n_in))
            covariances = law(zero, covariances).scaled(affine.factors).covariances
            covariances = np.where(open_ones, np.nan, covariances)
        if means is not None:
            means = affine.of(means)
        return GivenStart(self.weights, means, covariances)

    def mixture(self, kind: str) -> Mixture | None:
        """The start, if it is complete; None otherwise."""
        if not self.complete:
            return None
        return gaussian_mixture(self.weights, self.means, self.covariances, kind)

    def put_into(self, mixture: Mixture) -> Mixture:
        """The mixture with the given parts in place of its own."""
        return Fixed(self.weights, self.means, self.covariances).put_into(mixture)


NOTHING_GIVEN = GivenStart()
"""A start of which the initialiser makes every part."""


def _is_whole(part: Float64Array | None) -> bool:
    return part is not None and not np.isnan(part).any()


def _part(
    name: str, value: Any, shape: tuple[int, ...], of: str, fixed: tuple[int, ...]
) -> NDArray[np.float64] | None:
    if value is None:
        return None
    try:
        part = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be numbers: {error}", name) from error
    if part.shape != shape:
        raise ParameterError(f"{name} must have shape {shape} for {of}; got {part.shape}", name)
    each = part.reshape(len(part), -1)
    is_given = np.asarray(np.isfinite(each).all(axis=1))
    is_open = np.asarray(np.isnan(each).all(axis=1))
    if not is_given.all() and not fixed:
        raise ParameterError(f"{name} must be finite", name)
    if not (is_given | is_open).all() or not is_given[list(fixed)].all():
        raise ParameterError(
            f"{name} must be finite, but for components that fixed does not name, which may be NaN "
            "throughout: they are found",
            name,
        )
    return part


def _check_weights(weights: Float64Array, fixed: tuple[int, ...]) -> None:
    total, of_fixed = np.nansum(weights), weights[list(fixed)].sum()
    is_whole = _is_whole(weights)
    if np.any(weights < 0) or (is_whole and abs(total - 1.0) > 1e-6):
        raise ParameterError(
            f"weights_init must be at least 0 and sum to 1; they sum to {total:g}", "weights_init"
        )
    if 0 < len(fixed) < len(weights) and (of_fixed if is_whole else total) >= 1.0:
        raise ParameterError(
            f"weights_init: the fixed ones sum to {of_fixed:g}, all that are given to {total:g}, and "
            "leave nothing for the other components; fix fewer, or give smaller ones",
            "weights_init",
        )


def _inverted(law: type[Gaussians], inverse: Float64Array) -> Float64Array:
    """Covariances of these precisions; NaN where these are."""
    known = ~np.isnan(inverse.reshape(len(inverse), -1)).any(axis=1)
    covariances = np.full_like(inverse, np.nan)
    try:
        covariances[known] = law.inverted(inverse[known])
    except SingularComponentError as error:
        which = "" if error.component < 0 else f"[{np.flatnonzero(known)[error.component]}]"
        raise ParameterError(
            f"precisions_init{which} is not positive definite; give inverse covariances",
            "precisions_init",
        ) from error
    return covariances
