"""Indexes: whether a column that comes beside a data frame is about its rows, in their order."""

from __future__ import annotations

import sys
from typing import Any

from daskgmm.errors import DataError

__all__ = ["check_aligned"]


def check_aligned(column: Any, data: Any, name: str) -> None:
    """Refuse a pandas or Dask Series whose index is not that of the data frame beside it.

    pandas would align the two by label, and NumPy by position: neither is guessed. Of Dask's,
    the ends of the divisions are compared, where they are known; nothing is computed.

    Raises
    ------
    DataError
    """
    pandas = sys.modules.get("pandas")  # which whoever has such data has imported
    if pandas is None:
        return
    if isinstance(column, pandas.Series | pandas.DataFrame):
        if isinstance(data, pandas.DataFrame):
            _check_labels(column.index, data.index, name)
        return
    ours, theirs = getattr(column, "divisions", None), getattr(data, "divisions", None)
    if ours is None or theirs is None or None in (*ours, *theirs):
        return
    if (ours[0], ours[-1]) != (theirs[0], theirs[-1]):  # they are sorted: the same are in order
        raise DataError(
            f"{name} has an index from {ours[0]} to {ours[-1]}, the Dask DataFrame one from "
            f"{theirs[0]} to {theirs[-1]}; give .to_dask_array() of it if it is in the order of "
            "the rows"
        )


def _check_labels(ours: Any, theirs: Any, name: str) -> None:
    if len(ours) != len(theirs) or ours.equals(theirs):  # lengths are compared for all weights
        return
    if ours.isin(theirs).all():
        raise DataError(
            f"{name} has the index of the data frame in another order; align it with "
            ".reindex(X.index), or give .to_numpy() of it if it is in the order of the rows"
        )
    raise DataError(
        f"{name} has another index than the data frame; give .to_numpy() of it if it is in the "
        "order of the rows"
    )
