"""Loops: the E-step, and the moments of a scan, compiled ahead of time; optional.

``loops.cpp`` is compiled when the package is built, once for each instruction set of the
platform; the best one that this processor can run is taken here. All give the same bits.
Where none was built, or none can run, ``VARIANT`` is None, and callers do the work in NumPy.
The interpreter lock is released for the whole of a call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.fused_arrays import (
    Cells,
    NaturalArrays,
    TailSums,
    WeightedRows,
    WhitenedArrays,
    WhitenedSums,
)
from daskgmm.kernel.loops.library import LIBRARY, VARIANT, WHY_NONE

__all__ = [
    "VARIANT",
    "WHY_NONE",
    "MomentArrays",
    "add_natural",
    "add_whitened",
    "address",
    "call",
    "described",
    "find_drawn",
    "find_log_densities",
    "find_nearest",
    "is_as_compiled",
    "rows_as_compiled",
    "rows_of",
    "scan_moments",
    "struct",
    "struct_of_rows",
    "weighted_rows",
]

Array = NDArray[Any]

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
_NAMES = {FLOAT32: "float32", FLOAT64: "float64"}  # a dtype takes longer to tell its name


def described() -> str:
    """Which variant runs, or why none does."""
    return VARIANT or f"none: {WHY_NONE}"


def rows_as_compiled(x: Array) -> Array:
    """Rows of a dtype and memory order that the loops take; a copy if need be."""
    return x if is_as_compiled(x) else np.ascontiguousarray(x, _dtype_of(x))


def is_as_compiled(x: Array) -> bool:
    """Whether the loops take rows as they lie in memory."""
    return x.dtype == _dtype_of(x) and x.flags.c_contiguous


def _dtype_of(x: Array) -> np.dtype[Any]:
    return FLOAT32 if x.dtype == FLOAT32 else FLOAT64


_NONE = np.empty(0)


def weighted_rows(
    x: Array,
    weight: Array | None = None,
    log_density: Array | None = None,
    picked: Array | None = None,
) -> WeightedRows:
    """Rows and weights as the loops take them; see :func:`rows_as_compiled`.

    Parameters
    ----------
    x : array of shape (n, D)
    weight : array of shape (n,), optional
        Every row counts once without it.
    log_density : array of shape (n,), float64, C-contiguous, optional
        Where the loop writes the log density of each row.
    picked : array of shape (m,), int64, optional
        Indices of the rows that count: then weights and log densities are of these alone.
    """
    given = _NONE if weight is None else np.ascontiguousarray(weight, np.float64)
    found = _NONE if log_density is None else log_density
    return WeightedRows(rows_as_compiled(x), given, found, picked)


class _RowsOfBlock(Protocol):
    """What the loops take of a block, which is above them."""

    @property
    def weight(self) -> Array | None: ...

    @property
    def picked(self) -> tuple[Array, Array | None]: ...


def rows_of(block: _RowsOfBlock, log_density: Array | None = None) -> WeightedRows:
    """The rows of a block as the loops take them: see :func:`weighted_rows`."""
    x, picked = block.picked
    return weighted_rows(x, block.weight, log_density, picked)


def address(array: Array, dtype: np.dtype[Any], *shape: int) -> int:
    """Where an array begins, which must be as the loops will read it: they look at nothing."""
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise TypeError(
            f"array of dtype {array.dtype}, shape {array.shape} and strides {array.strides}; "
            f"must be {dtype}, {shape}, C-contiguous"
        )
    address: int = array.__array_interface__["data"][0]
    return address


def struct(values: Sequence[int]) -> Any:
    """A C struct of pointers and of integers of 64 bits, whose sign the loop decides."""
    return ctypes.byref((ctypes.c_int64 * len(values))(*values))


def struct_of_rows(rows: WeightedRows) -> Any:
    """Rows as the loops take them."""
    x, (n, d), picked = rows.x, rows.x.shape, rows.picked
    m = n if picked is None else len(picked)
    of_each = [address(of, FLOAT64, m) if len(of) else 0 for of in (rows.weight, rows.log_density)]
    of_each.append(0 if picked is None else address(picked, INT64, m))
    return struct([address(x, x.dtype, n, d), *of_each, m, d, x.dtype == FLOAT32])


def _cells(cells: Cells) -> Any:
    n, n_chosen = cells.candidates.shape
    bounds = address(cells.row_bounds, INT64, n + 1)
    return struct([bounds, address(cells.candidates, INT64, n, n_chosen), n, n_chosen])


@lru_cache(maxsize=2)  # the same for every grain of a pass
def _natural(arrays: NaturalArrays, d: int) -> Any:
    n, dtype = len(arrays.constant), arrays.constant.dtype
    n_products, n_coefficients = len(arrays.first_of), arrays.coefficients.shape[1]
    return struct(
        [
            address(arrays.centre, FLOAT64, d),
            address(arrays.inverse_scale, FLOAT64, d),
            address(arrays.first_of, INT64, n_products),
            address(arrays.second_of, INT64, n_products),
            address(arrays.coefficients, dtype, n, n_coefficients),
            address(arrays.constant, dtype, n),
            address(arrays.noise, FLOAT64, 1) if len(arrays.noise) else 0,
            address(arrays.tails, FLOAT64, n, 5) if len(arrays.tails) else 0,
            n,
            n_products,
            n_coefficients - d,
        ]
    )


@lru_cache(maxsize=2)
def _whitened(arrays: WhitenedArrays) -> Any:
    dtype, (k, d) = arrays.means.dtype, arrays.means.shape
    return struct(
        [
            address(arrays.centre, FLOAT64, d),
            address(arrays.inverse_scale, FLOAT64, d),
            address(arrays.means, dtype, k, d),
            address(arrays.factors, dtype, k, d, d),
            address(arrays.shifts, dtype, k, d),
            address(arrays.heights, dtype, k),
            address(arrays.noise, FLOAT64, 1) if len(arrays.noise) else 0,
            address(arrays.tails, FLOAT64, k, 5) if len(arrays.tails) else 0,
        ]
    )


def call(name: str, *arguments: Any) -> None:
    """Call a loop of the variant that runs, with pointers to structs."""
    loop = getattr(LIBRARY, f"{VARIANT}_{name}")
    if loop(*arguments) != 0:
        raise MemoryError(f"{name} found no memory for a tile of rows")


def _tail_sums(sums: TailSums | None, k: int) -> list[int]:
    return [0, 0] if sums is None else [address(of, FLOAT64, k) for of in sums]


def add_natural(
    rows: WeightedRows,
    cells: Cells,
    arrays: NaturalArrays,
    n_k: Array,
    sums: Array,
    tails: TailSums | None = None,
) -> float:
    """Add, over rows, responsibilities, and responsibility times products.

    Parameters
    ----------
    rows : WeightedRows
    cells : Cells
    arrays : NaturalArrays
    n_k, sums : arrays of shape (K,) and (K, P + D), float64
        Added to.
    tails : TailSums, optional
        Of t components, whose ``sums`` are of weights r u.

    Returns
    -------
    float
        Sum of the log densities of the rows.
    """
    log_likelihood = np.zeros(1)
    of_sums = [
        address(log_likelihood, FLOAT64, 1),
        address(n_k, FLOAT64, len(arrays.constant)),
        address(sums, FLOAT64, *arrays.coefficients.shape),
        0,
        *_tail_sums(tails, len(arrays.constant)),
    ]
    call(
        f"add_natural_{_NAMES[arrays.coefficients.dtype]}",
        struct_of_rows(rows),
        _cells(cells),
        _natural(arrays, rows.x.shape[1]),
        struct(of_sums),
    )
    return float(log_likelihood[0])


def add_whitened(
    rows: WeightedRows,
    cells: Cells,
    arrays: WhitenedArrays,
    sums: WhitenedSums,
    tails: TailSums | None = None,
) -> float:
    """Add, over rows, responsibilities, and moments about the means weighted by them.

    Parameters
    ----------
    rows : WeightedRows
    cells : Cells
    arrays : WhitenedArrays
    sums : WhitenedSums
    tails : TailSums, optional
        As of :func:`add_natural`.

    Returns
    -------
    float
        Sum of the log densities of the rows.
    """
    k, d = arrays.means.shape
    log_likelihood = np.zeros(1)
    of_sums = [
        address(log_likelihood, FLOAT64, 1),
        address(sums.n_k, FLOAT64, k),
        address(sums.first, FLOAT64, k, d),
        address(sums.second, FLOAT64, k, d, d),
        *_tail_sums(tails, k),
    ]
    call(
        f"add_whitened_{_NAMES[arrays.means.dtype]}",
        struct_of_rows(rows),
        _cells(cells),
        _whitened(arrays),
        struct(of_sums),
    )
    return float(log_likelihood[0])


def find_log_densities(x: Array, arrays: NaturalArrays, found: Array) -> None:
    """Log density of each row, in float64 alone.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    arrays : NaturalArrays
        With coefficients in float64.
    found : array of shape (n,), float64
        Written over.
    """
    assert arrays.coefficients.dtype == FLOAT64
    of_found = ctypes.c_void_p(address(found, FLOAT64, len(x)))
    call(
        "find_log_densities",
        struct_of_rows(WeightedRows(x, _NONE, _NONE)),
        _natural(arrays, x.shape[1]),
        of_found,
    )


def find_nearest(
    x: Array, centre: Array, coefficients: Array, constant: Array, nearest: Array
) -> None:
    """Of each row the k of the largest ``(x - centre) @ coefficients[k] + constant[k]``.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    centre : array of shape (D,), float64
    coefficients, constant : arrays of shape (K, D) and (K,), float32 or float64
        Their dtype is that of the loops.
    nearest : array of shape (n,), int64
        Written over.
    """
    dtype, d = coefficients.dtype, x.shape[1]
    points = [
        address(centre, FLOAT64, d),
        address(coefficients, dtype, len(constant), d),
        address(constant, dtype, len(constant)),
        len(constant),
    ]
    of_nearest = ctypes.c_void_p(address(nearest, INT64, len(x)))
    call(
        f"find_nearest_{_NAMES[dtype]}",
        struct_of_rows(WeightedRows(x, _NONE, _NONE)),
        struct(points),
        of_nearest,
    )


def find_drawn(first: int, step: int, n: int, threshold: int) -> Array:
    """Indices i of n for which the finaliser of SplitMix64 takes ``first + i * step`` below a threshold.

    All but n are of 64 bits without a sign, and sums and products are modulo ``2**64``.
    """
    rows, n_found = np.empty(n, np.int64), np.zeros(1, np.int64)
    of_found = [address(rows, INT64, n), address(n_found, INT64, 1)]
    call("find_drawn", struct([first, step, threshold, n, *of_found]))
    return rows[: n_found[0]].copy()


class MomentArrays(NamedTuple):
    """What the moments of a block are written to.

    Attributes
    ----------
    mean, minimum, maximum : arrays of shape (D,), float64
        Of x.
    scatter : array of shape (D, D), float64
        Holds 0; what lies on and below the diagonal is added to.
    """

    mean: Array
    scatter: Array
    minimum: Array
    maximum: Array


def scan_moments(x: Array, root_weight: Array, pilot: Array, found: MomentArrays) -> None:
    """Mean, scatter and extremes of the rows of a block, all finite, written into arrays.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    root_weight : array of shape (n,), float64
        Square roots of the weights, all above 0; of shape (0,) where every row counts once.
    pilot : array of shape (D,), float64
        Somewhere near the rows, such as the first of them: sums are of x - pilot.
    found : MomentArrays
        Written over.
    """
    d = x.shape[1]
    of_found = [
        address(found.mean, FLOAT64, d),
        address(found.scatter, FLOAT64, d, d),
        address(found.minimum, FLOAT64, d),
        address(found.maximum, FLOAT64, d),
    ]
    of_pilot = ctypes.c_void_p(address(pilot, FLOAT64, d))
    call(
        "scan_moments",
        struct_of_rows(WeightedRows(x, root_weight, _NONE)),
        of_pilot,
        struct(of_found),
    )
