"""Arrays in memory: rows that need no plan, because they are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from daskgmm.em import InMemoryRows, with_noise
from daskgmm.execution import in_force, sample_rows
from daskgmm.kernel import Block
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import names_of
from daskgmm.tables.plain import plain_array
from daskgmm.tables.sizes import check_sizes

__all__ = ["IN_MEMORY", "open_in_memory"]


def open_in_memory(given: Any, request: Request) -> OpenedRows:
    """Rows of anything in memory that is an array of numbers.

    Raises
    ------
    DataError, ValueError, TypeError
        If it is none; the latter two in scikit-learn's words.
    """
    x = plain_array(given)
    if hasattr(x, "dtype") and x.dtype.kind == "f" and x.dtype.itemsize <= 4:
        x = np.asarray(x, np.float32)  # as rows of these dtypes are elsewhere; native, not float16
    # Finiteness is checked where rows are read: it names the first bad one.
    x = check_array(
        x, dtype=[np.float64, np.float32], ensure_all_finite=False, estimator="GaussianMixture"
    )
    name, weight = f"array of shape {x.shape}", None
    check_sizes(name, x.shape, request)
    if request.weights is not None:
        request.weights.check_length(len(x), name)
        weight = request.weights.in_memory()
    block = Block(x, weight=weight)
    if (noise := request.use.measurement_noise) is not None:
        noise.check_shape(x.shape, name)
        block = with_noise(block, noise.in_memory(), request.use.missing)
    rows = InMemoryRows.of(block, n_threads=in_force().local_threads)
    n_sampled = sample_rows(rows.n_rows, request.work, rows.n_features)
    names = names_of(given.columns) if hasattr(given, "columns") else None
    return OpenedRows(rows, name, n_sampled, feature_names=names)


IN_MEMORY = Kind("array in memory", lambda x: True, open_in_memory, is_lazy=False)
"""The last row of the table: it takes what no other kind has taken."""
