"""Stored rows, row outputs and models, in Zarr, Parquet and NumPy files."""

from daskgmm.storage.outputs.atomic_output import atomic_output, check_output
from daskgmm.storage.outputs.drafts import Draft, DraftedOutput, failures_named, file_draft
from daskgmm.storage.outputs.models import read_model, read_statistics, save_model
from daskgmm.storage.outputs.parquet_outputs import (
    ROW,
    ParquetOutput,
    check_parquet_output,
    is_parquet_name,
    parquet_draft,
)
from daskgmm.storage.outputs.projections import AXES, read_projection
from daskgmm.storage.outputs.remote_drafts import FileToPut
from daskgmm.storage.outputs.row_outputs import (
    RESULTS_FORMAT,
    ResultArray,
    RowAxes,
    RowOutput,
    RowWriter,
    chunk_rows,
    results_described,
)
from daskgmm.storage.outputs.text_files import check_text_output, write_bytes, write_text
from daskgmm.storage.outputs.uncertainties import UNCERTAINTY_FORMAT, save_uncertainty
from daskgmm.storage.outputs.variables import Variable, add_variables, consolidate, text_variable
from daskgmm.storage.places.apart import enclosing_node, first_overlap, is_lasting
from daskgmm.storage.places.holding import held
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.grid_source import CellArray, GridSource, HeldArray
from daskgmm.storage.rows.paired_source import PairedSource
from daskgmm.storage.rows.parquet_files import Bytes, files_below, files_matching
from daskgmm.storage.rows.parquet_source import ParquetSource
from daskgmm.storage.rows.preflight import StoredSource, preflight
from daskgmm.storage.rows.row_layout import COLUMN, rows_dtype, rows_shape
from daskgmm.storage.rows.sources import has_columns, is_zarr, open_source
from daskgmm.storage.rows.traffic import bytes_read
from daskgmm.storage.rows.variables_described import variables_described
from daskgmm.storage.rows.zarr_nodes import has_variables, open_node
from daskgmm.storage.rows.zarr_source import ZarrSource, open_array
from daskgmm.storage.snapshots.folders import CHECKPOINT_FILE, CheckpointFolder
from daskgmm.storage.snapshots.state_files import StateFile, said_of_changes

__all__ = [
    "AXES",
    "CHECKPOINT_FILE",
    "COLUMN",
    "RESULTS_FORMAT",
    "ROW",
    "UNCERTAINTY_FORMAT",
    "Bytes",
    "CellArray",
    "CheckpointFolder",
    "Draft",
    "DraftedOutput",
    "FileToPut",
    "GridSource",
    "HeldArray",
    "Location",
    "MissingChunks",
    "PairedSource",
    "ParquetOutput",
    "ParquetSource",
    "ResultArray",
    "RowAxes",
    "RowOutput",
    "RowWriter",
    "StateFile",
    "StoredSource",
    "Variable",
    "ZarrSource",
    "add_variables",
    "atomic_output",
    "bytes_read",
    "check_output",
    "check_parquet_output",
    "check_text_output",
    "chunk_rows",
    "consolidate",
    "enclosing_node",
    "failures_named",
    "file_draft",
    "files_below",
    "files_matching",
    "first_overlap",
    "has_columns",
    "has_variables",
    "held",
    "is_lasting",
    "is_parquet_name",
    "is_zarr",
    "open_array",
    "open_node",
    "open_source",
    "parquet_draft",
    "preflight",
    "read_model",
    "read_projection",
    "read_statistics",
    "results_described",
    "rows_dtype",
    "rows_shape",
    "said_of_changes",
    "save_model",
    "save_uncertainty",
    "text_variable",
    "variables_described",
    "write_bytes",
    "write_text",
]
