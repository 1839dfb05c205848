"""Tables: what people's data look like, opened as rows.

A kind of data is one file here, or a format in :mod:`daskgmm.storage.rows`, and one row
of the table :data:`daskgmm.tables.opening.KINDS`.
"""

from daskgmm.tables.containers import CONTAINERS, as_given, columns_of, data_frame_of
from daskgmm.tables.kind import OpenedRows, Use
from daskgmm.tables.labels import Labels, labels_named, open_labels
from daskgmm.tables.measurement_noise import MeasurementNoise
from daskgmm.tables.names import (
    check_features,
    check_units,
    columns_named,
    known_name,
    with_columns_named,
)
from daskgmm.tables.open_rows import open_as_fitted, open_rows, weights_named
from daskgmm.tables.opening import is_lazy, open_input, open_measurement_noise, open_weights
from daskgmm.tables.returned import Result, Returned, of_features, outliers, results_named, returned
from daskgmm.tables.stage import Stage
from daskgmm.tables.stored_grids import Grid, dims_of_cells
from daskgmm.tables.weight_columns import without_weights
from daskgmm.tables.weights import Weights, is_scale_of_counts, open_column, weights_beside
from daskgmm.tables.writing import (
    Asked,
    Writer,
    check_keep,
    check_only,
    check_rows_output,
    create_rows_output,
)
from daskgmm.tables.writing_grids import gaps_to_fill, write_on_grid

__all__ = [
    "CONTAINERS",
    "Asked",
    "Grid",
    "Labels",
    "MeasurementNoise",
    "OpenedRows",
    "Result",
    "Returned",
    "Stage",
    "Use",
    "Weights",
    "Writer",
    "as_given",
    "check_features",
    "check_keep",
    "check_only",
    "check_rows_output",
    "check_units",
    "columns_named",
    "columns_of",
    "create_rows_output",
    "data_frame_of",
    "dims_of_cells",
    "gaps_to_fill",
    "is_lazy",
    "is_scale_of_counts",
    "known_name",
    "labels_named",
    "of_features",
    "open_as_fitted",
    "open_column",
    "open_input",
    "open_labels",
    "open_measurement_noise",
    "open_rows",
    "open_weights",
    "outliers",
    "results_named",
    "returned",
    "weights_beside",
    "weights_named",
    "with_columns_named",
    "without_weights",
    "write_on_grid",
]
