"""Variables: small arrays with names of dimensions and attributes, which xarray finds as such."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec
from zarr.errors import ZarrUserWarning

from daskgmm.plain_json import plain_json

__all__ = ["Variable", "add_variables", "consolidate", "text_variable"]


@dataclass(frozen=True, eq=False)
class Variable:
    """An array to be written whole.

    It is a coordinate variable, by CF and for xarray, where it is named as its only dimension.

    Attributes
    ----------
    dims : tuple of str
    values : ndarray
        Numbers, or texts as objects.
    attributes : mapping
        Plain JSON, and NumPy arrays.
    """

    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def text_variable(dims: tuple[str, ...], texts: Sequence[str], **attributes: Any) -> Variable:
    """A variable of texts."""
    # What is no Unicode, as half of a pair of surrogates, could not be written in UTF-8.
    whole = [text.encode(errors="backslashreplace").decode() for text in texts]
    return Variable(dims, np.array(whole, dtype=object), attributes)


def add_variables(group: zarr.Group, variables: Mapping[str, Variable]) -> None:
    """Write variables into a group of version 3, without compression and with checksums."""
    for name, variable in variables.items():
        values = variable.values
        array = group.create_array(
            name,
            shape=values.shape,
            # The type of text that zarr's registry of data types has, and not NumPy's of fixed width.
            dtype=str if values.dtype == object else values.dtype,
            chunks=tuple(max(n, 1) for n in values.shape),
            compressors=[Crc32cCodec()],
            dimension_names=variable.dims,
            attributes=plain_json(variable.attributes),
            config={"write_empty_chunks": True},
        )
        array[...] = values


def consolidate(group: zarr.Group) -> None:
    """Copy the metadata of all arrays into the group's, by which xarray opens it without a warning.

    What version 3 says of that is a convention of zarr-python and no standard yet, of which
    zarr warns. Nothing here relies on it: an array's own metadata count.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(group.store_path, zarr_format=3)
