"""Kind of data: a row of the table of kinds, with a test and a function that opens rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from daskgmm.em import (
    InMemoryRows,
    Known,
    MappedRows,
    Missing,
    Rows,
    RowsWithGaps,
    check_complete,
    check_finite,
    knowing,
    weighing,
)
from daskgmm.execution import Staging, Work
from daskgmm.kernel import Affine
from daskgmm.tables.measurement_noise import MeasurementNoise
from daskgmm.tables.returned import Returned
from daskgmm.tables.stage import Stage
from daskgmm.tables.weights import Weights

__all__ = ["Kind", "OpenedRows", "Request", "Use"]


@dataclass(frozen=True)
class OpenedRows:
    """Rows and what is known of them before any pass.

    Attributes
    ----------
    rows : Rows
    name : str
        What messages and records call the data; secrets are removed.
    n_sampled : int
        Rows that the scan's sample should hold.
    passes : int
        Passes that opening took: the rows of some Dask arrays have to be counted.
    output_rows : int
        Rows that results should be written by, where the rows are stored.
    staging : Staging
        Context in which all passes should run.
    fingerprint : callable or None
        Gives a hash by which stored rows are known again; None for rows that are not stored.
    feature_names : tuple of str or None
        Where the data name their columns.
    feature_units : tuple of str or None
        Where the data say the units of some; empty for others.
    laid_out : callable or None
        Puts a result for each row, and its description, back on the grid that the rows came from.
        If it is given, rows that are not counted include those with gaps.
    framed : callable or None
        Makes lazy results in pandas' containers, with the index that the rows came with, of a
        function of blocks, its arguments, a description of the results, and an array of none.
    n_threads : int or None
        Blocks that memory has room for at once, where the rows are stored.
    read_as : mapping or None
        What said by names which values are the rows, so that other data can be read alike.
    n_cut : int
        Cells with gaps that are none of the rows, since they were left out when these were opened.
    """

    rows: Rows
    name: str
    n_sampled: int
    passes: int = 0
    output_rows: int = 1
    staging: Staging = field(default_factory=Staging)
    fingerprint: Callable[[], str] | None = None
    feature_names: tuple[str, ...] | None = None
    feature_units: tuple[str, ...] | None = None
    laid_out: Callable[[Any, Returned], Any] | None = None
    framed: Callable[..., Any] | None = None
    n_threads: int | None = None
    read_as: Mapping[str, Any] | None = None
    n_cut: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of rows as floats: float32 where they are of it, else float64."""
        rows = self.rows.rows if isinstance(self.rows, RowsWithGaps) else self.rows
        held = rows.block.x if isinstance(rows, InMemoryRows) else getattr(rows, "array", None)
        is_single = held is not None and held.dtype == np.float32
        return np.dtype(np.float32 if is_single else np.float64)

    @property
    def weight_counts_rows(self) -> bool:
        """Whether rows can be left out for gaps, and the weight is the number of the others."""
        return isinstance(self.rows, RowsWithGaps) and self.rows.each_once

    def weighed(self) -> OpenedRows:
        """The same rows, whose weights were summed, if it takes a pass to know their sum."""
        if not isinstance(self.rows, RowsWithGaps):
            return self
        return replace(self, rows=self.rows.weighed(), passes=self.passes + 1)

    def knowing(self, known: Known) -> OpenedRows:
        """The same rows, with the components of some."""
        return replace(self, rows=knowing(self.rows, known))

    def weighing(self, weight: float) -> OpenedRows:
        """The same rows, of which a read has found the sum of the weights."""
        return replace(self, rows=weighing(self.rows, weight))

    def with_gaps(self, missing: Missing, *, each_once: bool) -> OpenedRows:
        """The same rows, of which those are left out that ``missing`` says."""
        if missing == "error" or isinstance(self.rows, RowsWithGaps):
            return self
        return replace(self, rows=RowsWithGaps(self.rows, missing, each_once))

    def mapped(self, affine: Affine | None) -> OpenedRows:
        """The same rows, seen through a map; results for each of them are laid out as before."""
        if affine is None:
            return self
        check = check_finite if self.laid_out is None else check_complete
        return replace(self, rows=MappedRows(self.rows, affine, check))


@dataclass(frozen=True)
class Use:
    """What is done with rows once they are open.

    Attributes
    ----------
    counted : bool
        Whether it must be known how many rows there are, which takes a pass over some data. If
        not, they can be mapped but not folded.
    alone : bool
        Whether, where they are fitted, they must be enough for that alone.
    missing : {"error", "drop", "em"}
        What NaN is. Cells of a grid with gaps are left out in any case.
    names : tuple of str or None
        The features of a model, held against those of the data before rows are counted, and used
        to select those of data without an order, such as Datasets.
    measurement_noise : MeasurementNoise or None
        Variances of the noise of their values.
    """

    counted: bool = True
    alone: bool = True
    names: tuple[str, ...] | None = None
    missing: Missing = "error"
    measurement_noise: MeasurementNoise | None = None


@dataclass(frozen=True)
class Request:
    """What the rows are opened for.

    Attributes
    ----------
    work : Work
    limit : int or None
        Bytes that a process may use.
    stage : Stage
    weights : Weights or None
        How often each row counts; once, without.
    use : Use
    """

    work: Work
    limit: int | None
    stage: Stage
    weights: Weights | None = None
    use: Use = Use()


@dataclass(frozen=True)
class Kind:
    """A row of the table of kinds of data.

    Attributes
    ----------
    name : str
    matches : callable
        Whether data are of this kind.
    open : callable
        Opens data of this kind, given a :class:`Request`.
    is_stored : bool
        Whether the rows are in a store, which every pass decodes again.
    is_lazy : bool
        Whether the rows are elsewhere than in memory until a pass reads them.
    """

    name: str
    matches: Callable[[Any], bool]
    open: Callable[[Any, Request], OpenedRows]
    is_stored: bool = False
    is_lazy: bool = True
