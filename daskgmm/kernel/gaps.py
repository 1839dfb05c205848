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

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array, PickedBlock
from daskgmm.kernel.components import CompletesRows, Gaussians
from daskgmm.kernel.components.completed import Completed
from daskgmm.kernel.components.gap_loops import GapLoop
from daskgmm.kernel.expected import expected_statistics
from daskgmm.kernel.formulations import Formulation, formulation_of
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.gap_rows import GapRows, gap_rows, others
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.patterns import GROUP_BYTES, common_patterns
from daskgmm.kernel.statistics import Statistics

__all__ = [
    "bytes_with_gaps",
    "completed_rows",
    "gaps_in",
    "has_density_of_parts",
    "log_densities_with_gaps",
    "statistics_with_gaps",
]

_FLOAT64 = np.dtype(np.float64)
_SPAN_BYTES = 4 * 2**20
_MOST_ROWS = 4096


def bytes_with_gaps(n_rows: int, k: int, d: int) -> int:
    """Most bytes that one thread needs beside those of complete rows, for a grain of ``n_rows``.

    They are copies of its rows, which gaps it has, and how its patterns are sorted; what is found for
    a group of patterns, and for the rows of a span; and matrices of common patterns, or of the
    rows of a tile.
    """
    of_rows = n_rows * (2 * 8 * d + 2 * d + 5 * 8)
    return of_rows + 3 * GROUP_BYTES + 3 * _SPAN_BYTES + _KEPT_BYTES + 14 * 8 * k * d * d


def has_density_of_parts(mixture: Mixture) -> bool:
    """Whether a mixture has a density of some of the features of a row."""
    return isinstance(mixture.components, CompletesRows) and mixture.noise is None


def gaps_in(x: NDArray[Any], mixture: Mixture) -> GapRows | None:
    """As :func:`gap_rows`; None as well if the mixture cannot do without all features."""
    return gap_rows(x) if has_density_of_parts(mixture) else None


