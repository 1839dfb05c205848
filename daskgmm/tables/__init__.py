"""Tables: what people's data look like, opened as rows.

A kind of data is one file here, or a format in :mod:`daskgmm.storage.rows`, and one row
of the table :data:`daskgmm.tables.opening.KINDS`.
"""

from daskgmm.tables.grids import Grid
from daskgmm.tables.kind import OpenedRows, Use
from daskgmm.tables.names import check_features
from daskgmm.tables.open_rows import open_rows, weights_named
from daskgmm.tables.opening import is_lazy, open_input, open_weights
from daskgmm.tables.returned import Returned
from daskgmm.tables.stage import Stage
from daskgmm.tables.weights import Weights, open_column, weights_beside

__all__ = [
    "Grid",
    "OpenedRows",
    "Returned",
    "Stage",
    "Use",
    "Weights",
    "check_features",
    "is_lazy",
    "open_column",
    "open_input",
    "open_rows",
    "open_weights",
    "weights_beside",
    "weights_named",
]
