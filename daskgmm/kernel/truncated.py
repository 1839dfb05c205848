"""Truncated: the E-step of many components, each row compared with those near it.

Under most of K components a row has almost no density. Let ``C(x)`` be a few components for each
row. Among the posteriors that are zero outside C, that of the components in C maximises the free
energy, whose value is

    F = sum_n log sum_{k in C(x_n)} w_k N(x_n | mu_k, Sigma_k)  <=  log-likelihood,

with equality if C has all components. A step of EM with that posterior never lowers F as long
as C does not change. F is below the log-likelihood by the share of the posterior outside C.

Nothing is kept of single rows between passes: C is a function of x. A row belongs to the cell of
the nearest mean, by the Mahalanobis distance of the components' mean covariance, and every cell
has a list of neighbours, which is C. The search costs K products of D features with the row,
which is little beside K densities; the rest costs an E-step of as many components as a cell has
neighbours.

References
----------
Luecke and Eggert (2010), Expectation truncation and the benefits of preselection in
training generative models.
Forster and Luecke (2018), Can clustering scale sublinearly with its clusters?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import HasCovariances
from daskgmm.kernel.formulations import Formulation, formulation_by_cell_of, formulation_of
from daskgmm.kernel.fused_arrays import Cells
from daskgmm.kernel.linalg import precision_factors
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["Neighbourhoods", "truncated_statistics"]

_DRAWS, _FEWEST_DRAWS = 1 << 15, 16
"""Rows drawn to find each cell's neighbours: in all, and at least from each component."""
_SEARCH_VALUES = 1 << 18


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The components that a row is compared with, as a function of its values.

    Attributes
    ----------
    origin : array of shape (D,)
        Subtracted from rows before the search, for digits in float32.
    slopes, heights : arrays of shape (cells, D) and (cells,), float32
        A row is in the cell of the largest ``slopes @ (x - origin) + heights``.
    neighbours : array of shape (cells, G), int64
        Components that the rows of a cell are compared with, ascending.
    """

    origin: Float64Array
    slopes: NDArray[np.float32]
    heights: NDArray[np.float32]
    neighbours: NDArray[np.int64]

    @classmethod
    def of(cls, mixture: Mixture, n_near: int) -> Self:
        """Neighbourhoods of ``n_near`` components for rows that are drawn from a mixture.

        There is a cell about the mean of each component of weight above 0. Its neighbours are
        that component, and those with the largest responsibilities for rows that are drawn
        from the mixture and fall into the cell.
        """
        present = np.flatnonzero(mixture.weights > 0)
        origin, white = mixture.shares @ mixture.means, _common_factor(mixture)
        means = (mixture.means[present] - origin) @ white
        # |y - m|^2 is least where m . y - |m|^2 / 2 is largest.
        slopes, heights = means @ white.T, -0.5 * np.square(means).sum(axis=1)
        cells = cls(origin, slopes.astype(np.float32), heights.astype(np.float32), present[:, None])
        mass = _mass(mixture, cells)[:, present]
        np.fill_diagonal(mass, np.inf)
        chosen = np.argsort(-mass, axis=1, kind="stable")[:, :n_near]
        return replace(cells, neighbours=np.sort(present[chosen], axis=1))

    def cells_of(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The cell of each row of a block, shape (n_rows,).

        The search is in float32: its rounding only decides on which side of a border a row falls.
        """
        cells = np.zeros(len(x), np.int64)
        if loops.VARIANT is not None:
            rows = loops.rows_as_compiled(x)
            loops.find_nearest(rows, self.origin, self.slopes, self.heights, cells)
            return cells
        n = max(_SEARCH_VALUES // len(self.heights), 1)
        for start in range(0, len(x), n):
            z = (x[start : start + n] - self.origin).astype(np.float32)
            np.argmax(z @ self.slopes.T + self.heights, axis=1, out=cells[start : start + n])
        return cells


def _common_factor(mixture: Mixture) -> Float64Array:
    """P (D, D) with ``P P^T`` the inverse of the components' mean covariance."""
    assert isinstance(mixture.components, HasCovariances), "else there is no truncation"
    common: Float64Array = np.tensordot(mixture.shares, mixture.components.dense(), 1)
    factor: Float64Array = precision_factors(common[None], shared=True)[0]
    return factor


def _mass(mixture: Mixture, cells: Neighbourhoods) -> Float64Array:
    """Expected responsibilities (cells, K) of components for the rows in each cell, by drawing."""
    k = mixture.n_components
    rng = np.random.default_rng(0)
    n = max(_DRAWS // k, _FEWEST_DRAWS)
    drawn = [mixture.components.sample(rng, j, n) for j in range(k)]
    x, shares = np.concatenate(drawn), np.repeat(mixture.weights / n, n)
    cell = cells.cells_of(x)
    order = np.argsort(cell, kind="stable")
    x, shares, cell = x[order], shares[order], cell[order]
    evaluation = formulation_of(mixture, np.dtype(np.float64)).evaluation()
    mass = np.zeros((len(cells.neighbours), k))
    for span, x_t in sub_blocks(x, k):
        resp, _ = evaluation.normalised(evaluation.joint(x_t))
        found, begins = np.unique(cell[span], return_index=True)
        mass[found] += np.add.reduceat(resp * shares[span], begins, axis=1).T
    return mass


def truncated_statistics(
    block: Block, mixture: Mixture, neighbourhoods: Neighbourhoods, dtype: np.dtype[Any]
) -> Statistics:
    """Statistics of a block of rows, each compared with its cell's neighbours alone.

    The log-likelihood is F, a lower bound; the other statistics are those of the posterior that
    is zero outside the neighbours.

    Parameters
    ----------
    block : Block
    mixture : Mixture
    neighbourhoods : Neighbourhoods
    dtype : dtype
        Float32 or float64, for the arithmetic on single rows.
    """
    cells = neighbourhoods.cells_of(block.x)
    n_cells = len(neighbourhoods.neighbours)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n_cells))])
    # NumPy sorts 16-bit integers by radix, which is faster.
    order = np.argsort(cells.astype(np.uint16) if n_cells < 2**16 else cells, kind="stable")
    block = block.take(order)
    whole = formulation_by_cell_of(mixture, dtype)
    if whole is not None:
        return whole.statistics_by_cell(block, Cells(bounds, neighbourhoods.neighbours))
    return _cell_by_cell(block, bounds, mixture, neighbourhoods, dtype)


