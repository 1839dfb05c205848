"""Models: a fitted mixture as a small Zarr group that any Zarr reader can open.

The group holds these arrays, all with ``dimension_names``, so that xarray opens it as a Dataset:

``weights`` (component,), ``means`` (component, feature)
    In float64; means and covariances in the data's own units.
``covariances``
    Of the shape that ``covariances_`` has in scikit-learn, such as (component, feature,
    other_feature) for full. The second axis of features is called ``other_feature``, as xarray wants
    dimensions of different names.
``component``, ``feature``, and where it is a dimension ``other_feature``
    Coordinate variables: 0 to K - 1, and the names of the features as text, or 0 to D - 1 where
    the data had none.
``units`` (feature,)
    Text, where the record has ``feature_units``.
``statistics_n_k``, ``statistics_first``, ``statistics_second``, ``statistics_centres``
    Where the model keeps what an update goes on from; the attribute ``statistics`` has the rest.

A model of projected features has ``format_version`` 2 and these arrays as well:

``projection_shift`` (feature,), ``projection_scale`` (feature,), ``projection_matrix`` (feature, axis)
    Rows ``x`` are projected to ``z = (x - shift) @ matrix``, of which the mixture is, and back to
    ``z @ matrix.T * scale ** 2 + shift``.
``projected_means`` (component, axis)
    Means after that; ``means`` are these in the data's own units. ``covariances`` have the
    dimensions ``axis`` and ``other_axis`` in place of features, and statistics ``axis``, too. Where
    nothing but constant features was left out, axes are features, and coordinates are their names.

A model with noise has ``format_version`` 3, and its weights sum to less than 1. The attribute
``noise`` has the rest: its ``weight`` and ``log_density``, the logarithm of a density that is
the same for all rows, and ``minimum`` and ``maximum`` of the box that it is drawn from. The
attribute ``is_projected`` says there, and in later versions, whether it is of projected features.

A model of t components has ``format_version`` 4, scale matrices for ``covariances``, the array
``degrees_of_freedom`` (component,), and the attribute ``tails``, which says how these were found.

Readers may rely on the names, dimensions and meaning of ``weights``, ``means``, ``covariances``,
``component`` and ``feature``, and on the attributes ``format``, ``format_version`` and
``covariance_type``. The version is raised when one of these changes, so that an older reader
would misunderstand the group; arrays and attributes that are added leave it as it is, and readers
leave out what they do not know. So models of version 1 are read that have no coordinates, as
they were first written.

The file is longer than others for this description.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import zarr

from daskgmm.errors import ModelFormatError, ParameterError, SingularComponentError
from daskgmm.kernel import (
    COMPONENTS,
    Affine,
    Components,
    Mixture,
    Statistics,
    components_named,
    family_of,
)
from daskgmm.plain_json import plain_json
from daskgmm.storage.outputs.atomic_output import atomic_output
from daskgmm.storage.outputs.float_groups import FloatGroup, write_group
from daskgmm.storage.outputs.noise import (
    NOISE_ATTRIBUTE,
    OF_NOISE,
    noise_described,
    noise_of_attributes,
)
from daskgmm.storage.outputs.projections import (
    AXES,
    IS_PROJECTED,
    OF_PROJECTED,
    PROJECTED_MEANS,
    axes,
    back,
    is_projected,
    projected,
)
from daskgmm.storage.outputs.tails import (
    OF_TAILS,
    TAILS_ATTRIBUTE,
    kind_of_attributes,
    tails_described,
)
from daskgmm.storage.outputs.variables import Variable, text_variable
from daskgmm.storage.places.locations import Location

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "attributes_of",
    "coordinates_of",
    "read_model",
    "read_statistics",
    "save_model",
    "variables_of",
]

FORMAT = "daskgmm"
FORMAT_VERSION = 4

_UNITS = "units"

_RESERVED = (
    *("format", "format_version", "covariance_type"),
    *(NOISE_ATTRIBUTE, TAILS_ATTRIBUTE, IS_PROJECTED),
)

_STATISTICS = "statistics"
"""Attribute with the numbers of a model's statistics; their arrays' names begin with it."""
_FACTS = {"n_rows": int, "weight": float, "log_likelihood": float}


def save_model(
    path: str | os.PathLike[str],
    mixture: Mixture,
    record: Mapping[str, Any],
    overwrite: bool = False,
    statistics: Statistics | None = None,
    projection: Affine | None = None,
) -> None:
    """Write a model; it appears under its name complete or not at all.

    Parameters
    ----------
    path : str or path
        Path or URL; its folder must exist.
    mixture : Mixture
        In the data's own units.
    record : mapping
        History and facts of the run, stored as attributes: plain JSON, NumPy scalars
        converted, NaN and infinity as null.
    overwrite : bool, default=False
        Whether a Zarr array or group that is there may be replaced.
    statistics : Statistics, optional
        Of the rows that it was fitted to, kept beside it: see :func:`read_statistics`.
    projection : Affine, optional
        Map onto the features that the mixture is of: see :func:`read_projection`.

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError
        As :func:`~daskgmm.storage.outputs.atomic_output.atomic_output`.
    ParameterError
        If the record is not plain JSON, or contradicts the model's own attributes.
    """
    attributes = attributes_of(mixture, record, projection)
    members = variables_of(mixture, projection)
    members |= coordinates_of(mixture, attributes, projection)
    if _UNITS in members:  # no dimension is called so: CF has an attribute for such coordinates
        means = members["means"]
        about = {**means.attributes, "coordinates": _UNITS}
        members["means"] = replace(means, attributes=about)
    if statistics is not None:
        attributes[_STATISTICS] = plain_json({name: getattr(statistics, name) for name in _FACTS})
        members |= _statistics_of(statistics, {} if projection is None else AXES)
    with atomic_output(Location.parse(path), overwrite=overwrite) as draft:
        shown = draft.target.name
        write_group(draft.place, attributes, members, shown=shown, is_consolidated=True)


def attributes_of(
    mixture: Mixture, record: Mapping[str, Any], projection: Affine | None = None
) -> dict[str, Any]:
    """Attributes of a model's group: the record, and what makes it a model.

    Raises
    ------
    ParameterError
        As :func:`save_model`.
    """
    own: dict[str, Any] = {
        "format": FORMAT,
        "format_version": 1 if projection is None else OF_PROJECTED,
        "covariance_type": family_of(mixture.kind),
    }
    if mixture.noise is not None:
        own |= {"format_version": OF_NOISE, NOISE_ATTRIBUTE: noise_described(mixture.noise)}
    if mixture.kind != family_of(mixture.kind):
        described = tails_described(type(mixture.components))
        own |= {"format_version": OF_TAILS, TAILS_ATTRIBUTE: described}
    if own["format_version"] > OF_PROJECTED:
        own[IS_PROJECTED] = projection is not None
    facts = plain_json(record)
    for key in own:
        if facts.get(key, own[key]) != own[key]:
            raise ParameterError(
                f"record[{key!r}] is {facts[key]!r}, but the model's is {own[key]!r}; leave it out"
            )
    return {**facts, **own}


def variables_of(mixture: Mixture, projection: Affine | None = None) -> dict[str, Variable]:
    """Parameters of a mixture, and its projection, as variables of a model's group, by name."""
    if projection is not None:
        return projected(variables_of(mixture), mixture, projection)
    law = mixture.components
    weights = {"long_name": "weight of the component", "units": "1"}
    return {
        "weights": Variable(("component",), mixture.weights, weights),
        **{
            name: Variable(
                law.dimensions[name], values, {"long_name": law.long_names.get(name, name)}
            )
            for name, values in law.arrays.items()
        },
    }


