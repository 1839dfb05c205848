"""The E-step of the natural form as one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.formulations.sub_blocked import SMALLEST

__all__ = ["absorb_rows", "can_be_kept", "is_kept"]

Array = NDArray[Any]

# Sums may be reordered into vector registers and multiplications fused with additions;
# NaN and infinity keep their meaning.
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_LANES = 128  # rows at a time: a row of one product is 1 KiB
_LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first exact in few bits, so that n ln 2 cancels x exactly
# (Cody and Waite 1980).
_LN2_HIGH, _LN2_LOW = 6.93145751953125e-1, 1.42860682030941723212e-6
_LOWEST = -708.0  # exp is a normal number above


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(nogil=True, fastmath=_FAST, cache=True)(function)
    except RuntimeError:  # no folder to keep compiled code in
        return numba.njit(nogil=True, fastmath=_FAST)(function)


@_compiled
def _exp(x: Array, out: Array, bits: Array, powers: Array) -> None:
    """Exponentials of one row of lanes, none above 0, to 1 ulp or so.

    ``x = n ln 2 + r`` with r within half of ln 2; exp(r) by its Taylor polynomial,
    to the 12th power, which leaves less than 1.5 * 2^-53; 2^n by writing n into the exponent's bits.
    ``powers`` must be ``bits`` seen as float64.
    """
    for i in range(_LANES):
        value = max(x[i], _LOWEST)
        n = np.floor(value * _LOG2_E + 0.5)
        r = (value - n * _LN2_HIGH) - n * _LN2_LOW
        p = 1 / 39916800 + r * (1 / 479001600)
        p = 1 / 362880 + r * (1 / 3628800 + r * p)
        p = 1 / 5040 + r * (1 / 40320 + r * p)
        p = 1 / 120 + r * (1 / 720 + r * p)
        p = 1 / 6 + r * (1 / 24 + r * p)
        out[i] = 1.0 + r * (1.0 + r * (0.5 + r * p))
        bits[i] = (np.int64(n) + 1023) << 52
    for i in range(_LANES):
        out[i] *= powers[i]


@_compiled
def _densities(phi: Array, coefficients: Array, constant: Array, joint: Array) -> None:
    """``joint = constant + coefficients @ phi``, four by four in registers."""
    n_components, n_terms = coefficients.shape
    whole = n_components - n_components % 4
    for k in range(n_components):
        for i in range(_LANES):
            joint[k, i] = constant[k]
    for k in range(0, whole, 4):
        for p in range(0, n_terms, 4):
            a0 = coefficients[k, p]
            a1 = coefficients[k, p + 1]
            a2 = coefficients[k, p + 2]
            a3 = coefficients[k, p + 3]
            b0 = coefficients[k + 1, p]
            b1 = coefficients[k + 1, p + 1]
            b2 = coefficients[k + 1, p + 2]
            b3 = coefficients[k + 1, p + 3]
            c0 = coefficients[k + 2, p]
            c1 = coefficients[k + 2, p + 1]
            c2 = coefficients[k + 2, p + 2]
            c3 = coefficients[k + 2, p + 3]
            d0 = coefficients[k + 3, p]
            d1 = coefficients[k + 3, p + 1]
            d2 = coefficients[k + 3, p + 2]
            d3 = coefficients[k + 3, p + 3]
            for i in range(_LANES):
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
            for i in range(_LANES):
                q0, q1, q2, q3 = phi[p, i], phi[p + 1, i], phi[p + 2, i], phi[p + 3, i]
                joint[k, i] += a0 * q0 + a1 * q1 + a2 * q2 + a3 * q3


@_compiled
def _add_sums(phi: Array, resp: Array, sums: Array) -> None:
    """``sums += resp @ phi.T``, four by two in registers."""
    n_components, n_terms = sums.shape
    whole = n_components - n_components % 4
    for k in range(0, whole, 4):
        for p in range(0, n_terms, 2):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = 0.0
            for i in range(_LANES):
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
            a0 = a1 = a2 = a3 = 0.0
            for i in range(_LANES):
                r = resp[k, i]
                a0 += r * phi[p, i]
                a1 += r * phi[p + 1, i]
                a2 += r * phi[p + 2, i]
                a3 += r * phi[p + 3, i]
            sums[k, p] += a0
            sums[k, p + 1] += a1
            sums[k, p + 2] += a2
            sums[k, p + 3] += a3


@_compiled
def _normalise(joint: Array, resp: Array, total: Array, n_rows: int, n_k: Array) -> float:
    """Responsibilities from their numerators; count them; return the sum of log totals."""
    n_components = len(joint)
    log_likelihood = 0.0
    for i in range(_LANES):
        total[i] = 0.0
    for k in range(n_components):
        for i in range(_LANES):
            total[i] += resp[k, i]
    for i in range(n_rows):
        offset = 0.0
        if not total[i] > SMALLEST:  # far from all components: about the largest, as NumPy's
            offset = joint[0, i]
            for k in range(1, n_components):
                offset = max(offset, joint[k, i])
            total[i] = 0.0
            for k in range(n_components):
                resp[k, i] = np.exp(joint[k, i] - offset)
                total[i] += resp[k, i]
        log_likelihood += offset + np.log(total[i])
    for i in range(_LANES):
        total[i] = 1.0 / total[i] if i < n_rows else 0.0
    for k in range(n_components):
        count = 0.0
        for i in range(_LANES):
            resp[k, i] *= total[i]
            count += resp[k, i]
        n_k[k] += count
    return log_likelihood


@_compiled
def absorb_rows(
    x: Array,
    centre: Array,
    inverse_scale: Array,
    first_of: Array,
    second_of: Array,
    coefficients: Array,
    constant: Array,
    sums: Array,
    n_k: Array,
) -> float:
    """Add the sums over rows of responsibility times products, and count.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    centre, inverse_scale : arrays of shape (D,)
        ``z = (x - centre) * inverse_scale``.
    first_of, second_of : arrays of shape (P,)
        Features whose products are the second-order terms.
    coefficients : array of shape (K, P + D)
        Of the products and of z, in the log densities.
    constant : array of shape (K,)
    sums : array of shape (K, P + D)
        Added to.
    n_k : array of shape (K,)
        Added to.

    Returns
    -------
    float
        Sum of the log densities of the rows, relative to the constants' bound.
    """
    n, d = x.shape
    n_components, n_terms = coefficients.shape
    n_products = len(first_of)
    padded = (n_terms + 3) // 4 * 4
    theta = np.zeros((n_components, padded))
    theta[:, :n_terms] = coefficients
    partial = np.zeros((n_components, padded))
    z = np.zeros((d, _LANES))
    phi = np.zeros((padded, _LANES))
    joint, resp = np.empty((n_components, _LANES)), np.empty((n_components, _LANES))
    total, bits = np.empty(_LANES), np.empty(_LANES, np.int64)
    powers = bits.view(np.float64)
    log_likelihood = 0.0
    for start in range(0, n, _LANES):
        n_rows = min(_LANES, n - start)
        for i in range(n_rows):
            for j in range(d):
                z[j, i] = (np.float64(x[start + i, j]) - centre[j]) * inverse_scale[j]
        for p in range(n_products):
            first, second = first_of[p], second_of[p]
            for i in range(_LANES):
                phi[p, i] = z[first, i] * z[second, i]
        for j in range(d):
            for i in range(_LANES):
                phi[n_products + j, i] = z[j, i]
        _densities(phi, theta, constant, joint)
        for k in range(n_components):
            _exp(joint[k], resp[k], bits, powers)
        log_likelihood += _normalise(joint, resp, total, n_rows, n_k)
        _add_sums(phi, resp, partial)
    sums += partial[:, :n_terms]
    return log_likelihood


def is_kept() -> bool:
    """Whether compiled code is kept from an earlier run (of this version or another)."""
    folder = absorb_rows._cache.cache_path  # type: ignore[attr-defined]
    return folder is not None and any(Path(folder).glob("fused.absorb_rows-*.nbc"))


def can_be_kept() -> bool:
    """Whether there is a folder to keep compiled code in."""
    return absorb_rows._cache.cache_path is not None  # type: ignore[attr-defined]
