"""Lowest: a quantile of one value for each row, from one pass, with a bound of its error.

Each partial result keeps the lowest values of its rows, with their weights, as far as
the rank that is wanted: values above cannot be the quantile of all. As long as there is room for
these, it is exact. Where they are too many, neighbours are joined in pairs, as in the summaries of
Munro and Paterson (1980) and those that came after, such as KLL: half of the values stay, and what
that does to the rank of any value is at most the weight that was moved past it. These bounds add
up, so that the error is not estimated but known.

For N rows of one weight and room for m values, each of log2(N / m) levels moves N / m rows past any
value, to either side in turn: the bound is about ``N log2(N / m) / (2 m)``, which for a billion rows
is 5e-5 of them. Nothing is random and sums are by a fixed tree: the same grains give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from daskgmm.em.finite import check_finite
from daskgmm.em.rows import Rows
from daskgmm.kernel import Block, Float64Array, Mixture

__all__ = ["LOWEST_BYTES", "Lowest", "Quantile", "quantile_of_rows"]

_MOST = 1 << 17
LOWEST_BYTES = 16 * _MOST
"""Bytes of a partial result at most."""
_ROUNDED = 1e-12
"""Relative rounding of sums of weights, and of their products with a quantile."""
_RUNS = 8

OfBlock = Callable[[Block, Mixture], Float64Array]


@dataclass(frozen=True)
class Quantile:
    """A value that a share of the rows lies below.

    Attributes
    ----------
    value : float
        Halfway between two of the rows' values, so that rounding does not move rows past it.
    rank_error : float
        Largest difference that there can be between the share of the weight below the value and
        the share that was asked for. An exact value can have such a difference, too: where many
        rows have the same value, or too few rows make up the share.
    """

    value: float
    rank_error: float


@dataclass(frozen=True, eq=False)
class Lowest:
    """The lowest values of weighted rows, up to a rank. Additive, deterministic.

    With R(v) the weight of the rows of values up to v, and S(v) that of the values here, for all v
    up to the last one here: ``S(v) - below <= R(v) <= S(v) + above``.

    Parameters
    ----------
    values : array of shape (m,)
        In any order.
    weights : array of shape (m,)
        Above 0.
    wanted : float
        Rank, in weight, of the quantile. Values are kept until their rank exceeds it.
    most : int
        Values that there is room for.
    above, below : float
        See above.
    """

    values: Float64Array
    weights: Float64Array
    wanted: float
    most: int = _MOST
    above: float = 0.0
    below: float = 0.0

    @classmethod
    def of(
        cls, values: Float64Array, weight: Float64Array | None, wanted: float, most: int = _MOST
    ) -> Self:
        """Of the values of a block of rows; rows of weight 0 are left out."""
        if weight is None:
            n = int(min(wanted, len(values))) + 1
            if n < len(values):
                values = np.partition(values, n - 1)[:n]
            return cls(values, np.ones(len(values)), wanted, most)._cut()
        present = weight > 0
        return cls(values[present], weight[present], wanted, most)._cut()

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            values=np.concatenate([self.values, other.values]),
            weights=np.concatenate([self.weights, other.weights]),
            above=self.above + other.above,
            below=self.below + other.below,
        )._cut()

    def in_order(self) -> Self:
        """The same values, ascending."""
        if (self.weights == self.weights[:1]).all():
            # A few runs in order, as of two partial results, are merged in an eighth of the time.
            has_runs = np.count_nonzero(self.values[1:] < self.values[:-1]) < _RUNS
            return replace(self, values=np.sort(self.values, kind="stable" if has_runs else None))
        order = np.argsort(self.values, kind="stable")
        return replace(self, values=self.values[order], weights=self.weights[order])

    def _cut(self) -> Self:
        """Without values beyond the rank that is wanted, and joined until there is room."""
        if len(self.values) <= self.most and self.weights.sum() <= self.wanted:
            return self  # without sorting, which is what takes time
        found = self.in_order()
        n = int(np.searchsorted(np.cumsum(found.weights), self.wanted, "right")) + 1
        found = replace(found, values=found.values[:n], weights=found.weights[:n])
        while len(found.values) > found.most:
            found = found._halved()
        return found

    def _halved(self) -> Self:
        """Neighbours in order joined in pairs, the lighter one at the value of the heavier.

        Of two equal weights, the one moves that keeps ``above`` and ``below`` near each other,
        because the larger of them is the error.
        """
        n = len(self.values) // 2 * 2
        low, high = self.values[:n:2], self.values[1:n:2]
        of_low, of_high = self.weights[:n:2], self.weights[1:n:2]
        goes_up = (of_low < of_high) | ((of_low == of_high) & (self.above <= self.below))
        is_moved = low < high
        # No value is past more than one pair, so that the heaviest of those that moved bounds all.
        up = of_low[goes_up & is_moved].max(initial=0.0)
        down = of_high[~goes_up & is_moved].max(initial=0.0)
        return replace(
            self,
            values=np.append(np.where(goes_up, high, low), self.values[n:]),
            weights=np.append(of_low + of_high, self.weights[n:]),
            above=self.above + float(up),
            below=self.below + float(down),
        )

    def quantile(self, total_weight: float) -> Quantile:
        """The highest value below which lies no more weight than is wanted."""
        ordered = self.in_order()
        values, ranks = ordered.values, np.cumsum(ordered.weights)
        n = min(int(np.searchsorted(ranks, self.wanted, "right")), len(ranks) - 1)
        last = values[n]
        n_below = int(np.searchsorted(values, last, "left"))
        value, rank = last, 0.0
        if n_below > 0:
            first, rank = values[n_below - 1], ranks[n_below - 1]
            value = first + (last - first) / 2 if np.isfinite(first) else last
        error = max(rank + self.above - self.wanted, self.wanted - rank + self.below)
        is_rounding = error <= 2 * _ROUNDED * self.wanted
        return Quantile(float(value), 0.0 if is_rounding else float(error) / total_weight)


def quantile_of_rows(rows: Rows, mixture: Mixture, of: OfBlock, quantile: float) -> Quantile:
    """Quantile of a value of each row, by the weights of the rows, in one pass.

    Parameters
    ----------
    rows : Rows
    mixture : Mixture
    of : callable
        ``of(block, mixture)`` gives a value for each row of the block, float64.
    quantile : float
        Between 0 and 1: the share of the weight that is to lie below.
    """
    wanted = quantile * rows.total_weight * (1.0 + _ROUNDED)
    found: Lowest = rows.fold(_of_block, mixture, of, wanted)
    return found.quantile(rows.total_weight)


def _of_block(block: Block, mixture: Mixture, of: OfBlock, wanted: float) -> Any:
    check_finite(block)  # which knows the places of rows, other than those that are present
    block = block.present()
    return Lowest.of(of(block, mixture), block.weight, wanted)
