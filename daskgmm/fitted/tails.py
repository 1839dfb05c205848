"""Tails: degrees of freedom as an attribute of a fitted estimator, and its mixture from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskgmm.kernel import (
    Elliptical,
    Float64Array,
    Mixture,
    Noise,
    Students,
    components_named,
    gaussian_mixture,
)

__all__ = ["DEGREES", "attributes_of_tails", "mixture_of"]

DEGREES = "degrees_of_freedom_"
"""Attribute that only models of t components have."""


def attributes_of_tails(components: Elliptical) -> dict[str, Float64Array]:
    """The degrees of freedom, if there are any."""
    if not isinstance(components, Students):
        return {}
    return {DEGREES: np.array(components.degrees_of_freedom)}


def mixture_of(
    kind: str, parts: tuple[Any, Any, Any], attributes: Mapping[str, Any], noise: Noise | None
) -> Mixture:
    """A mixture from weights, means and covariances, and from attributes of an estimator."""
    law = components_named(kind)
    if not issubclass(law, Students) or DEGREES not in attributes:
        return gaussian_mixture(*parts, kind, noise)
    weights, means, covariances = parts
    return Mixture(weights, law(means, covariances, attributes[DEGREES]), noise)
