"""Indexes: whether a column that comes beside a data frame is about its rows, in their order."""

from __future__ import annotations

import sys
from typing import Any

from daskgmm.errors import DataError

__all__ = ["check_aligned"]


def check_aligned(column: Any, data: Any, name: str) -> None:
    """Refuse a pandas or Dask Series whose index is not that of the data frame beside it.

    pandas would align the two by label, and NumPy by position, and nobody knows which of them is
    meant. Of Dask's, the ends of the divisions are compared, where they are known; nothing is
    computed.

    Parameters
    ----------
    column : Series, or anything else
        What has no index is aligned by position.
    data : DataFrame, or anything else
    name : str
        What messages call the column.

    Raises
    ------
    DataError
    """
    pandas = sys.modules.get("pandas")  # whoever has a Series has imported it
    if pandas is None:
        return
    if isinstance(column, pandas.Series | pandas.DataFrame):
        if isinstance(data, pandas.DataFrame):
            _check_labels(column.index, data.index, name)
        return
    of_column, of_data = getattr(column, "divisions", None), getattr(data, "divisions", None)
    if of_column is None or of_data is None or None in (*of_column, *of_data):
        return
    # Known divisions are of sorted indexes: if the labels are the same, so is their order.
    if (of_column[0], of_column[-1]) != (of_data[0], of_data[-1]):
        raise DataError(
            f"{name} has an index from {of_column[0]} to {of_column[-1]}, the Dask DataFrame one "
            f"from {of_data[0]} to {of_data[-1]}; give .to_dask_array() of it if it is in the order of "
            "the rows"
        )


def _check_labels(of_column: Any, of_data: Any, name: str) -> None:
    # Another length is refused where columns of every kind are.
    if len(of_column) != len(of_data) or of_column.equals(of_data):
        return
    if of_column.isin(of_data).all():
        raise DataError(
            f"{name} has the index of the data frame in another order; align it with "
            ".reindex(X.index), or give .to_numpy() of it if it is in the order of the rows"
        )
    raise DataError(
        f"{name} has another index than the data frame; give .to_numpy() of it if it is in the "
        "order of the rows"
    )