def _statistics_of(statistics: Statistics, names: Mapping[str, str]) -> dict[str, Variable]:
    """Sums of statistics, and what they are about, as variables of a model's group.

    ``names`` are those of dimensions, where they differ from the usual ones.
    """
    each = ("component", "feature")
    of_each = dict.fromkeys(("n_k", "n_u", "tails"), each[:1])
    dims = {**of_each, "second": statistics.law.dimensions["covariances"]}
    kept = {**statistics.sums, "centres": statistics.centres}
    return {
        f"{_STATISTICS}_{name}": Variable(
            tuple(names.get(dim, dim) for dim in dims.get(name, each)), values
        )
        for name, values in kept.items()
    }


def coordinates_of(
    mixture: Mixture, record: Mapping[str, Any], projection: Affine | None
) -> dict[str, Variable]:
    """Coordinate variables of a model's group, and the units where they are known."""
    k, d = mixture.n_components, mixture.n_features
    if projection is not None:
        names = _texts_of(record, "feature_names", projection.n_in)
        of_all = coordinates_of(back(mixture, projection), record, None)
        return of_all | axes(mixture, projection, names)
    names = _texts_of(record, "feature_names", d)
    found = {"component": Variable(("component",), np.arange(k), {"long_name": "component"})}
    for dim in ("feature", "other_feature"):
        if any(dim in dims for dims in mixture.components.dimensions.values()):
            about = {"long_name": "feature"}
            found[dim] = (
                Variable((dim,), np.arange(d), about)
                if names is None
                else text_variable((dim,), names, **about)
            )
    units = _texts_of(record, "feature_units", d)
    if units is not None:
        found[_UNITS] = text_variable(("feature",), units, long_name="units of the feature")
    return found


def _texts_of(record: Mapping[str, Any], key: str, d: int) -> list[str] | None:
    """Texts that the record has of the features; None where it has none.

    Raises
    ------
    ParameterError
        If there is not one for each feature.
    """
    texts = record.get(key)
    if texts is None:
        return None
    if isinstance(texts, list) and len(texts) == d and all(isinstance(t, str) for t in texts):
        return texts
    raise ParameterError(f"record[{key!r}] is {texts!r:.200}; a list of {d} strings is expected")


