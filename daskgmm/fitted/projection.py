"""Projection: the map onto axes, or onto some of the features, as attributes of an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daskgmm.kernel import Affine, Float64Array

__all__ = ["PROJECTION_ATTRIBUTES", "attributes_of_projection", "projection_of", "said_of_dropped"]

_PARTS = ("shift", "scale", "matrix")

PROJECTION_ATTRIBUTES = ("projected_means_", *(f"projection_{part}_" for part in _PARTS))
"""Attributes that only models of projected rows have."""


def attributes_of_projection(projection: Affine, means: Float64Array) -> dict[str, Float64Array]:
    """Attributes of a model of projected rows, its means in the data's own units among them.

    Parameters
    ----------
    projection : Affine
    means : array of shape (K, d)
        Of the projected features.

    Returns
    -------
    dict
        :data:`PROJECTION_ATTRIBUTES`, and ``means_`` of shape (K, D).
    """
    parts = {f"projection_{part}_": np.array(getattr(projection, part)) for part in _PARTS}
    return {"means_": projection.back(means), "projected_means_": np.array(means), **parts}


def projection_of(attributes: Mapping[str, Any]) -> Affine | None:
    """The map onto the features that a model is of; None where they are the data's."""
    if "projection_matrix_" not in attributes:
        return None
    return Affine(*(attributes[f"projection_{part}_"] for part in _PARTS))


def said_of_dropped(projection: Affine | None, names: Sequence[str] | None) -> str:
    """For people, which features were constant and are left out; empty if none."""
    if projection is None or projection.matrix is None:
        return ""
    dropped = np.flatnonzero(~projection.matrix.any(axis=1))
    if len(dropped) == 0:
        return ""
    which = ", ".join(str(j) if names is None else repr(str(names[j])) for j in dropped[:5])
    more = ", ..." * (len(dropped) > 5)
    return f"constant column{'s' * (len(dropped) > 1)} left out: {which}{more}"
