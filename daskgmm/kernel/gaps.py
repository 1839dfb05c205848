"""Gaps: the E-step of rows in which features are missing.

The density of a row is that of its observed features. Expected statistics are those of complete
rows: of each component, deviations as it expects them given the observed ones, and second moments to
which the conditional covariances are added. They are sums over rows like all others, so that EM on
them climbs the log-likelihood of what is observed, where values are missing at random.

References
----------
Ghahramani and Jordan (1994), Supervised learning from incomplete data via an EM approach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import CompletesRows, Gaussians
from daskgmm.kernel.components.completed import Completed
from daskgmm.kernel.formulations import formulation_of
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.patterns import GROUP_BYTES
from daskgmm.kernel.statistics import Statistics

__all__ = [
    "bytes_with_gaps",
    "completed_rows",
    "gaps_in",
    "has_density_of_parts",
    "statistics_with_gaps",
]

_SPAN_BYTES = 4 * 2**20
_MOST_ROWS = 4096


def bytes_with_gaps(n_rows: int, k: int, d: int) -> int:
    """Most bytes that one thread needs beside those of complete rows, for a grain of ``n_rows``.

    They are copies of its rows, which gaps it has, and how its patterns are sorted; what is found for
    a group of patterns, and for the rows of a span; and matrices of one pattern.
    """
    of_rows = n_rows * (2 * 8 * d + 2 * d + 5 * 8)
    return of_rows + 3 * GROUP_BYTES + 3 * _SPAN_BYTES + 4 * 8 * k * d * d


def has_density_of_parts(mixture: Mixture) -> bool:
    """Whether a mixture has a density of some of the features of a row."""
    return isinstance(mixture.components, CompletesRows) and mixture.noise is None


def gaps_in(x: NDArray[Any], mixture: Mixture) -> NDArray[np.bool_] | None:
    """Which values (n, D) are NaN; None if none is, or the mixture cannot do without them."""
    if x.dtype.kind != "f" or len(x) == 0 or not np.isnan(x.min()):
        return None
    return np.isnan(x) if has_density_of_parts(mixture) else None


def completed_rows(
    x: NDArray[Any], gaps: NDArray[np.bool_], mixture: Mixture
) -> Iterator[tuple[NDArray[np.intp], Completed, Float64Array]]:
    """Rows with gaps as the components expect them to be, some at a time.

    Parameters
    ----------
    x : ndarray of shape (n, D)
    gaps : ndarray of bool, shape (n, D)
        Which values are NaN.
    mixture : Mixture

    Yields
    ------
    rows : ndarray of int, shape (m,)
        Indices of rows with one gap or more.
    completed : Completed
    joint : ndarray of shape (K, m)
        ``log w_k + log N(x_io | mu_ko, S_koo)``, in nats.
    """
    components = mixture.components
    assert isinstance(components, CompletesRows)
    with np.errstate(divide="ignore"):
        log_weights = np.log(mixture.weights)[:, None]
    k, d = mixture.means.shape
    some = np.flatnonzero(gaps.any(axis=1))
    for group, filler in components.fillers(gaps[some]):
        n_missing = int(gaps[some[group[0]]].sum())
        row_bytes = 8 * (k * (3 + n_missing) + 6 * d + 2 * n_missing**2)
        at_once = max(1, min(_MOST_ROWS, _SPAN_BYTES // row_bytes))
        for start in range(0, len(group), at_once):
            span = slice(start, start + at_once)
            rows = some[group[span]]
            x_t = np.ascontiguousarray(x[rows].T, np.float64)
            completed = filler.completed(x_t, span)
            yield rows, completed, completed.log_densities + log_weights


def statistics_with_gaps(
    block: Block, mixture: Mixture, dtype: np.dtype[Any], log_density: Float64Array | None = None
) -> Statistics:
    """Statistics of rows of which some have gaps, and each has a weight above 0.

    Parameters
    ----------
    block : Block
    mixture : Mixture
        Of Gaussians, without noise.
    dtype : dtype
        Of the arithmetic on complete rows; that on others is float64.
    log_density : ndarray of shape (n,), optional
        Where the log density of what is observed of each row is written.

    Returns
    -------
    Statistics
        About the mixture's means, with the sums that complete rows have.
    """
    gaps = np.isnan(block.x)
    is_complete = ~gaps.any(axis=1)
    formulation = formulation_of(mixture, dtype)
    if is_complete.all():
        return formulation.statistics(replace(block, has_gaps=False), log_density)
    total = _of_rows_with_gaps(block, gaps, mixture, log_density)
    if not is_complete.any():
        return total
    of_complete = None if log_density is None else np.empty(int(is_complete.sum()))
    complete = replace(block.take(is_complete), has_gaps=False)
    found = formulation.statistics(complete, of_complete)
    if log_density is not None:
        log_density[is_complete] = of_complete
    return replace(found + total, n_rows=len(block))


def _of_rows_with_gaps(
    block: Block, gaps: NDArray[np.bool_], mixture: Mixture, log_density: Float64Array | None
) -> Statistics:
    """Statistics of the rows with gaps alone."""
    components, total = mixture.components, Statistics.zero(mixture.means, mixture.kind)
    assert isinstance(components, Gaussians)
    n_rows, weight, log_likelihood = 0, 0.0, 0.0
    for rows, completed, joint in completed_rows(block.x, gaps, mixture):
        resp, log_total = normalise(joint, bounded=False)
        if log_density is not None:
            log_density[rows] = log_total
        n_rows += len(rows)
        if block.weight is None:
            weight += len(rows)
            log_likelihood += float(log_total.sum())
        else:
            of_rows = block.weight[rows]
            resp *= of_rows
            weight += float(of_rows.sum())
            log_likelihood += float(of_rows @ log_total)
        components.add_completed(total.sums, completed, resp)
    return replace(total, n_rows=n_rows, weight=weight, log_likelihood=log_likelihood)