def read_model(path: str | os.PathLike[str]) -> tuple[Mixture, dict[str, Any]]:
    """Read a model, which may come from anyone.

    Metadata are checked before any array is read, and what was read before it is used;
    nothing that the file holds is executed.

    Returns
    -------
    mixture : Mixture
    record : dict
        What :func:`save_model` was given.

    Raises
    ------
    NotFoundError
        If nothing is there.
    ModelFormatError
        If what is there is no model that this version can read.
    DamagedDataError
        If an array is missing chunks or fails its checksum.
    StorageError
        If it cannot be read.
    """
    group = FloatGroup(Location.parse(path), "model")
    name, attributes = group.name, group.attributes
    law = _checked_law(name, attributes)
    called = {"means": PROJECTED_MEANS} if is_projected(attributes) else {}
    names = {key: called.get(key, key) for key in ("weights", *law.dimensions)}
    _check_shapes(name, law, {key: group.member(of) for key, of in names.items()})
    values = {key: group.values(of) for key, of in names.items()}
    try:
        weights, components = values.pop("weights"), law(**values)
        noise = noise_of_attributes(attributes, components.n_features)
        mixture = Mixture(weights, components, noise)
        mixture.check()
    except (ParameterError, SingularComponentError) as error:
        raise ModelFormatError(f"{name} holds no valid mixture: {error}") from error
    return mixture, {k: v for k, v in attributes.items() if k not in _RESERVED}


def read_statistics(path: str | os.PathLike[str], mixture: Mixture) -> Statistics | None:
    """Read the statistics of a model's rows, as :func:`read_model` reads the rest.

    Returns
    -------
    Statistics or None
        None where the model has none, as models that were written before there were.

    Raises
    ------
    ModelFormatError
        If they are not of the model's components.
    NotFoundError, DamagedDataError, StorageError
        As :func:`read_model`.
    """
    group = FloatGroup(Location.parse(path), "model")
    facts = group.attributes.get(_STATISTICS)
    if facts is None:
        return None
    k, d = mixture.means.shape
    shapes = type(mixture.components).sum_shapes(k, d)
    names = {name: f"{_STATISTICS}_{name}" for name in (*shapes, "centres")}
    found = {name: group.member(key).shape for name, key in names.items()}
    if found != {**shapes, "centres": (k, d)}:
        raise ModelFormatError(
            f"{group.name} has statistics of shapes {found}, which are not of {k} {mixture.kind} "
            f"components in {d} features; was it edited?"
        )
    values = {name: group.values(key) for name, key in names.items()}
    try:
        n_rows, weight, log_likelihood = (kind(facts[name]) for name, kind in _FACTS.items())
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"{group.name}: its statistics are not as daskgmm writes them ({error}); was it edited?"
        ) from error
    numbers = (weight, log_likelihood, *values.values())
    if n_rows < 0 or weight <= 0 or not all(np.isfinite(number).all() for number in numbers):
        raise ModelFormatError(
            f"{group.name}: its statistics are none of rows ({facts}, or a sum that is not finite); "
            "was it edited?"
        )
    centres = values.pop("centres")
    return Statistics(
        n_rows, weight, log_likelihood, values, centres, mixture.kind, mixture.uniform
    )


def _checked_law(name: str, attributes: Mapping[str, Any]) -> type[Components]:
    """The class of components of attributes that are a model's."""
    try:
        return components_named(kind_of_attributes(_checked_format(name, attributes), attributes))
    except ParameterError as error:
        raise ModelFormatError(f"{name}: {error}; was it edited?") from error


def _checked_format(name: str, attributes: Mapping[str, Any]) -> str:
    """The covariance type of attributes that are a model's."""
    if attributes.get("format") != FORMAT:
        raise ModelFormatError(
            f"{name} is a Zarr group but not a daskgmm model: its attribute format is "
            f"{attributes.get('format')!r}, not {FORMAT!r}"
        )
    version = attributes.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFormatError(f"{name} has format_version {version!r}; a positive int is expected")
    if version > FORMAT_VERSION:
        raise ModelFormatError(
            f"{name} was written by a newer daskgmm (format_version {version}, this one reads up "
            f"to {FORMAT_VERSION}); upgrade daskgmm"
        )
    covariance_type = attributes.get("covariance_type")
    if not isinstance(covariance_type, str) or covariance_type not in COMPONENTS:
        raise ModelFormatError(
            f"{name} has covariance_type {covariance_type!r}; known are {', '.join(COMPONENTS)}"
        )
    return covariance_type


def _check_shapes(name: str, law: type[Components], arrays: Mapping[str, zarr.Array[Any]]) -> None:
    """Whether the shapes fit each other, by metadata alone."""
    means = arrays["means"].shape
    if len(means) != 2 or 0 in means:
        raise ModelFormatError(
            f"{name}/means has shape {means}; (n_components, n_features) is expected"
        )
    k, d = means
    for key, shape in {"weights": (k,), **law.array_shapes(k, d)}.items():
        if arrays[key].shape != shape:
            raise ModelFormatError(
                f"{name}/{key} has shape {arrays[key].shape}; {shape} is expected for "
                f"{law.kind} covariances and means of shape {means}"
            )
