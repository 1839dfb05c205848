"""Uncertainties: errors of a model's parameters as a small Zarr group that xarray opens.

For each parameter, and what follows from some, the group holds four arrays of the same dimensions,
such as ``means``, ``means_standard_error``, ``means_low`` and ``means_high``: what the model has, its
standard error, and the ends of an interval, whose share is the attribute ``level``. Coordinates
are those of the model. Single numbers are arrays without dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from daskgmm.kernel import Affine, Mixture
from daskgmm.plain_json import plain_json
from daskgmm.storage.outputs.atomic_output import atomic_output
from daskgmm.storage.outputs.float_groups import write_group
from daskgmm.storage.outputs.models import coordinates_of
from daskgmm.storage.outputs.variables import Variable
from daskgmm.storage.places.locations import Location

__all__ = ["UNCERTAINTY_FORMAT", "save_uncertainty"]

UNCERTAINTY_FORMAT = "daskgmm-uncertainty"


def save_uncertainty(
    path: str | os.PathLike[str],
    model: tuple[Mixture, Affine | None],
    spreads: Mapping[str, tuple[tuple[str, ...], Mapping[str, NDArray[Any]]]],
    facts: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write errors; they appear under their name complete or not at all.

    Parameters
    ----------
    path : str or path
        Path or URL; its folder must exist.
    model : tuple of Mixture and Affine or None
        What the errors are of, and the map onto the features that it is of.
    spreads : mapping of str to pairs
        Dimensions of a parameter, and arrays: ``estimate``, ``standard_error``, ``low``, ``high``.
    facts : mapping
        Attributes of the group; of them ``feature_names`` and ``feature_units`` become coordinates.
    overwrite : bool, default=False
        Whether a Zarr array or group that is there may be replaced.

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError
        As :func:`~daskgmm.storage.outputs.atomic_output.atomic_output`.
    """
    attributes = {**plain_json(facts), "format": UNCERTAINTY_FORMAT, "format_version": 1}
    members = coordinates_of(model[0], attributes, model[1])
    for name, (dims, arrays) in spreads.items():
        for what, values in arrays.items():
            key = name if what == "estimate" else f"{name}_{what}"
            said = f"{what.replace('_', ' ')} of {name.replace('_', ' ')}"
            members[key] = Variable(dims, values, {"long_name": said})
    with atomic_output(Location.parse(path), overwrite=overwrite) as draft:
        shown = draft.target.name
        write_group(draft.place, attributes, members, shown=shown, is_consolidated=True)
