"""Declared: what an array's attributes say of its values, by the conventions of CF and xarray.

Packed values are unpacked, and what the store declares missing becomes NaN, which whoever reads
the rows refuses by place. What cannot be decoded is refused by the attribute's name: codes are
never taken for the values that they stand for.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.errors import DataError

__all__ = ["Declared", "declared_by"]

_CODES = ("flag_values", "flag_masks", "flag_meanings")
"""Attributes of values that are names in numbers."""
_VALID = ("valid_min", "valid_max", "valid_range")
_XARRAY_DIMENSIONS = "_ARRAY_DIMENSIONS"
"""By this attribute an array of version 2 is xarray's, whose ``fill_value`` means missing."""


@dataclass(frozen=True)
class Declared:
    """How stored values become numbers. Small to pickle.

    Attributes
    ----------
    stored : dtype
        Of the values to decode, after ``_Unsigned``, in this machine's byte order.
    dtype : dtype
        Of the numbers: float64 wherever values are unpacked, else the least that holds NaN.
    scale, offset : float
        ``value * scale + offset``, in float64.
    missing : tuple of numbers
        Stored values that mean that there is none.
    least, most : float or None
        Bounds of valid values, as stored where ``bounds_are_stored``, else of the numbers.
    names : tuple of str
        Attributes by which values are declared missing.
    """

    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    bounds_are_stored: bool = True
    names: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether stored values are the numbers."""
        return not self.is_packed and not self.names and self.stored == self.dtype

    @property
    def is_packed(self) -> bool:
        """Whether there is a scale or an offset."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def note(self) -> str:
        """What messages about NaN say besides; empty where nothing is declared missing."""
        if not self.names:
            return ""
        return f"the store declares values missing by {', '.join(self.names)}, which are NaN here"

    def decode(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill ``out``, of :attr:`dtype`, with the numbers that stored values stand for."""
        values = values.astype(values.dtype.newbyteorder("="), copy=False).view(self.stored)
        gaps = np.zeros(values.shape, bool) if self.names else None
        if gaps is not None:
            for code in self.missing:
                gaps |= values == code
        if self.is_packed:
            out[...] = values.astype(np.float64) * self.scale + self.offset
        else:
            out[...] = values
        if gaps is not None:
            judged = values if self.bounds_are_stored else out
            if self.least is not None:
                gaps |= judged < self.least
            if self.most is not None:
                gaps |= judged > self.most
            out[gaps] = np.nan

    def facts(self) -> list[Any]:
        """Plain values, by which it differs from another one."""
        bounds = [self.least, self.most, self.bounds_are_stored]
        codes = [code.item() for code in self.missing]
        return [self.stored.str, self.scale, self.offset, codes, bounds]


def declared_by(array: zarr.Array[Any], name: str, *, may_be_classes: bool = False) -> Declared:
    """What an array's attributes, and the fill value of version 2, say of its values.

    Raises
    ------
    DataError
        If an attribute cannot be understood, or values are names in numbers, which
        ``may_be_classes`` allows.
    """
    stored = np.dtype(array.dtype).newbyteorder("=")
    if stored.kind not in "biuf":
        return Declared(stored, stored)
    attributes = _Attributes(dict(array.attrs), name)
    if not may_be_classes:
        attributes.refuse(
            _CODES, "are names in numbers, which have no distances; choose other columns"
        )
    stored = _signed_as_said(attributes, stored)
    scale, offset = attributes.number("scale_factor", 1.0), attributes.number("add_offset", 0.0)
    if scale == 0.0 or not math.isfinite(scale):
        raise attributes.error("scale_factor", "unpacks nothing; correct the attribute")
    if not math.isfinite(offset):
        raise attributes.error("add_offset", "unpacks nothing; correct the attribute")
    missing = {
        key: codes
        for key in ("_FillValue", "missing_value")
        if (codes := _codes(attributes.numbers(key), stored))
    }
    if "_FillValue" not in attributes and (filled := _fill_of_version_2(array, stored)):
        missing["fill_value"] = filled
    least, most, are_whole = _bounds(attributes)
    names = (*missing, *(key for key in _VALID if key in attributes))
    is_changed = (scale, offset) != (1.0, 0.0) or (names and stored.kind != "f")
    return Declared(
        *(stored, np.dtype(np.float64) if is_changed else stored, scale, offset),
        missing=tuple(code for codes in missing.values() for code in codes),
        least=least,
        most=most,
        # CF: bounds are of the packed type, or of the unpacked one, which only real ones can be.
        bounds_are_stored=are_whole or stored.kind == "f",
        names=names,
    )


class _Attributes:
    """Attributes of an array, read as numbers or refused by name."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = values
        self._name = name

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def error(self, key: str, problem: str) -> DataError:
        return DataError(
            f"array {self._name}: its attribute {key}={self._values[key]!r:.60} {problem}"
        )

    def refuse(self, keys: tuple[str, ...], problem: str) -> None:
        for key in keys:
            if key in self:
                raise self.error(key, f"says that its values {problem}")

    def numbers(self, key: str, n: int | None = None) -> list[float | int]:
        """The numbers of an attribute, none where it is absent; ``n`` if so many are needed."""
        if key not in self:
            return []
        given = self._values[key]
        parts = list(given) if isinstance(given, list | tuple | np.ndarray) else [given]
        numbers = [_number(part) for part in parts]
        found = [number for number in numbers if number is not None]
        if len(found) < len(numbers) or not found or len(found) != (n or len(found)):
            raise self.error(
                key,
                f"cannot be read as {'a number' if n == 1 else f'{n} numbers' if n else 'numbers'},"
                " so its values cannot be decoded; correct the attribute",
            )
        return found

    def number(self, key: str, default: float) -> float:
        found = self.numbers(key, 1)
        return float(found[0]) if found else default

    def text(self, key: str) -> str:
        return str(self._values.get(key, "")).lower()


def _number(value: Any) -> float | int | None:
    """A number, or a text that stands for one: xarray writes that of a float in base64."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | float | np.number):
        return value.item() if isinstance(value, np.number) else value
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        pass  # it may be coded
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return float(struct.unpack("<d", raw)[0]) if len(raw) == 8 else None


def _signed_as_said(attributes: _Attributes, stored: np.dtype[Any]) -> np.dtype[Any]:
    """``_Unsigned``: netCDF 3 has no unsigned integers, and says so of signed ones."""
    if "_Unsigned" not in attributes or stored.kind not in "iu":
        return stored
    kinds = {"true": "u", "false": "i"}
    said = attributes.text("_Unsigned")
    if said not in kinds:
        raise attributes.error("_Unsigned", "is neither true nor false; correct the attribute")
    return np.dtype(f"{kinds[said]}{stored.itemsize}")


def _codes(numbers: list[float | int], stored: np.dtype[Any]) -> tuple[Any, ...]:
    """Stored values out of ``numbers``; NaN is missing as it is."""
    found = []
    for number in numbers:
        if number != number:
            continue
        if stored.kind == "f":
            with np.errstate(over="ignore"):
                found.append(stored.type(number))
        elif stored.kind in "iu" and number == int(number):
            # A negative code of unsigned values is that of the signed ones that they were.
            wrapped = int(number) % 2 ** (8 * stored.itemsize) if stored.kind == "u" else number
            if np.iinfo(stored).min <= wrapped <= np.iinfo(stored).max:
                found.append(stored.type(int(wrapped)))
    return tuple(found)


def _fill_of_version_2(array: zarr.Array[Any], stored: np.dtype[Any]) -> tuple[Any, ...]:
    """The fill value as codes, where it means missing, as xarray reads version 2."""
    if array.metadata.zarr_format != 2 or _XARRAY_DIMENSIONS not in array.attrs:
        return ()
    filled: Any = array.metadata.fill_value
    return () if filled is None else _codes([np.asarray(filled).item()], stored)


def _bounds(attributes: _Attributes) -> tuple[float | None, float | None, bool]:
    """Bounds of valid values, and whether all of them are whole numbers."""
    least, most = attributes.numbers("valid_min", 1), attributes.numbers("valid_max", 1)
    both = attributes.numbers("valid_range", 2)
    given = [*least, *most, *both]
    least, most = least or both[:1], most or both[1:]
    return (
        least[0] if least else None,
        most[0] if most else None,
        all(isinstance(number, int) for number in given),
    )
