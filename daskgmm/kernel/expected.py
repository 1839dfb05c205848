"""Expected statistics: of rows as components expect them to be, given what was measured of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Gaussians
from daskgmm.kernel.components.completed import Expected
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["expected_statistics", "means_given"]


def expected_statistics(
    block: Block,
    mixture: Mixture,
    parts: Iterable[tuple[Any, Expected, Float64Array]],
    log_density: Float64Array | None = None,
) -> Statistics:
    """Statistics of some rows of a block; those of weight 0 add nothing.

    Parameters
    ----------
    block : Block
    mixture : Mixture
        Of Gaussians, without noise.
    parts : iterable of (index of rows, Expected, ndarray of shape (K, m))
        Rows of the block, some at a time, as the components expect them, and their weighted log
        densities.
    log_density : ndarray of shape (n,), optional
        Where the log density of what was measured of each of these rows is written.

    Returns
    -------
    Statistics
        About the mixture's means.
    """
    components, total = mixture.components, Statistics.zero(mixture.means, mixture.kind)
    assert isinstance(components, Gaussians)
    n_rows, weight, log_likelihood = 0, 0.0, 0.0
    for rows, expected, joint in parts:
        resp, log_total = normalise(joint, bounded=False)
        if log_density is not None:
            log_density[rows] = log_total
        n_rows += len(log_total)
        if block.weight is None:
            weight += len(log_total)
            log_likelihood += float(log_total.sum())
        else:
            of_rows = block.weight[rows]
            resp *= of_rows
            weight += float(of_rows.sum())
            log_likelihood += float(of_rows @ log_total)
        components.add_rows(total.sums, expected, resp)
    return replace(total, n_rows=n_rows, weight=weight, log_likelihood=log_likelihood)


def means_given(expected: Expected, resp: Float64Array, means: Float64Array) -> Float64Array:
    """Rows (D, n) as all components together expect them, by responsibilities (K, n)."""
    total = means.T @ resp
    for k, r in enumerate(resp):
        total += r * expected.deviations(k)
    return total
