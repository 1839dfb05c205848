"""Models: a fitted mixture as a small Zarr group that any Zarr reader can open."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from daskgmm.errors import (
    DataError,
    ModelFormatError,
    ParameterError,
    SingularComponentError,
    StorageError,
)
from daskgmm.kernel.families import FAMILIES
from daskgmm.kernel.mixture import Mixture
from daskgmm.storage.atomic_output import atomic_output
from daskgmm.storage.checked_array import CheckedArray
from daskgmm.storage.codecs import CodecChain
from daskgmm.storage.locations import Location
from daskgmm.storage.plain_json import plain_json
from daskgmm.storage.redaction import cause_to_show, one_line
from daskgmm.storage.zarr_nodes import open_node

__all__ = ["FORMAT", "FORMAT_VERSION", "read_model", "save_model"]

FORMAT = "daskgmm"
FORMAT_VERSION = 1

_ARRAYS = ("weights", "means", "covariances")
_RESERVED = ("format", "format_version", "covariance_type")
_LARGEST_BYTES = 2**30


def save_model(
    path: str | os.PathLike[str],
    mixture: Mixture,
    record: Mapping[str, Any],
    overwrite: bool = False,
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

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError
        As :func:`~daskgmm.storage.atomic_output.atomic_output`.
    ParameterError
        If the record is not plain JSON, or contradicts the model's own attributes.
    """
    own = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "covariance_type": mixture.covariance_type,
    }
    facts = plain_json(record)
    for key in _RESERVED:
        if facts.get(key, own[key]) != own[key]:
            raise ParameterError(
                f"record[{key!r}] is {facts[key]!r}, but the model's is {own[key]!r}; leave it out"
            )
    with atomic_output(Location.parse(path), overwrite=overwrite) as output:
        try:
            group = zarr.create_group(
                output.staging.store(read_only=False), zarr_format=3, attributes=facts | own
            )
            for name in _ARRAYS:
                group.create_array(
                    name,
                    data=getattr(mixture, name),
                    chunks=getattr(mixture, name).shape,
                    compressors=[Crc32cCodec()],
                    config={"write_empty_chunks": True},
                )
        except OSError as error:
            raise StorageError(
                f"{output.target.name} cannot be written: {one_line(error)}; check permissions "
                "and space"
            ) from cause_to_show(error)


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
    location = Location.parse(path)
    name = location.name
    try:
        group = open_node(location)
    except DataError as error:
        raise ModelFormatError(f"{name} is not a model: {error}") from error
    if not isinstance(group, zarr.Group):
        raise ModelFormatError(f"{name} is a Zarr array, not a model; name the model's group")
    attributes: dict[str, Any] = dict(group.attrs)
    covariance_type = _checked_format(name, attributes)
    arrays = {key: _member(group, name, key) for key in _ARRAYS}
    _check_shapes(name, covariance_type, arrays)
    values = {key: _values(array, f"{name}/{key}") for key, array in arrays.items()}
    try:
        mixture = Mixture(**values, covariance_type=covariance_type)
        mixture.family.factor(mixture.covariances)
    except (ParameterError, SingularComponentError) as error:
        raise ModelFormatError(f"{name} holds no valid mixture: {error}") from error
    return mixture, {k: v for k, v in attributes.items() if k not in _RESERVED}


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
    if not isinstance(covariance_type, str) or covariance_type not in FAMILIES:
        raise ModelFormatError(
            f"{name} has covariance_type {covariance_type!r}; known are {', '.join(FAMILIES)}"
        )
    return covariance_type


def _member(group: zarr.Group, name: str, key: str) -> zarr.Array[Any]:
    """An array of the group, if it is safe to read."""
    try:
        array = group[key]
    except KeyError:
        raise ModelFormatError(f"{name} is not a whole model: it has no array {key!r}") from None
    except Exception as error:
        raise ModelFormatError(
            f"the metadata of {name}/{key} cannot be understood: {one_line(error)}"
        ) from cause_to_show(error)
    if not isinstance(array, zarr.Array):
        raise ModelFormatError(f"{name}/{key} is a group, not an array")
    dtype = np.dtype(array.dtype)
    if dtype.kind != "f" or dtype.itemsize != 8:
        raise ModelFormatError(f"{name}/{key} has dtype {dtype}; float64 is expected")
    if CodecChain(array).runs_code:
        raise ModelFormatError(f"{name}/{key} is encoded with pickle, which can run code")
    for what, shape in (
        ("it", array.shape),
        ("a chunk of it", array.chunks),
        ("a shard of it", array.shards or ()),
    ):
        if math.prod(shape) * dtype.itemsize > _LARGEST_BYTES:
            raise ModelFormatError(
                f"{name}/{key}: {what} has shape {shape}, over {_LARGEST_BYTES} bytes; "
                "no model is that large"
            )
    return array


def _check_shapes(name: str, covariance_type: str, arrays: Mapping[str, zarr.Array[Any]]) -> None:
    """Whether the shapes fit each other, by metadata alone."""
    means = arrays["means"].shape
    if len(means) != 2 or 0 in means:
        raise ModelFormatError(
            f"{name}/means has shape {means}; (n_components, n_features) is expected"
        )
    k, d = means
    expected = {"weights": (k,), "covariances": FAMILIES[covariance_type].shape(k, d)}
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ModelFormatError(
                f"{name}/{key} has shape {arrays[key].shape}; {shape} is expected for "
                f"{covariance_type} covariances and means of shape {means}"
            )


def _values(array: zarr.Array[Any], name: str) -> NDArray[Any]:
    return CheckedArray(array, name).read(tuple(slice(0, n) for n in array.shape))