def completed_rows(
    x: NDArray[Any], some: GapRows, mixture: Mixture
) -> Iterator[tuple[NDArray[np.intp], Completed, Float64Array]]:
    """Rows with gaps as the components expect them to be, some at a time.

    Parameters
    ----------
    x : ndarray of shape (n, D)
    some : GapRows
        Rows of it.
    mixture : Mixture

    Yields
    ------
    rows : ndarray of int, shape (m,)
    completed : Completed
    joint : ndarray of shape (K, m)
        ``log w_k + log N(x_io | mu_ko, S_koo)``, in nats.
    """
    components = mixture.components
    assert isinstance(components, CompletesRows)
    log_weights = mixture.log_weights[:, None]
    k, d = mixture.means.shape
    if len(some) == 0:
        return
    for group, filler in components.fillers(some.gaps):
        n_missing = int(some.gaps[group[0]].sum())
        row_bytes = 8 * (k * (3 + n_missing) + 6 * d + 2 * n_missing**2)
        at_once = max(1, min(_MOST_ROWS, _SPAN_BYTES // row_bytes))
        for start in range(0, len(group), at_once):
            span = slice(start, start + at_once)
            rows = some.rows[group[span]]
            x_t = np.ascontiguousarray(x[rows].T, np.float64)
            completed = filler.completed(x_t, span)
            yield rows, completed, completed.log_densities + log_weights


def log_densities_with_gaps(x: NDArray[Any], some: GapRows, mixture: Mixture) -> Float64Array:
    """Log density of what is observed of each row, (n,).

    Parameters
    ----------
    x : ndarray of shape (n, D)
    some : GapRows
        Those of its rows that have gaps.
    mixture : Mixture
        Of Gaussians, without noise.
    """
    found, complete = np.empty(len(x)), others(len(x), some.rows)
    if len(complete) > 0:
        of_complete = x.take(complete, axis=0)
        found[complete] = formulation_of(mixture, _FLOAT64).log_densities(of_complete)
    loop = None if loops.VARIANT is None else _gap_loop_of(mixture)
    if loop is None:
        for rows, _, joint in completed_rows(x, some, mixture):
            found[rows] = normalise(joint, bounded=False)[1]
    else:
        of_rows = np.empty(len(some))
        loop.sums(loops.weighted_rows(x.take(some.rows, axis=0), None, of_rows))
        found[some.rows] = of_rows
    return found


def statistics_with_gaps(
    block: Block, mixture: Mixture, dtype: np.dtype[Any], log_density: Float64Array | None = None
) -> Statistics:
    """Statistics of rows of which some have gaps; those of weight 0 add nothing.

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
    formulation, some = formulation_of(mixture, dtype), block.gaps
    if some is None:
        return formulation.statistics(replace(block, has_gaps=False), log_density)
    total = _of_gap_rows(block, some, mixture, dtype, log_density)
    complete = others(len(block), some.rows)
    if len(complete) == 0:
        return total
    return total + _of_some(block, complete, formulation, log_density)


def _of_some(
    block: Block,
    rows: NDArray[np.intp],
    formulation: Formulation,
    log_density: Float64Array | None,
    observed: NDArray[np.intp] | None = None,
) -> Statistics:
    """Statistics of some rows, and of some features, none of which is missing."""
    weight = None if block.weight is None else block.weight[rows]
    some: Block = PickedBlock(block.x, rows, weight)
    if observed is not None:
        some = Block(np.ascontiguousarray(some.x[:, observed]), weight=weight)
    of_rows = None if log_density is None else np.empty(len(rows))
    found = formulation.statistics(some, of_rows)
    if log_density is not None:
        log_density[rows] = of_rows
    return found


class _Marginal:
    """What is known of a pattern of missing features under a mixture."""

    def __init__(self, mixture: Mixture, missing: NDArray[np.bool_], dtype: np.dtype[Any]) -> None:
        components = mixture.components
        assert isinstance(components, Gaussians)
        self.mixture = mixture  # by whose identity it is known
        self.observed = np.flatnonzero(~missing)
        of_observed = Mixture(mixture.weights, components.marginal(self.observed))
        self.formulation = formulation_of(of_observed, dtype)
        self.lift = components.lift(self.observed, np.flatnonzero(missing))


_marginals = threading.local()
_KEPT = 64
"""Patterns whose marginals are kept from grain to grain, under the mixtures of a pass."""
_KEPT_BYTES = 8 * 2**20
"""Most bytes of them, or one if that is more."""


def _marginal_of(mixture: Mixture, missing: NDArray[np.bool_], dtype: np.dtype[Any]) -> _Marginal:
    """The marginal of a pattern, of this thread: made once, as long as few are asked for."""
    kept: dict[tuple[int, np.dtype[Any], bytes], _Marginal]
    kept = _marginals.__dict__.setdefault("kept", {})
    key = id(mixture), dtype, missing.tobytes()
    if key not in kept:
        k, d = mixture.means.shape
        most = max(1, min(_KEPT, _KEPT_BYTES // (6 * 8 * k * d * d)))
        while len(kept) >= most:
            del kept[next(iter(kept))]  # the oldest
        kept[key] = _Marginal(mixture, missing, dtype)
    return kept[key]


def _of_gap_rows(
    block: Block,
    some: GapRows,
    mixture: Mixture,
    dtype: np.dtype[Any],
    log_density: Float64Array | None,
) -> Statistics:
    """Statistics of the rows with gaps alone."""
    components, total = mixture.components, Statistics.zero(mixture.means, mixture.kind)
    assert isinstance(components, CompletesRows)
    loop = None if loops.VARIANT is None else _gap_loop_of(mixture)
    d = mixture.n_features
    fewest = loop.fewest_of_pattern if loop else np.full(d + 1, components.fewest_of_pattern)
    of_each = np.bincount(some.n_missing, minlength=d + 1)
    has_many = (of_each >= fewest)[some.n_missing]  # only these can be of a common pattern
    if not has_many.any() and loop is not None:
        return _by_loop(block, some, mixture, loop, log_density)
    many = some.take(has_many)
    common, left = common_patterns(many.gaps, fewest)
    rest = np.concatenate([np.flatnonzero(~has_many), np.flatnonzero(has_many)[left]])
    for which, missing in common:
        marginal = _marginal_of(mixture, missing, dtype)
        rows = many.rows[which]
        found = _of_some(block, rows, marginal.formulation, log_density, marginal.observed)
        sums = marginal.lift.of(found.sums)
        total = total + replace(found, sums=sums, centres=mixture.means)
    if len(rest) == 0:
        return total
    rare = some.take(np.sort(rest))
    if loop is None:
        return total + _of_rare(block, rare, mixture, log_density)
    return total + _by_loop(block, rare, mixture, loop, log_density)


@lru_cache(maxsize=8)  # asked for with every grain, by all threads
def _gap_loop_of(mixture: Mixture) -> GapLoop | None:
    components = mixture.components
    assert isinstance(components, CompletesRows)
    return components.gap_loop(mixture.log_weights)


def _by_loop(
    block: Block,
    some: GapRows,
    mixture: Mixture,
    loop: GapLoop,
    log_density: Float64Array | None,
) -> Statistics:
    """Statistics of rows of any patterns, by a compiled loop."""
    weight = None if block.weight is None else block.weight[some.rows]
    part = Block(block.x.take(some.rows, axis=0), weight=weight)
    of_rows = None if log_density is None else np.empty(len(part))
    log_likelihood, sums = loop.sums(loops.weighted_rows(part.x, weight, of_rows))
    if log_density is not None:
        log_density[some.rows] = of_rows
    return Statistics(
        len(part), part.total_weight, log_likelihood, sums, mixture.means, mixture.kind
    )


def _of_rare(
    block: Block, some: GapRows, mixture: Mixture, log_density: Float64Array | None
) -> Statistics:
    """Statistics of rows whose patterns are rare, each of which is completed."""
    return expected_statistics(block, mixture, completed_rows(block.x, some, mixture), log_density)
