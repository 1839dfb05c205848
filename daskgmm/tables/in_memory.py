"""Arrays in memory: rows that need no plan, because they are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import InMemoryRows
from daskgmm.errors import DataError
from daskgmm.execution import in_force, sample_rows
from daskgmm.tables.kind import Kind, OpenedRows, Request

__all__ = ["IN_MEMORY", "check_unmasked"]


def check_unmasked(x: Any) -> None:
    """Refuse a masked array, whose masked values would be fitted as if they were data.

    Raises
    ------
    DataError
    """
    if isinstance(x, np.ma.MaskedArray):
        raise DataError("masked arrays are not supported; drop or impute the masked rows")


def _open(x: NDArray[Any], request: Request) -> OpenedRows:
    name, weight = f"array of shape {x.shape}", None
    if request.weights is not None:
        request.weights.check_length(len(x), name)
        weight = request.weights.in_memory()
    rows = InMemoryRows(x, n_threads=in_force().local_threads, weight=weight)
    n_sampled = sample_rows(rows.n_rows, request.work.n_components, rows.n_features)
    return OpenedRows(rows, name, n_sampled)


IN_MEMORY = Kind("array in memory", lambda x: True, _open, is_lazy=False)
"""The last row of the table: it takes what no other kind has taken."""
