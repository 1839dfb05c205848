"""Arrow: which types are numbers, and batches as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.reader import Block, Column, imported

__all__ = ["EXTRA", "block_of", "column_of", "numpy_dtype_of"]

EXTRA = "parquet"
"""The extra that brings pyarrow."""


def column_of(name: str, arrow_type: Any, metadata: Any = None) -> Column:
    """A column of an Arrow type; its field's metadata may have units."""
    units = (metadata or {}).get(b"units", b"").decode("utf-8", "replace")
    is_number = numpy_dtype_of(arrow_type) is not None
    unfit = "" if is_number else f"is {_said_of(arrow_type)}"
    return Column(name, str(arrow_type), units, unfit, is_number)


def numpy_dtype_of(arrow_type: Any) -> np.dtype[Any] | None:
    """The dtype of numbers of an Arrow type; None if they are none."""
    types = imported("pyarrow.types", EXTRA)
    if (
        types.is_integer(arrow_type)
        or types.is_floating(arrow_type)
        or types.is_boolean(arrow_type)
    ):
        return np.dtype(arrow_type.to_pandas_dtype())
    # Of the type null, there was nothing but missing values so far.
    if types.is_decimal(arrow_type) or types.is_null(arrow_type):
        return np.dtype(np.float64)
    return None


def _said_of(arrow_type: Any) -> str:
    """What messages say of columns of a type that is no number."""
    types = imported("pyarrow.types", EXTRA)
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return "text"
    if types.is_temporal(arrow_type):
        return f"of times ({arrow_type})"
    return f"of type {arrow_type}"


def block_of(batch: Any, n: int, dtype: np.dtype[Any], kept: Any, part: int, start: int) -> Block:
    """The rows of a record batch: n columns of numbers, then columns that stay as they are.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    n : int
        How many columns are numbers.
    dtype : dtype
        Of the numbers.
    kept : pyarrow.Schema or None
        Of the other columns; None where there are none.
    part, start : int
        See :class:`~daskgmm.conversion.reader.Block`.
    """
    pa = imported("pyarrow", EXTRA)
    values = _values_of(batch.select(list(range(n))), dtype)
    if kept is None:
        return Block(values, part, start)
    return Block(values, part, start, pa.RecordBatch.from_arrays(batch.columns[n:], schema=kept))


def _values_of(batch: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a record batch, (n_rows, n_columns); NaN where one is missing."""
    pa = imported("pyarrow", EXTRA)
    out = np.empty((batch.num_rows, batch.num_columns), dtype)
    for j, column in enumerate(batch.columns):
        if pa.types.is_decimal(column.type):  # by text: pyarrow's own cast errs in last bits
            column = column.cast(pa.string())
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.float64(), safe=False)
        out[:, j] = column.to_numpy(zero_copy_only=False)
    return out
