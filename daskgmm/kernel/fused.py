"""Fused: the E-step, and the moments of a scan, as compiled loops over rows. Needs Numba.

Rows are taken a tile at a time, feature-major, so that products, densities and
responsibilities never leave the first caches and every inner loop runs along the rows
of a tile, in vector registers. Each loop works in the dtype of the coefficients that
it is given; what it adds to is float64.

The file is longer than others because Numba keeps compiled code until the file of the
outermost function changes, and does not see that another one did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.fused_arrays import (
    Cells,
    NaturalArrays,
    WeightedRows,
    WhitenedArrays,
    WhitenedSums,
)

__all__ = [
    "MomentArrays",
    "add_natural",
    "add_whitened",
    "find_log_densities",
    "find_nearest",
    "rows_as_compiled",
    "scan_moments",
    "weighted_rows",
]

Array = NDArray[Any]


def rows_as_compiled(x: Array) -> Array:
    """Rows of a dtype and memory order that the loops are compiled for; a copy if need be."""
    dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return np.ascontiguousarray(x, dtype)


_EVERY_ROW_ONCE = np.empty(0)


def weighted_rows(x: Array, weight: Array | None) -> WeightedRows:
    """Rows and weights as the loops take them; see :func:`rows_as_compiled`."""
    given = _EVERY_ROW_ONCE if weight is None else np.ascontiguousarray(weight, np.float64)
    return WeightedRows(rows_as_compiled(x), given)


# Sums may be reordered into vector registers and multiplications fused with additions;
# NaN and infinity keep their meaning, and a division by zero is no error, as in NumPy.
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_LOG_ROWS = 32
"""Rows whose totals are multiplied before a logarithm is taken: 1e9 components to overflow."""


def _inlined(function: Callable[..., Any], fastmath: Any = _FAST) -> Callable[..., Any]:
    """Compile into whatever compiled function calls it.

    Left to itself, LLVM makes a copy for the caller as well as one that stands alone,
    not of the same sums; which of them runs would depend on whether the caller was
    compiled in this process or is kept from another.
    """
    loop: Any = numba.njit(forceinline=True, fastmath=fastmath, error_model="numpy")(function)
    return loop  # type: ignore[no-any-return]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for the types it is called with, without the interpreter lock; keep the code."""
    loop: Any
    try:
        loop = numba.njit(nogil=True, fastmath=_FAST, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        loop = numba.njit(nogil=True, fastmath=_FAST, error_model="numpy")(function)
    return loop  # type: ignore[no-any-return]


def _in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """With sums as they are written: Cody and Waite's remainder needs its order."""
    return _inlined(function, {"contract"})


# ln 2 in two parts, the first exact in few bits, so that n ln 2 cancels x exactly
# (Cody and Waite 1980).
_LOG2_E = 1.4426950408889634
_HIGH, _LOW = 6.93145751953125e-1, 1.42860682030941723212e-6
_LOWEST = -708.0  # exp is a normal number above; 0 is taken for it below


@_in_order
def _exp64(x: Array, bits: Array, powers: Array) -> None:
    """Exponentials of a row in place, none above 0, to an ulp or so.

    ``x = n ln 2 + r`` with r within half of ln 2; exp(r) by its Taylor polynomial, to
    the 12th power, which leaves less than 1.5 * 2^-53; 2^n by writing n into the
    exponent's bits. ``powers`` must be ``bits`` seen as floating numbers.
    """
    for i in range(len(x)):
        value = _LOWEST if x[i] < _LOWEST else x[i]  # NaN stays
        n = np.floor(value * _LOG2_E + 0.5)
        r = (value - n * _HIGH) - n * _LOW
        p = 1 / 39916800 + r * (1 / 479001600)
        p = 1 / 362880 + r * (1 / 3628800 + r * p)
        p = 1 / 5040 + r * (1 / 40320 + r * p)
        p = 1 / 120 + r * (1 / 720 + r * p)
        p = 1 / 6 + r * (1 / 24 + r * p)
        p = 1.0 + r * (1.0 + r * (0.5 + r * p))
        bits[i] = (np.int64(n) + 1023) << 52
        x[i] = 0.0 if x[i] < _LOWEST else p
    for i in range(len(x)):
        x[i] *= powers[i]


_F = np.float32  # a literal would make the whole sum float64
_LOG2_E32, _HIGH32, _LOW32, _LOWEST32 = _F(_LOG2_E), _F(0.693359375), _F(-2.12194440e-4), _F(-87.0)
_C0, _C1, _C2, _C3, _C4 = _F(0), _F(1), _F(1 / 2), _F(1 / 6), _F(1 / 24)
_C5, _C6, _C7 = _F(1 / 120), _F(1 / 720), _F(1 / 5040)
_BIAS32, _MANTISSA32 = np.int32(127), np.int32(23)


@_in_order
def _exp32(x: Array, bits: Array, powers: Array) -> None:
    """As :func:`_exp64`, in float32: to the 7th power, which leaves less than 2^-27."""
    for i in range(len(x)):
        value = _LOWEST32 if x[i] < _LOWEST32 else x[i]
        n = np.floor(value * _LOG2_E32 + _C2)
        r = (value - n * _HIGH32) - n * _LOW32
        p = _C5 + r * (_C6 + r * _C7)
        p = _C1 + r * (_C1 + r * (_C2 + r * (_C3 + r * (_C4 + r * p))))
        bits[i] = (np.int32(n) + _BIAS32) << _MANTISSA32
        x[i] = _C0 if x[i] < _LOWEST32 else p
    for i in range(len(x)):
        x[i] *= powers[i]


@_inlined
def _load(x: Array, start: int, stop: int, centre: Array, inverse_scale: Array, z: Array) -> int:
    """Fill a tile (D, lanes) with ``(x - centre) / scale`` of the rows ``start:stop``, if it can.

    In float64 until it is stored: a centre far away must not cost a float32 tile its
    digits. Returns how many rows there were; lanes beyond keep what they had.
    """
    d, lanes = z.shape
    n_rows: int = min(lanes, stop - start)
    whole = n_rows - n_rows % 8
    for first in range(0, whole, 8):  # a cache line of z at a time
        for j in range(d):
            for i in range(first, first + 8):
                z[j, i] = (np.float64(x[start + i, j]) - centre[j]) * inverse_scale[j]
    for i in range(whole, n_rows):
        for j in range(d):
            z[j, i] = (np.float64(x[start + i, j]) - centre[j]) * inverse_scale[j]
    return n_rows


_ZERO = -36.75
"""Log of what a responsibility may be of its row's largest to be zero to rounding.

It is half of float64's eps: added to the row's total it would be lost, and so it would be
in the sums of a component of any weight. In float32, too: sums over rows are float64."""
_SKIPPING_FROM = 32
"""Components; with fewer there is too little to skip for looking to pay."""
_RUN = 16
"""Rows looked at together."""
_LISTED_NS, _LISTED_TERM_NS, _SUMMED_NS, _SUMMED_TERM_NS = 45.0, 0.15, 1.6, 0.04
"""Measured: a responsibility that is listed, or one of all: to normalise it, and to add it
up times a term. Listing pays where few are above zero."""


@_inlined
def _listing_pays(active: int, n_components: int, lanes: int, n_terms: int) -> bool:
    """Whether to skip what is zero to rounding, of a tile (K, lanes) of responsibilities."""
    listed = active * (_LISTED_NS + _LISTED_TERM_NS * n_terms)
    summed = n_components * lanes * (_SUMMED_NS + _SUMMED_TERM_NS * n_terms)
    pays: bool = listed < summed
    return pays


@_inlined
def _count_active(joint: Array, n_rows: int, largest: Array, floor: Array, counts: Array) -> int:
    """How many log densities (K, lanes) are not zero to rounding, of all and of each component.

    Fills in each row's largest. Of few components counts all; else fills in the ``floor``
    above which others count, and of lanes beyond ``n_rows`` none does.
    """
    n_components, lanes = joint.shape
    zero = joint.dtype.type(_ZERO)
    for i in range(lanes):
        largest[i] = joint[0, i]
    for k in range(1, n_components):
        for i in range(lanes):
            largest[i] = joint[k, i] if joint[k, i] > largest[i] else largest[i]
    if n_components < _SKIPPING_FROM:
        every: int = n_components * lanes
        return every
    for i in range(lanes):
        floor[i] = largest[i] + zero if i < n_rows else np.inf
    total = 0
    for k in range(n_components):
        count = 0
        for i in range(lanes):
            count += 1 if joint[k, i] > floor[i] else 0
        counts[k] = count
        total += count
    return total


@_inlined
def _list_active(
    joint: Array, largest: Array, floor: Array, counts: Array, rows: Array, logs: Array
) -> int:
    """List what :func:`_count_active` counted, component by component; returns how many.

    ``logs`` are relative to the row's largest. ``rows`` must have room for one more.
    """
    n_components, lanes = joint.shape
    n = 0
    for k in range(n_components):
        if counts[k] == 0:
            continue
        begin = n
        for first in range(0, lanes, _RUN):
            found = 0
            for i in range(first, first + _RUN):
                found += 1 if joint[k, i] > floor[i] else 0
            if found > 0:
                for i in range(first, first + _RUN):  # no branch: it would be mispredicted
                    rows[n] = i
                    n += 1 if joint[k, i] > floor[i] else 0
        for t in range(begin, n):
            logs[t] = joint[k, rows[t]] - largest[rows[t]]
    return n


_MANTISSA, _ONE_BITS = np.int64(0x000FFFFFFFFFFFFF), np.int64(0x3FF0000000000000)
_ROOT_OF_2, _LOG_2 = 1.4142135623730951, 0.6931471805599453


@_in_order
def _log64(x: Array, bits: Array) -> None:
    """Logarithms of a row in place, of normal numbers above 0, to an ulp or so of 1.

    ``x = 2^n m`` with m within a factor sqrt(2) of 1; log(m) by the series of
    ``2 artanh((m - 1) / (m + 1))``, whose terms from the 21st power on are below 2^-56.
    ``bits`` must be ``x`` seen as integers.
    """
    lanes = len(x)
    powers = np.empty(lanes)
    for i in range(lanes):
        powers[i] = np.float64((bits[i] >> 52) - 1023)
        bits[i] = (bits[i] & _MANTISSA) | _ONE_BITS
    for i in range(lanes):
        is_high = x[i] > _ROOT_OF_2
        m = 0.5 * x[i] if is_high else x[i]
        n = powers[i] + 1.0 if is_high else powers[i]
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        p = 1 / 15 + q * (1 / 17 + q * (1 / 19))
        p = 1 / 9 + q * (1 / 11 + q * (1 / 13 + q * p))
        p = 1 / 3 + q * (1 / 5 + q * (1 / 7 + q * p))
        x[i] = n * _LOG_2 + 2.0 * (s + s * q * p)


@_inlined
def _inverted(total: Array, largest: Array, n_rows: int, weight: Array) -> float:
    """Sum of the log densities ``largest + log(total)``; ``total`` becomes its inverse.

    0 beyond ``n_rows``. Where ``weight`` is not empty, densities and inverses are times it.
    """
    lanes = len(total)
    zero, one = total.dtype.type(0), total.dtype.type(1)
    for i in range(n_rows, lanes):
        largest[i] = zero
        total[i] = one
    log_likelihood = 0.0
    if len(weight) > 0:
        logs = np.empty(lanes)
        for i in range(lanes):
            logs[i] = np.float64(total[i])
        _log64(logs, logs.view(np.int64))
        for i in range(n_rows):
            log_likelihood += weight[i] * (np.float64(largest[i]) + logs[i])
        for i in range(n_rows):
            total[i] = total.dtype.type(weight[i] / np.float64(total[i]))
        for i in range(n_rows, lanes):
            total[i] = zero
        return log_likelihood
    # A total lies between 1 and K: of a product of a few, one logarithm serves all.
    for first in range(0, lanes, _LOG_ROWS):
        product = 1.0
        for i in range(first, first + _LOG_ROWS):
            product *= np.float64(total[i])
            log_likelihood += np.float64(largest[i])
        log_likelihood += np.log(product)
    for i in range(lanes):
        total[i] = one / total[i] if i < n_rows else zero
    return log_likelihood


@_inlined
def _normalise(
    joint: Array, bits: Array, n_rows: int, weight: Array, largest: Array, n_k: Array
) -> float:
    """Turn log densities (K, lanes) into responsibilities, in place, 0 beyond ``n_rows``.

    Returns the sum of the rows' log densities; adds their responsibilities to ``n_k``. All
    of it is times ``weight`` (n_rows,) where that is not empty.
    ``bits`` is scratch (lanes or more,), of integers as wide as the densities.
    """
    n_components, lanes = joint.shape
    zero = joint.dtype.type(0)
    bits = bits[:lanes]
    powers = bits.view(joint.dtype)
    total = np.empty(lanes, joint.dtype)
    for i in range(lanes):
        total[i] = zero
    for k in range(n_components):
        for i in range(lanes):
            joint[k, i] -= largest[i]
        if joint.itemsize == 8:
            _exp64(joint[k], bits, powers)
        else:
            _exp32(joint[k], bits, powers)
        for i in range(lanes):
            total[i] += joint[k, i]
    log_likelihood: float = _inverted(total, largest, n_rows, weight)
    for k in range(n_components):
        count = zero
        for i in range(lanes):
            joint[k, i] *= total[i]
            count += joint[k, i]
        n_k[k] += count
    return log_likelihood


@_inlined
def _normalise_listed(
    rows: Array,
    counts: Array,
    values: Array,
    bits: Array,
    n_rows: int,
    weight: Array,
    largest: Array,
    n_k: Array,
) -> float:
    """As :func:`_normalise`, of log densities that are listed; others are zero to rounding."""
    total = np.zeros(len(largest), values.dtype)
    bits = bits[: len(values)]
    powers = bits.view(values.dtype)
    if values.itemsize == 8:
        _exp64(values, bits, powers)
    else:
        _exp32(values, bits, powers)
    for t in range(len(values)):
        total[rows[t]] += values[t]
    log_likelihood: float = _inverted(total, largest, n_rows, weight)
    for t in range(len(values)):
        values[t] *= total[rows[t]]
    begin = 0
    for k in range(len(counts)):
        for t in range(begin, begin + counts[k]):
            n_k[k] += values[t]
        begin += counts[k]
    return log_likelihood


@_inlined
def _lanes_for(n_rows: int, most: int) -> int:
    """Rows of a tile, for as many rows as a cell has: tiles that are alike, and hold no more."""
    n_tiles = (n_rows + most - 1) // most
    lanes: int = (n_rows + _LOG_ROWS * n_tiles - 1) // (_LOG_ROWS * n_tiles) * _LOG_ROWS
    return lanes


_NATURAL_LANE_BYTES = 1024


@_inlined
def _densities(phi: Array, coefficients: Array, constant: Array, joint: Array) -> None:
    """``joint = constant + coefficients @ phi``, four by four in registers."""
    n_components, n_terms = coefficients.shape
    lanes = phi.shape[1]
    whole = n_components - n_components % 4
    for k in range(n_components):
        for i in range(lanes):
            joint[k, i] = constant[k]
    for k in range(0, whole, 4):
        for p in range(0, n_terms, 4):
            a, b = coefficients[k, p : p + 4], coefficients[k + 1, p : p + 4]
            c, d = coefficients[k + 2, p : p + 4], coefficients[k + 3, p : p + 4]
            a0, a1, a2, a3 = a[0], a[1], a[2], a[3]
            b0, b1, b2, b3 = b[0], b[1], b[2], b[3]
            c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
            d0, d1, d2, d3 = d[0], d[1], d[2], d[3]
            for i in range(lanes):
                q0, q1, q2, q3 = phi[p, i], phi[p + 1, i], phi[p + 2, i], phi[p + 3, i]
                joint[k, i] += a0 * q0 + a1 * q1 + a2 * q2 + a3 * q3
                joint[k + 1, i] += b0 * q0 + b1 * q1 + b2 * q2 + b3 * q3
                joint[k + 2, i] += c0 * q0 + c1 * q1 + c2 * q2 + c3 * q3
                joint[k + 3, i] += d0 * q0 + d1 * q1 + d2 * q2 + d3 * q3
    for k in range(whole, n_components):
        for p in range(0, n_terms, 4):
            a0 = coefficients[k, p]
            a1 = coefficients[k, p + 1]
            a2 = coefficients[k, p + 2]
            a3 = coefficients[k, p + 3]
            for i in range(lanes):
                q0, q1, q2, q3 = phi[p, i], phi[p + 1, i], phi[p + 2, i], phi[p + 3, i]
                joint[k, i] += a0 * q0 + a1 * q1 + a2 * q2 + a3 * q3


@_inlined
def _add_sums(phi: Array, resp: Array, sums: Array) -> None:
    """``sums += resp @ phi.T``, four by two in registers."""
    n_components, n_terms = sums.shape
    lanes = phi.shape[1]
    zero = phi.dtype.type(0)
    whole = n_components - n_components % 4
    for k in range(0, whole, 4):
        for p in range(0, n_terms, 2):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = zero
            for i in range(lanes):
                q0, q1 = phi[p, i], phi[p + 1, i]
                a0 += resp[k, i] * q0
                a1 += resp[k, i] * q1
                b0 += resp[k + 1, i] * q0
                b1 += resp[k + 1, i] * q1
                c0 += resp[k + 2, i] * q0
                c1 += resp[k + 2, i] * q1
                d0 += resp[k + 3, i] * q0
                d1 += resp[k + 3, i] * q1
            sums[k, p] += a0
            sums[k, p + 1] += a1
            sums[k + 1, p] += b0
            sums[k + 1, p + 1] += b1
            sums[k + 2, p] += c0
            sums[k + 2, p + 1] += c1
            sums[k + 3, p] += d0
            sums[k + 3, p + 1] += d1
    for k in range(whole, n_components):
        for p in range(0, n_terms, 4):
            a0 = a1 = a2 = a3 = zero
            for i in range(lanes):
                r = resp[k, i]
                a0 += r * phi[p, i]
                a1 += r * phi[p + 1, i]
                a2 += r * phi[p + 2, i]
                a3 += r * phi[p + 3, i]
            sums[k, p] += a0
            sums[k, p + 1] += a1
            sums[k, p + 2] += a2
            sums[k, p + 3] += a3


@_inlined
def _add_listed_sums(
    phi: Array, rows: Array, counts: Array, resp: Array, by_row: Array, sums: Array
) -> None:
    """As :func:`_add_sums`, of responsibilities that are listed. ``by_row`` is scratch."""
    n_terms, lanes = phi.shape
    for first in range(0, lanes, 8):
        for p in range(n_terms):
            for i in range(first, first + 8):
                by_row[i, p] = phi[p, i]
    begin = 0
    for k in range(len(counts)):
        for t in range(begin, begin + counts[k]):
            r = np.float64(resp[t])
            row = by_row[rows[t]]
            for p in range(n_terms):
                sums[k, p] += r * np.float64(row[p])
        begin += counts[k]


@_compiled
def add_natural(
    rows_given: WeightedRows,
    cells: Cells,
    arrays: NaturalArrays,
    bits: Array,
    n_k: Array,
    sums: Array,
) -> float:
    """Add, over rows, responsibilities, and responsibility times products.

    Parameters
    ----------
    rows_given : WeightedRows
    cells : Cells
    arrays : NaturalArrays
    bits : array of shape (0,)
        Its dtype is that of integers as wide as the coefficients.
    n_k, sums : arrays of shape (K,) and (K, P + D), float64
        Added to.

    Returns
    -------
    float
        Sum of the log densities of the rows.
    """
    x, weight = rows_given
    row_bounds, candidates = cells
    centre, inverse_scale, first_of, second_of, coefficients, constant = arrays
    dtype = coefficients.dtype
    n_terms = coefficients.shape[1]
    n_products = len(first_of)
    zero = dtype.type(0)
    most_lanes = _NATURAL_LANE_BYTES // coefficients.itemsize
    padded = (n_terms + 3) // 4 * 4
    n_chosen = candidates.shape[1]
    theta, heights = np.zeros((n_chosen, padded), dtype), np.empty(n_chosen, dtype)
    partial, partial_k = np.empty((n_chosen, padded)), np.empty(n_chosen)
    all_phi, by_row = np.empty(padded * most_lanes, dtype), np.empty((most_lanes, padded), dtype)
    all_joint = np.empty(n_chosen * most_lanes, dtype)
    all_largest, all_floor = np.empty(most_lanes, dtype), np.empty(most_lanes, dtype)
    counts = np.empty(n_chosen, np.int64)
    all_rows = np.empty(n_chosen * most_lanes + 1, np.int32)
    all_values = np.empty(n_chosen * most_lanes, dtype)
    scratch = np.empty(n_chosen * most_lanes, bits.dtype)
    log_likelihood = 0.0
    for m in range(len(row_bounds) - 1):
        begin, end = row_bounds[m], row_bounds[m + 1]
        if begin == end:
            continue
        lanes = _lanes_for(end - begin, most_lanes)
        phi = all_phi[: padded * lanes].reshape((padded, lanes))
        joint = all_joint[: n_chosen * lanes].reshape((n_chosen, lanes))
        largest, floor = all_largest[:lanes], all_floor[:lanes]
        phi[:] = zero  # what a tile of another width left there is no row
        z = phi[n_products:n_terms]
        for c in range(n_chosen):
            k = candidates[m, c]
            heights[c] = constant[k]
            for p in range(n_terms):
                theta[c, p] = coefficients[k, p]
        partial[:], partial_k[:] = 0.0, 0.0
        for start in range(begin, end, lanes):
            n_rows = _load(x, start, end, centre, inverse_scale, z)
            of_tile = weight[start : start + n_rows]
            for p in range(n_products):
                first, second = first_of[p], second_of[p]
                for i in range(lanes):
                    phi[p, i] = z[first, i] * z[second, i]
            _densities(phi, theta, heights, joint)
            active = _count_active(joint, n_rows, largest, floor, counts)
            if _listing_pays(active, n_chosen, lanes, n_terms):
                listed = _list_active(joint, largest, floor, counts, all_rows, all_values)
                rows, values = all_rows[:listed], all_values[:listed]
                log_likelihood += _normalise_listed(
                    rows, counts, values, scratch, n_rows, of_tile, largest, partial_k
                )
                _add_listed_sums(phi, rows, counts, values, by_row, partial)
            else:
                log_likelihood += _normalise(joint, scratch, n_rows, of_tile, largest, partial_k)
                _add_sums(phi, joint, partial)
        for c in range(n_chosen):
            k = candidates[m, c]
            n_k[k] += partial_k[c]
            for p in range(n_terms):
                sums[k, p] += partial[c, p]
    return log_likelihood


@_compiled
def find_log_densities(
    x: Array, arrays: NaturalArrays, bits: Array, heights: Array, totals: Array
) -> None:
    """Log density of each row as ``heights + log(totals)``, in float64 alone.

    NumPy takes many logarithms at a time.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    arrays : NaturalArrays
        With coefficients in float64.
    bits : array of shape (0,), int64
    heights, totals : arrays of shape (n,), float64
        Written over.
    """
    centre, inverse_scale, first_of, second_of, coefficients, constant = arrays
    dtype = coefficients.dtype
    n_components, n_terms = coefficients.shape
    n_products = len(first_of)
    lanes, padded = _NATURAL_LANE_BYTES // coefficients.itemsize, (n_terms + 3) // 4 * 4
    theta = np.zeros((n_components, padded), dtype)
    theta[:, :n_terms] = coefficients
    phi = np.zeros((padded, lanes), dtype)
    z = phi[n_products:n_terms]
    joint = np.empty((n_components, lanes), dtype)
    largest, total = np.empty(lanes, dtype), np.empty(lanes, dtype)
    scratch = np.empty(lanes, bits.dtype)
    powers = scratch.view(dtype)
    for start in range(0, len(x), lanes):
        n_rows = _load(x, start, len(x), centre, inverse_scale, z)
        for p in range(n_products):
            first, second = first_of[p], second_of[p]
            for i in range(lanes):
                phi[p, i] = z[first, i] * z[second, i]
        _densities(phi, theta, constant, joint)
        for i in range(lanes):
            largest[i] = joint[0, i]
            total[i] = 0
        for k in range(1, n_components):
            for i in range(lanes):
                largest[i] = joint[k, i] if joint[k, i] > largest[i] else largest[i]
        for k in range(n_components):
            for i in range(lanes):
                joint[k, i] -= largest[i]
            _exp64(joint[k], scratch, powers)
            for i in range(lanes):
                total[i] += joint[k, i]
        for i in range(n_rows):
            heights[start + i] = largest[i]
            totals[start + i] = total[i]


_SEARCHED = 64
"""Points whose products with a tile of rows stay in the first caches."""


@_compiled
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
    dtype = coefficients.dtype
    n, d = x.shape
    n_points = len(coefficients)
    lanes, padded = _NATURAL_LANE_BYTES // coefficients.itemsize, (d + 3) // 4 * 4
    ones = np.ones(d)
    theta = np.zeros((n_points, padded), dtype)
    theta[:, :d] = coefficients
    all_z = np.zeros((padded, lanes), dtype)
    z = all_z[:d]
    near, largest = np.empty((_SEARCHED, lanes), dtype), np.empty(lanes, dtype)
    which = np.empty(lanes, dtype)  # of the same width: exact up to 2^24
    for start in range(0, n, lanes):
        n_rows = _load(x, start, n, centre, ones, z)
        which[:], largest[:] = dtype.type(0), dtype.type(-np.inf)
        for first in range(0, n_points, _SEARCHED):
            stop = min(first + _SEARCHED, n_points)
            _densities(all_z, theta[first:stop], constant[first:stop], near[: stop - first])
            for k in range(stop - first):
                name = dtype.type(first + k)
                for i in range(lanes):
                    here, best = near[k, i], largest[i]
                    which[i] = name if here > best else which[i]
                    largest[i] = here if here > best else best
        for i in range(n_rows):
            nearest[start + i] = np.int64(which[i])


_WHITENED_LANE_BYTES = 2304  # not a power of two: features would share a cache set


@_inlined
def _squares(z: Array, factor: Array, shift: Array, y: Array, out: Array) -> None:
    """``out = |y|^2`` of ``y = factor @ z + shift``, factor lower triangular (D, D).

    Four features at a time, four by four in registers; then what is left of D, one.
    """
    d, lanes = z.shape
    zero = z.dtype.type(0)
    whole = d - d % 4
    for i in range(lanes):
        out[i] = zero
    for a in range(0, whole, 4):
        for r in range(4):
            for i in range(lanes):
                y[r, i] = shift[a + r]
        for b in range(0, a + 4, 4):
            f00, f01, f02, f03 = factor[a, b], factor[a, b + 1], factor[a, b + 2], factor[a, b + 3]
            one, two, three = factor[a + 1, b:], factor[a + 2, b:], factor[a + 3, b:]
            f10, f11, f12, f13 = one[0], one[1], one[2], one[3]
            f20, f21, f22, f23 = two[0], two[1], two[2], two[3]
            f30, f31, f32, f33 = three[0], three[1], three[2], three[3]
            for i in range(lanes):
                z0, z1, z2, z3 = z[b, i], z[b + 1, i], z[b + 2, i], z[b + 3, i]
                y[0, i] += f00 * z0 + f01 * z1 + f02 * z2 + f03 * z3
                y[1, i] += f10 * z0 + f11 * z1 + f12 * z2 + f13 * z3
                y[2, i] += f20 * z0 + f21 * z1 + f22 * z2 + f23 * z3
                y[3, i] += f30 * z0 + f31 * z1 + f32 * z2 + f33 * z3
        for i in range(lanes):
            out[i] += y[0, i] * y[0, i] + y[1, i] * y[1, i] + y[2, i] * y[2, i] + y[3, i] * y[3, i]
    for a in range(whole, d):
        for i in range(lanes):
            y[0, i] = shift[a]
        for b in range(0, whole, 4):
            f00, f01, f02, f03 = factor[a, b], factor[a, b + 1], factor[a, b + 2], factor[a, b + 3]
            for i in range(lanes):
                y[0, i] += f00 * z[b, i] + f01 * z[b + 1, i] + f02 * z[b + 2, i] + f03 * z[b + 3, i]
        for b in range(whole, a + 1):
            f00 = factor[a, b]
            for i in range(lanes):
                y[0, i] += f00 * z[b, i]
        for i in range(lanes):
            out[i] += y[0, i] * y[0, i]


@_inlined
def _add_scatter(v: Array, w: Array, second: Array) -> None:
    """``second += w @ v.T`` on and below the diagonal, four by four in registers."""
    d, lanes = v.shape
    zero = v.dtype.type(0)
    whole = d - d % 4
    for a in range(0, whole, 4):
        for b in range(0, a + 4, 4):
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
            for i in range(lanes):
                v0, v1, v2, v3 = v[b, i], v[b + 1, i], v[b + 2, i], v[b + 3, i]
                w0, w1, w2, w3 = w[a, i], w[a + 1, i], w[a + 2, i], w[a + 3, i]
                s00 += w0 * v0
                s01 += w0 * v1
                s02 += w0 * v2
                s03 += w0 * v3
                s10 += w1 * v0
                s11 += w1 * v1
                s12 += w1 * v2
                s13 += w1 * v3
                s20 += w2 * v0
                s21 += w2 * v1
                s22 += w2 * v2
                s23 += w2 * v3
                s30 += w3 * v0
                s31 += w3 * v1
                s32 += w3 * v2
                s33 += w3 * v3
            second[a, b] += s00
            second[a, b + 1] += s01
            second[a, b + 2] += s02
            second[a, b + 3] += s03
            second[a + 1, b] += s10
            second[a + 1, b + 1] += s11
            second[a + 1, b + 2] += s12
            second[a + 1, b + 3] += s13
            second[a + 2, b] += s20
            second[a + 2, b + 1] += s21
            second[a + 2, b + 2] += s22
            second[a + 2, b + 3] += s23
            second[a + 3, b] += s30
            second[a + 3, b + 1] += s31
            second[a + 3, b + 2] += s32
            second[a + 3, b + 3] += s33
    for a in range(whole, d):
        for b in range(0, whole, 4):
            s00 = s01 = s02 = s03 = zero
            for i in range(lanes):
                w0 = w[a, i]
                s00 += w0 * v[b, i]
                s01 += w0 * v[b + 1, i]
                s02 += w0 * v[b + 2, i]
                s03 += w0 * v[b + 3, i]
            second[a, b] += s00
            second[a, b + 1] += s01
            second[a, b + 2] += s02
            second[a, b + 3] += s03
        for b in range(whole, a + 1):
            s00 = zero
            for i in range(lanes):
                s00 += w[a, i] * v[b, i]
            second[a, b] += s00


@_compiled
def add_whitened(
    rows_given: WeightedRows,
    cells: Cells,
    arrays: WhitenedArrays,
    bits: Array,
    sums: WhitenedSums,
) -> float:
    """Add, over rows, responsibilities, and moments about the means weighted by them.

    Parameters
    ----------
    rows_given : WeightedRows
    cells : Cells
    arrays : WhitenedArrays
    bits : array of shape (0,)
        Its dtype is that of integers as wide as the factors.
    sums : WhitenedSums

    Returns
    -------
    float
        Sum of the log densities of the rows.
    """
    x, weight = rows_given
    row_bounds, candidates = cells
    centre, inverse_scale, means, factors, shifts, heights = arrays
    n_k, first, second = sums
    dtype = factors.dtype
    d = x.shape[1]
    n_chosen = candidates.shape[1]
    most_lanes = _WHITENED_LANE_BYTES // factors.itemsize
    zero, half = dtype.type(0), dtype.type(0.5)
    all_z, all_y = np.empty(d * most_lanes, dtype), np.empty(4 * most_lanes, dtype)
    all_v, all_w = np.empty(d * most_lanes, dtype), np.empty(d * most_lanes, dtype)
    all_joint = np.empty(n_chosen * most_lanes, dtype)
    all_largest, all_floor = np.empty(most_lanes, dtype), np.empty(most_lanes, dtype)
    all_square = np.empty(most_lanes, dtype)
    counts, partial_k = np.empty(n_chosen, np.int64), np.empty(n_chosen)
    all_rows = np.empty(n_chosen * most_lanes + 1, np.int32)
    all_values = np.empty(n_chosen * most_lanes, dtype)
    scratch = np.empty(n_chosen * most_lanes, bits.dtype)
    log_likelihood = 0.0
    for m in range(len(row_bounds) - 1):
        begin_row, end_row = row_bounds[m], row_bounds[m + 1]
        if begin_row == end_row:
            continue
        lanes = _lanes_for(end_row - begin_row, most_lanes)
        z, y = all_z[: d * lanes].reshape((d, lanes)), all_y[: 4 * lanes].reshape((4, lanes))
        joint = all_joint[: n_chosen * lanes].reshape((n_chosen, lanes))
        largest, floor, square = all_largest[:lanes], all_floor[:lanes], all_square[:lanes]
        z[:] = zero  # what a tile of another width left there is no row
        partial_k[:] = 0.0
        for start in range(begin_row, end_row, lanes):
            n_rows = _load(x, start, end_row, centre, inverse_scale, z)
            of_tile = weight[start : start + n_rows]
            for c in range(n_chosen):
                k = candidates[m, c]
                _squares(z, factors[k], shifts[k], y, square)
                for i in range(lanes):
                    joint[c, i] = heights[k] - half * square[i]
            active = _count_active(joint, n_rows, largest, floor, counts)
            listing = _listing_pays(active, n_chosen, lanes, d * (d + 3) // 2)
            if listing:
                listed = _list_active(joint, largest, floor, counts, all_rows, all_values)
                log_likelihood += _normalise_listed(
                    all_rows[:listed],
                    counts,
                    all_values[:listed],
                    scratch,
                    n_rows,
                    of_tile,
                    largest,
                    partial_k,
                )
            else:
                log_likelihood += _normalise(joint, scratch, n_rows, of_tile, largest, partial_k)
            begin = 0
            for c in range(n_chosen):
                n_active = counts[c] if listing else lanes
                if n_active == 0:
                    continue
                k = candidates[m, c]
                # Whole runs, so that the loops below have no remainder.
                width = (n_active + _RUN - 1) // _RUN * _RUN
                v = all_v[: d * width].reshape((d, width))
                w = all_w[: d * width].reshape((d, width))
                for j in range(d):
                    mean = means[k, j]
                    if listing:
                        for t in range(n_active):
                            v[j, t] = z[j, all_rows[begin + t]] - mean
                            w[j, t] = all_values[begin + t] * v[j, t]
                        for t in range(n_active, width):
                            v[j, t] = w[j, t] = zero
                    else:
                        for i in range(lanes):
                            v[j, i] = z[j, i] - mean
                            w[j, i] = joint[c, i] * v[j, i]
                    total = zero
                    for i in range(width):
                        total += w[j, i]
                    first[k, j] += total
                _add_scatter(v, w, second[k])
                begin += n_active
        for c in range(n_chosen):
            n_k[candidates[m, c]] += partial_k[c]
    return log_likelihood


_MOMENT_LANES = 128


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


@_compiled
def scan_moments(x: Array, root_weight: Array, pilot: Array, found: MomentArrays) -> None:
    """Mean, scatter and extremes of the rows of a block, all finite, written into arrays.

    Each tile has its scatter about its own mean, and they are added by the update of
    Chan, Golub and LeVeque (1983).

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
    mean, scatter, minimum, maximum = found
    n, d = x.shape
    is_weighted = len(root_weight) > 0
    nothing, ones = np.zeros(d), np.ones(d)
    z = np.zeros((d, _MOMENT_LANES))
    low, high = np.full((d, _MOMENT_LANES), np.inf), np.full((d, _MOMENT_LANES), -np.inf)
    delta, root = np.empty(d), np.ones(_MOMENT_LANES)
    mean[:] = 0.0
    before = 0.0
    for start in range(0, n, _MOMENT_LANES):
        n_rows = _load(x, start, n, nothing, ones, z)
        here = 1.0 * n_rows
        if is_weighted:
            here = 0.0
            for i in range(n_rows):
                root[i] = root_weight[start + i]
                here += root[i] * root[i]
        share = here / (before + here)
        for j in range(d):
            for i in range(n_rows, _MOMENT_LANES):
                z[j, i] = z[j, 0]  # counts for no extreme
            for i in range(_MOMENT_LANES):
                low[j, i] = z[j, i] if z[j, i] < low[j, i] else low[j, i]
                high[j, i] = z[j, i] if z[j, i] > high[j, i] else high[j, i]
            total = 0.0
            for i in range(_MOMENT_LANES):
                z[j, i] -= pilot[j]
            for i in range(n_rows, _MOMENT_LANES):
                z[j, i] = 0.0
            if is_weighted:
                for i in range(_MOMENT_LANES):
                    total += root[i] * root[i] * z[j, i]
            else:
                for i in range(_MOMENT_LANES):
                    total += z[j, i]
            total /= here
            for i in range(_MOMENT_LANES):
                z[j, i] -= total
            if is_weighted:
                for i in range(_MOMENT_LANES):
                    z[j, i] *= root[i]
            for i in range(n_rows, _MOMENT_LANES):
                z[j, i] = 0.0
            delta[j] = total - mean[j]
        _add_scatter(z, z, scatter)
        for a in range(d):
            for b in range(a + 1):
                scatter[a, b] += before * share * delta[a] * delta[b]
            mean[a] += share * delta[a]
        before += here
    for j in range(d):
        minimum[j] = low[j].min()
        maximum[j] = high[j].max()
        mean[j] += pilot[j]
