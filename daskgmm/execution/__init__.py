"""Dask: rows in partitions, staging, the memory plan, schedulers and clusters, progress."""

from daskgmm.execution.clusters.dashboard import (
    check_report_path,
    dashboard_address,
    report_written,
)
from daskgmm.execution.dask_arrays import array_of_source, row_blocks
from daskgmm.execution.dask_cells import cells_of_rows, rows_of_cells
from daskgmm.execution.dask_rows import DaskRows, Weighting
from daskgmm.execution.made_with import made_with
from daskgmm.execution.memory import (
    Machine,
    MemoryPlan,
    MixtureSize,
    StoredShape,
    Work,
    plan_memory,
    sample_rows,
)
from daskgmm.execution.meter import Meter
from daskgmm.execution.partitions import blocks_within, partition_starts
from daskgmm.execution.process_memory import default_limit, give_back_memory, peak_memory_bytes
from daskgmm.execution.progress import pass_progress
from daskgmm.execution.scheduler import in_force
from daskgmm.execution.staging import StagedSource, Staging, StagingReport

__all__ = [
    "DaskRows",
    "Machine",
    "MemoryPlan",
    "Meter",
    "MixtureSize",
    "StagedSource",
    "Staging",
    "StagingReport",
    "StoredShape",
    "Weighting",
    "Work",
    "array_of_source",
    "blocks_within",
    "cells_of_rows",
    "check_report_path",
    "dashboard_address",
    "default_limit",
    "give_back_memory",
    "in_force",
    "made_with",
    "partition_starts",
    "pass_progress",
    "peak_memory_bytes",
    "plan_memory",
    "report_written",
    "row_blocks",
    "rows_of_cells",
    "sample_rows",
]
