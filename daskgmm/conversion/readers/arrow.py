"""Arrow: which types are numbers, and batches as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.reader import Block, Column, imported

__all__ = ["EXTRA", "block_of", "column_of", "numpy_dtype_of"]

EXTRA = "parquet"
"""The extra that brings pyarrow."""


def column_of(name: str, kind: Any, metadata: Any = None) -> Column:
    """A column of an Arrow type; units are in its field's metadata, where they are said."""
    units = (metadata or {}).get(b"units", b"").decode("utf-8", "replace")
    is_number = numpy_dtype_of(kind) is not None
    unfit = "" if is_number else f"is {_word(kind)}"
    return Column(name, str(kind), units, unfit, is_number)


def numpy_dtype_of(kind: Any) -> np.dtype[Any] | None:
    """The dtype of numbers of an Arrow type; None if they are none."""
    types = imported("pyarrow.types", EXTRA)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return np.dtype(kind.to_pandas_dtype())
    if types.is_decimal(kind) or types.is_null(kind):  # null: nothing but missing values so far
        return np.dtype(np.float64)
    return None


def _word(kind: Any) -> str:
    types = imported("pyarrow.types", EXTRA)
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_temporal(kind):
        return f"of times ({kind})"
    return f"of type {kind}"


def block_of(batch: Any, n: int, dtype: np.dtype[Any], kept: Any) -> Block:
    """The first n columns of a record batch as numbers, and the others as ``kept`` has them."""
    pa = imported("pyarrow", EXTRA)
    values = _values_of(batch.select(list(range(n))), dtype)
    if kept is None:
        return Block(values, 0, 0)
    return Block(values, 0, 0, pa.RecordBatch.from_arrays(batch.columns[n:], schema=kept))


def _values_of(batch: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a record batch, (n_rows, n_columns); NaN where one is missing."""
    pa = imported("pyarrow", EXTRA)
    out = np.empty((batch.num_rows, batch.num_columns), dtype)
    for j, column in enumerate(batch.columns):
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.string())
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.float64(), safe=False)
        out[:, j] = column.to_numpy(zero_copy_only=False)
    return out
