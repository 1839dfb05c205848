"""Missing: rows in which values are missing, and which of them count for nothing.

How many rows count is known once all of them were read. So a row that is left out is one of weight
0: every read still accounts for all rows, and sums of weights are of those that count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.rows import Rows, T
from daskgmm.em.wrapped import WrappedRows
from daskgmm.errors import DataError, ParameterError
from daskgmm.kernel import (
    Affine,
    Block,
    GapRows,
    Mixture,
    has_density_of_parts,
)

__all__ = [
    "NO_GAPS",
    "Gaps",
    "Missing",
    "RowsWithGaps",
    "check_density_of_parts",
    "check_marks_outliers",
    "check_some_complete",
    "left_out",
    "said_of_gaps",
    "weighing",
]

Missing = Literal["error", "drop", "em"]
"""What NaN is: an error; a reason to leave the row out; a value that is not known, so that only rows
of which nothing is known are left out."""


@dataclass(frozen=True)
class Gaps:
    """How many rows a read found in which values are missing. Additive.

    Attributes
    ----------
    n_rows : int
        Rows with a gap: NaN in one feature or more.
    n_left_out : int
        Those of them that count for nothing.
    """

    n_rows: int = 0
    n_left_out: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.n_rows + other.n_rows, self.n_left_out + other.n_left_out)

    @classmethod
    def of(cls, block: Block) -> Self:
        """Of a block of :class:`RowsWithGaps`."""
        if (some := block.gaps) is None:
            return cls()
        return cls(len(some.rows), len(left_out(some, "em" if block.has_gaps else "drop")))


NO_GAPS = Gaps()


def said_of_gaps(gaps: Gaps, n_rows: int, missing: str) -> str:
    """For people, how many rows have gaps and what was done with them; empty if none has any."""
    if gaps.n_rows == 0:
        return ""
    said = f"{gaps.n_rows:,} of {n_rows:,} rows have missing values, "
    if missing == "drop":
        return said + "and were left out (missing='drop')"
    if missing == "error":
        return said + "and were left out (missing='em' counts cells by the values that they have)"
    said += "and count by the values that they have (missing='em')"
    if gaps.n_left_out:
        said += f"; {gaps.n_left_out:,} of them have none, and were left out"
    return said


def check_some_complete(weight: float, n_rows: int) -> None:
    """Refuse rows none of which counts, so that their weights sum to 0.

    Raises
    ------
    DataError
    """
    if weight == 0.0 and n_rows > 0:
        raise DataError(
            f"each of the {n_rows:,} rows has a gap: NaN in one feature or more; choose features "
            "that are present in the same rows"
        )


def check_density_of_parts(missing: Missing, mixture: Mixture, projection: Affine | None) -> None:
    """Refuse rows with gaps of a mixture that has no density of some of their features.

    Raises
    ------
    ParameterError
    """
    if missing == "em" and (projection is not None or not has_density_of_parts(mixture)):
        raise ParameterError(
            "missing='em' needs a density of the features that a row has, which models of projected "
            "features, with noise, and of t components do not have; set missing='drop', which leaves "
            "rows with gaps out",
            "missing",
        )


def check_marks_outliers(missing: Missing) -> None:
    """Refuse outliers among rows of which some have more features than others.

    Raises
    ------
    ParameterError
    """
    if missing == "em":
        raise ParameterError(
            "outliers are told by one threshold for all rows, and with missing='em' some have "
            "densities of fewer features; set missing='drop' (--missing drop), which leaves rows with gaps "
            "out",
            "missing",
        )


def weighing(rows: Rows, weight: float) -> Rows:
    """The same rows, of which a read has found the sum of the weights; few rows need to know."""
    if isinstance(rows, RowsWithGaps):
        return replace(rows, weight=weight)
    return rows


def left_out(some: GapRows, missing: Missing) -> NDArray[np.intp]:
    """Indices of the rows that are left out for their gaps; none where these are an error."""
    if missing == "drop":
        return some.rows
    return some.rows[some.are_empty if missing == "em" else slice(0)]


def _weighed(block: Block, missing: Missing) -> Block:
    """The block with a weight of 0 for rows that are left out, and else the weight that there was.

    Raises
    ------
    DataError
        If a row that counts has no weight: NaN, which others may have.
    """
    if (some := block.gaps) is not None:
        out, weight = left_out(some, missing), block.weight
        if len(out) > 0:
            weight = block.weights.copy()
            weight[out] = 0.0
        block = block.marked(has_gaps=missing == "em", weight=weight)
    if block.weight is not None and np.isnan(block.weight).any():
        row = block.start + int(np.argmax(np.isnan(block.weight)))
        raise DataError(
            f"sample_weight has nan at row {row}, in which no feature is missing; give each such row "
            "a weight: 0 leaves it out"
        )
    return block


def _of_weighed(block: Block, missing: Missing, function: Callable[..., T], *args: Any) -> T:
    return function(_weighed(block, missing), *args)


def _weight_of(block: Block) -> float:
    return block.total_weight


@dataclass(frozen=True, eq=False)
class RowsWithGaps(WrappedRows):
    """Rows in which values may be missing: those that are left out for it have no weight.

    Rows that are left out are among those of :attr:`n_rows`, and those that :meth:`map` maps.

    Attributes
    ----------
    rows : Rows
        With weights or without; those of rows that are left out may be NaN.
    missing : {"drop", "em"}
        Whether one gap is enough to be left out, or nothing of the row must be there.
    each_once : bool
        Whether they have no other weights, so that a sum of weights is a number of rows.
    weight : float or None
        Sum of the weights of the rows that count; None before a read has found it.
    """

    missing: Missing = "drop"
    each_once: bool = True
    weight: float | None = None

    @property
    def _through(self) -> tuple[Any, ...]:
        return _of_weighed, self.missing

    @property
    def total_weight(self) -> float:
        """Sum of the weights; that of all rows, with gaps or without, where it is not yet known."""
        return self.rows.total_weight if self.weight is None else self.weight

    def weighed(self) -> RowsWithGaps:
        """The same rows, whose weights were summed, which takes a pass."""
        return replace(self, weight=self.fold(_weight_of))

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`."""
        found = self.rows.pieces(n_wanted, seed)
        return None if found is None else _weighed(found, self.missing)
