"""Groups of float64 arrays: small, written in one go, and read with suspicion.

Models and checkpoints are such groups. A group may come from anyone: its metadata are checked
before any array is read, and nothing that it holds is executed. Arrays that were not asked for
are never opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.errors import DamagedDataError, DataError, ModelFormatError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.drafts import failures_named
from daskgmm.storage.outputs.variables import Variable, add_variables, consolidate
from daskgmm.storage.places.durable import settle
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.checked_array import CheckedArray
from daskgmm.storage.rows.checked_store import RESTORE_REMEDY
from daskgmm.storage.rows.codecs import CodecChain
from daskgmm.storage.rows.listing import stored_objects
from daskgmm.storage.rows.stored_grid import StoredGrid
from daskgmm.storage.rows.zarr_nodes import open_node

__all__ = ["FloatGroup", "write_group"]

_LARGEST_BYTES = 2**30


def write_group(
    location: Location,
    attributes: Mapping[str, Any],
    variables: Mapping[str, Variable],
    *,
    shown: str,
    is_consolidated: bool = False,
) -> None:
    """Write a group.

    Parameters
    ----------
    location : Location
    attributes : mapping
        Plain JSON.
    variables : mapping
        By name.
    shown : str
        What errors call it.
    is_consolidated : bool, default=False
        Whether the group's metadata hold those of the arrays as well.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with failures_named(shown, "written"):
        group = zarr.create_group(
            location.store(read_only=False), zarr_format=3, attributes=dict(attributes)
        )
        add_variables(group, variables)
        if is_consolidated:
            consolidate(group)
        if location.is_local:
            settle(location.path)


class FloatGroup:
    """A group to read.

    Parameters
    ----------
    location : Location
    what : str
        What the group should be, such as a model, for messages.

    Attributes
    ----------
    name : str
        Name of the group for messages; secrets are removed.
    attributes : dict

    Raises
    ------
    NotFoundError
        If nothing is there.
    ModelFormatError
        If there is something else than a group.
    StorageError
        If it cannot be read.
    """

    def __init__(self, location: Location, what: str) -> None:
        self.name = location.name
        try:
            # An array's own metadata are those that it is read by, and so those to check.
            group = open_node(location, use_consolidated=False)
        except DataError as error:
            raise ModelFormatError(f"{self.name} is not a {what}: {error}") from error
        if not isinstance(group, zarr.Group):
            raise ModelFormatError(
                f"{self.name} is a Zarr array, not a {what}; name the {what}'s group"
            )
        self._group, self._what = group, what
        self.attributes: dict[str, Any] = dict(group.attrs)

    def member(self, key: str) -> zarr.Array[Any]:
        """An array of the group, if it is safe to read.

        Raises
        ------
        ModelFormatError
            If it is not there, or is not a float64 array of moderate size.
        """
        try:
            array = self._group[key]
        except KeyError:
            raise ModelFormatError(
                f"{self.name} is not a whole {self._what}: it has no array {key!r}"
            ) from None
        except Exception as error:
            raise ModelFormatError(
                f"the metadata of {self.name}/{key} cannot be understood: {one_line(error)}"
            ) from cause_to_show(error)
        if not isinstance(array, zarr.Array):
            raise ModelFormatError(f"{self.name}/{key} is a group, not an array")
        dtype = np.dtype(array.dtype)
        if dtype.kind != "f" or dtype.itemsize != 8:
            raise ModelFormatError(f"{self.name}/{key} has dtype {dtype}; float64 is expected")
        if CodecChain(array).runs_code:
            raise ModelFormatError(f"{self.name}/{key} is encoded with pickle, which can run code")
        for what, shape in (
            ("it", array.shape),
            ("a chunk of it", array.chunks),
            ("a shard of it", array.shards or ()),
        ):
            if math.prod(shape) * dtype.itemsize > _LARGEST_BYTES:
                raise ModelFormatError(
                    f"{self.name}/{key}: {what} has shape {shape}, over {_LARGEST_BYTES} bytes; "
                    f"no {self._what} is that large"
                )
        return array

    def values(self, key: str) -> NDArray[np.float64]:
        """The numbers of an array of the group.

        Raises
        ------
        ModelFormatError
            As :meth:`member`, or if its size in memory cannot be told from its stored size.
        DamagedDataError
            If a chunk is missing, of the wrong size, or fails its checksum.
        """
        array = self.member(key)
        self._check_stored(array, key)
        read: NDArray[np.float64] = CheckedArray(array, f"{self.name}/{key}").read(
            tuple(slice(0, n) for n in array.shape)
        )
        return read

    def _check_stored(self, array: zarr.Array[Any], key: str) -> None:
        """Refuse an array that could be large in memory though it is small in the store.

        A few kilobytes of a compressed chunk can decode to gigabytes, whatever shape the
        metadata claim. Only with codecs that keep the size is the decoded size known before.
        """
        name = f"{self.name}/{key}"
        codecs, grid = CodecChain(array), StoredGrid.of(array, name)
        expected = codecs.fixed_size(grid.cell, array.dtype.itemsize)
        if expected is None:
            raise ModelFormatError(
                f"{name} is stored with {', '.join(codecs.names)}; a {self._what} is read only "
                "where nothing is compressed or sharded - if you trust it, write its arrays again "
                "with zarr.create_array(..., compressors=None)"
            )
        if math.prod(grid.cell) > max(1, math.prod(array.shape)):
            raise ModelFormatError(
                f"{name}: a chunk of it has shape {grid.cell}, more than its {array.shape}; write "
                "it again in one chunk"
            )
        objects = stored_objects(array.store, array.path, grid.object_keys)
        for chunk in grid.object_keys():
            if chunk not in objects:  # which no fill value stands for
                raise DamagedDataError(
                    f"{name}: chunk {chunk!r} (of {grid.n_objects}) is missing from the store; "
                    f"{RESTORE_REMEDY}"
                )
            if objects[chunk].n_bytes != expected:
                raise DamagedDataError(
                    f"{name}: chunk {chunk!r} has {objects[chunk].n_bytes} bytes, {expected} are "
                    f"expected; {RESTORE_REMEDY}"
                )
