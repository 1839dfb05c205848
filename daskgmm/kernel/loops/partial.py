"""Partial: loops over rows that tell a part of what they are, by gaps or by measurement noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.fused_arrays import (
    CorrelatedArrays,
    MeasuredArrays,
    SeparateArrays,
    WeightedRows,
)
from daskgmm.kernel.loops import FLOAT64, INT64

__all__ = ["add_correlated", "add_measured", "add_separate", "find_gaps"]

Array = NDArray[Any]


def find_gaps(x: Array) -> tuple[Array, Array]:
    """Indices of the rows of which a value is NaN, ascending, and how many values of each are.

    Parameters
    ----------
    x : array of shape (n, D), float32 or float64, C-contiguous
    """
    n = len(x)
    rows, n_missing, n_found = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(1, np.int64)
    of_found = [loops.address(rows, INT64, n), loops.address(n_missing, INT64, n)]
    of_found.append(loops.address(n_found, INT64, 1))
    loops.call(
        f"find_gaps_{x.dtype}", loops.struct_of_rows(loops.weighted_rows(x)), loops.struct(of_found)
    )
    return rows[: n_found[0]].copy(), n_missing[: n_found[0]].copy()


def _struct_of_sums(
    log_likelihood: Array, sums: tuple[Array, Array, Array], shape: tuple[int, ...]
) -> Any:
    """The log-likelihood (1,), and sums (K,), (K, D) and of ``shape``, as the loops take them."""
    n_k, first, second = sums
    k, d = len(n_k), shape[-1]
    return loops.struct(
        [
            loops.address(log_likelihood, FLOAT64, 1),
            loops.address(n_k, FLOAT64, k),
            loops.address(first, FLOAT64, k, d),
            loops.address(second, FLOAT64, *shape),
        ]
    )


def add_correlated(
    rows: WeightedRows, arrays: CorrelatedArrays, n_k: Array, first: Array, second: Array
) -> float:
    """Add, over rows with gaps, responsibilities and expected moments about the means.

    Parameters
    ----------
    rows : WeightedRows
        NaN is missing.
    arrays : CorrelatedArrays
    n_k, first, second : arrays of shape (K,), (K, D) and that of the precisions, float64
        Added to; of ``second`` only the lower triangle is written.

    Returns
    -------
    float
        Sum of the log densities of what is observed of each row.
    """
    (k, d), log_likelihood = arrays.means.shape, np.zeros(1)
    shape = len(arrays.precisions), d, d
    of_arrays = [
        loops.address(arrays.means, FLOAT64, k, d),
        loops.address(arrays.precisions, FLOAT64, *shape),
        loops.address(arrays.heights, FLOAT64, k),
        k,
        len(arrays.precisions),
    ]
    of_sums = _struct_of_sums(log_likelihood, (n_k, first, second), shape)
    loops.call("add_correlated", loops.struct_of_rows(rows), loops.struct(of_arrays), of_sums)
    return float(log_likelihood[0])


def add_separate(rows: WeightedRows, arrays: SeparateArrays, n_k: Array, sums: Array) -> float:
    """Add, over rows with gaps, responsibilities, and these times what coefficients are of.

    Parameters
    ----------
    rows : WeightedRows
        NaN is missing.
    arrays : SeparateArrays
    n_k, sums : arrays of shape (K,) and (K, 3 D), float64
        Added to.

    Returns
    -------
    float
        As of :func:`add_correlated`.
    """
    (k, n_terms), log_likelihood = arrays.coefficients.shape, np.zeros(1)
    of_arrays = [
        loops.address(arrays.centre, FLOAT64, n_terms // 3),
        loops.address(arrays.coefficients, FLOAT64, k, n_terms),
        loops.address(arrays.constant, FLOAT64, k),
        k,
    ]
    of_sums = [
        loops.address(log_likelihood, FLOAT64, 1),
        loops.address(n_k, FLOAT64, k),
        loops.address(sums, FLOAT64, k, n_terms),
    ]
    loops.call(
        "add_separate", loops.struct_of_rows(rows), loops.struct(of_arrays), loops.struct(of_sums)
    )
    return float(log_likelihood[0])


def add_measured(
    rows: WeightedRows,
    noise: Array,
    arrays: MeasuredArrays,
    sums: tuple[Array, Array, Array],
) -> float:
    """Add, over rows with measurement noise, what the values behind them are expected to be.

    Parameters
    ----------
    rows : WeightedRows
        NaN is missing.
    noise : array of shape (n, D), float64
        Variances.
    arrays : MeasuredArrays
    sums : arrays of shape (K,), (K, D) and that of the arrays' matrices, float64
        Added to: responsibilities r; and where these are variances, expected first and second
        moments about the means. Else, with T the covariance of a measured row, sums of r h,
        h = inv(T) (x - mu), and of r (h h^T - inv(T)), of which the lower triangle is written.

    Returns
    -------
    float
        Sum of the log densities of the rows.
    """
    (k, d), log_likelihood, shape = arrays.means.shape, np.zeros(1), arrays.matrices.shape
    of_arrays = [
        loops.address(arrays.means, FLOAT64, k, d),
        loops.address(arrays.matrices, FLOAT64, *shape),
        loops.address(arrays.heights, FLOAT64, k),
        loops.address(noise, FLOAT64, *rows.x.shape),
        k,
        len(arrays.matrices),
    ]
    of_sums = _struct_of_sums(log_likelihood, sums, shape)
    name = "correlated" if len(shape) == 3 else "separate"
    loops.call(
        f"add_measured_{name}",
        loops.struct_of_rows(rows),
        loops.struct(of_arrays),
        of_sums,
    )
    return float(log_likelihood[0])
