"""Labels: which component rows are known to be of, opened and checked before the first pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskgmm.em import Known
from daskgmm.errors import DataError
from daskgmm.kernel import Block
from daskgmm.storage import ParquetSource
from daskgmm.tables.indexes import check_aligned
from daskgmm.tables.open_rows import weights_named
from daskgmm.tables.stored_grids import Grid
from daskgmm.tables.weights import fingerprint_of, opened_column
from daskgmm.tables.xarrays import is_xarray

__all__ = ["Labels", "labels_named", "open_labels"]

_NAME = "labels"


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the components of rows.

    Attributes
    ----------
    known : Known
    name : str
        What messages call them.
    fingerprint : callable or None
        Gives a hash by which labels are known again; None for those on Dask.
    """

    known: Known
    name: str
    fingerprint: Callable[[], str] | None = None

    def check_length(self, n_rows: int, data: str) -> None:
        """Raise DataError if there is not one label for each row."""
        if self.known.n_rows != n_rows:
            raise DataError(
                f"{self.name} has {self.known.n_rows} labels, but {data} has {n_rows} rows; give "
                "one label for each row, in the same order: -1 where it is not known"
            )


def open_labels(given: Any, x: Any, n_components: int) -> Labels:
    """Open and check labels: one read of them, and none of the rows.

    Parameters
    ----------
    given : array-like, Dask array or Series, zarr.Array, Source, path or URL
        Shape (n_rows,).
    x : rows
        What the labels are of.
    n_components : int

    Raises
    ------
    DataError
        If they are not the number of a component, or -1, for each row; or if the rows are cells of
        a grid, or none is known.
    """
    if is_xarray(x) or isinstance(x, Grid):
        raise DataError(
            "labels are in the order of rows, and cells of a grid have none; give the data as an array "
            "of rows"
        )
    check_aligned(given, x, _NAME)
    opened, rows, name = opened_column(given, _NAME, "label")
    known = rows.fold(_known_of, n_components, name)
    if len(known.rows) == 0:
        raise DataError(f"{name} is -1 for each of {known.n_rows} rows; leave labels out (None)")
    return Labels(known, name, fingerprint_of(opened))


def _known_of(block: Block, n_components: int, name: str) -> Known:
    labels = block.x[:, 0]
    is_one = (labels >= -1) & (labels < n_components) & (labels == np.floor(labels))
    if not is_one.all():
        first = int(np.argmin(is_one))
        raise DataError(
            f"{name} has {labels[first]:g} at row {block.start + first}; a label is the number of a "
            f"component, from 0 to {n_components - 1}, or -1 where it is not known"
        )
    here = np.flatnonzero(labels >= 0)
    return Known(len(block), block.start + here, labels[here].astype(np.int64))


def labels_named(rows: Any, data: Any, name: str) -> Any:
    """Labels that a command line names: beside the rows, as weights are, or at a path or URL.

    Raises
    ------
    DataError
        If they are a column that would be a feature, too.
    """
    if isinstance(rows, ParquetSource) and rows.has(name) and name in rows.feature_names:
        raise DataError(
            f"labels: column {name!r} would be a feature as well; name those that are by columns "
            "(--columns)"
        )
    return weights_named(rows, data, name)