def _cell_by_cell(
    block: Block,
    bounds: NDArray[np.int64],
    mixture: Mixture,
    neighbourhoods: Neighbourhoods,
    dtype: np.dtype[Any],
) -> Statistics:
    """Truncated statistics of rows in the order of cells, by one E-step for each cell."""
    total = Statistics.zero(mixture.means, mixture.kind, mixture.uniform)
    log_likelihood = 0.0
    parts = _parts(mixture, neighbourhoods, dtype)
    for m in np.flatnonzero(np.diff(bounds)).tolist():
        found = parts[m].statistics(block[bounds[m] : bounds[m + 1]])
        chosen = neighbourhoods.neighbours[m]
        share = mixture.weights[chosen].sum() + mixture.noise_weight
        log_likelihood += found.log_likelihood + found.weight * float(np.log(share))
        total.law.add_at(total.sums, chosen, found.sums)
    return replace(
        total, n_rows=len(block), weight=block.total_weight, log_likelihood=log_likelihood
    )


@lru_cache(maxsize=8)  # asked for with every grain
def _parts(
    mixture: Mixture, neighbourhoods: Neighbourhoods, dtype: np.dtype[Any]
) -> tuple[Formulation, ...]:
    """For each cell, a formulation of the mixture of its neighbours."""
    return tuple(
        formulation_of(mixture.take(chosen), dtype) for chosen in neighbourhoods.neighbours
    )
