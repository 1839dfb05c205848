"""Stored rows, row outputs and models, in Zarr and NumPy files."""

from daskgmm.storage.apart import enclosing_node, first_overlap, is_lasting
from daskgmm.storage.atomic_output import check_output
from daskgmm.storage.checkpoints import CheckpointFolder
from daskgmm.storage.holding import held
from daskgmm.storage.locations import Location
from daskgmm.storage.models import read_model, save_model
from daskgmm.storage.outputs import RowOutput, RowWriter
from daskgmm.storage.plain_json import plain_json
from daskgmm.storage.preflight import StoredSource, preflight
from daskgmm.storage.row_layout import rows_dtype, rows_shape
from daskgmm.storage.sources import open_source
from daskgmm.storage.state_files import StateFile
from daskgmm.storage.text_files import check_text_output, write_text
from daskgmm.storage.traffic import bytes_read

__all__ = [
    "CheckpointFolder",
    "Location",
    "RowOutput",
    "RowWriter",
    "StateFile",
    "StoredSource",
    "bytes_read",
    "check_output",
    "check_text_output",
    "enclosing_node",
    "first_overlap",
    "held",
    "is_lasting",
    "open_source",
    "plain_json",
    "preflight",
    "read_model",
    "rows_dtype",
    "rows_shape",
    "save_model",
    "write_text",
]
