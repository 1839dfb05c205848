"""Projections: what a model of projected features has beside the others; see models.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from daskgmm.errors import ModelFormatError, ParameterError
from daskgmm.kernel import Affine, DiagGaussians, Mixture
from daskgmm.storage.outputs.float_groups import FloatGroup
from daskgmm.storage.outputs.variables import Variable, text_variable
from daskgmm.storage.places.locations import Location

__all__ = [
    "AXES",
    "IS_PROJECTED",
    "OF_PROJECTED",
    "PROJECTED_MEANS",
    "axes",
    "back",
    "is_projected",
    "projected",
    "read_projection",
]

OF_PROJECTED = 2
"""``format_version`` of these models, if there is nothing else that older readers do not know."""
IS_PROJECTED = "is_projected"
"""Attribute of models of later versions that says whether they are."""

_PROJECTION = {
    "projection_shift": ("feature",),
    "projection_scale": ("feature",),
    "projection_matrix": ("feature", "axis"),
}
PROJECTED_MEANS = "projected_means"
AXES = {"feature": "axis", "other_feature": "other_axis"}
"""Dimensions of a model of projected features, by what they are called in others."""


def is_projected(attributes: Mapping[str, Any]) -> bool:
    """Whether a model's attributes say that it is of projected features."""
    if attributes.get("format_version") == OF_PROJECTED:
        return True
    return attributes.get(IS_PROJECTED) is True


def back(mixture: Mixture, projection: Affine) -> Mixture:
    """A mixture that has the means in the data's own units, and nothing else to say."""
    means = projection.back(mixture.means)
    return Mixture(mixture.shares, DiagGaussians(means, np.ones_like(means)))


def axes(mixture: Mixture, projection: Affine, names: list[str] | None) -> dict[str, Variable]:
    """Coordinate variables of the axes: where these are features, the names, or else indices."""
    every = {dim for dims in mixture.components.dimensions.values() for dim in dims}
    kept = projection.selected
    about = {"long_name": "principal axis" if kept is None else "feature"}
    values = np.arange(mixture.n_features) if kept is None else kept
    return {
        name: Variable((name,), values, about)
        if names is None or kept is None
        else text_variable((name,), [names[j] for j in kept], **about)
        for dim, name in AXES.items()
        if dim in every
    }


def projected(
    variables: Mapping[str, Variable], mixture: Mixture, projection: Affine
) -> dict[str, Variable]:
    """Parameters along axes, means along features as well, and the projection."""
    found = {
        PROJECTED_MEANS if name == "means" else name: replace(
            variable, dims=tuple(AXES.get(dim, dim) for dim in variable.dims)
        )
        for name, variable in variables.items()
    }
    means = {"long_name": "mean of the component, in units of the data"}
    found["means"] = Variable(("component", "feature"), projection.back(mixture.means), means)
    for name, dims in _PROJECTION.items():
        values = getattr(projection, name.removeprefix("projection_"))
        found[name] = Variable(dims, values, {"long_name": name.replace("_", " ")})
    return found


def read_projection(path: str | os.PathLike[str], mixture: Mixture) -> Affine | None:
    """Read the map onto the features that a model is of, as :func:`read_model` reads the rest.

    Returns
    -------
    Affine or None
        None where these are the features of the data.

    Raises
    ------
    ModelFormatError
        If it does not lead to the mixture's features, or is no map.
    NotFoundError, DamagedDataError, StorageError
        As :func:`read_model`.
    """
    group = FloatGroup(Location.parse(path), "model")
    if not is_projected(group.attributes):
        return None
    shapes = {name: group.member(name).shape for name in _PROJECTION}
    d = shapes["projection_shift"][:1]
    if list(shapes.values()) != [d, d, (*d, mixture.n_features)]:
        raise ModelFormatError(
            f"{group.name} has a projection of shapes {shapes}, which does not lead to "
            f"{mixture.n_features} features; was it edited?"
        )
    try:
        return Affine(*(group.values(name) for name in _PROJECTION))
    except ParameterError as error:
        raise ModelFormatError(f"{group.name} holds no valid projection: {error}") from error
