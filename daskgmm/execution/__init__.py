"""Dask: rows in partitions, staging, the memory plan, schedulers and clusters, progress."""

from daskgmm.execution.dask_rows import DaskRows, array_of_source, coalesced
from daskgmm.execution.memory import (
    MemoryPlan,
    bytes_of,
    default_limit,
    peak_memory_bytes,
    plan_memory,
    sample_rows,
)
from daskgmm.execution.progress import PassProgress, ProgressLines, duration
from daskgmm.execution.scheduler import Scheduler, in_force
from daskgmm.execution.staging import StagedSource, Staging, StagingReport

__all__ = [
    "DaskRows",
    "MemoryPlan",
    "PassProgress",
    "ProgressLines",
    "Scheduler",
    "StagedSource",
    "Staging",
    "StagingReport",
    "array_of_source",
    "bytes_of",
    "coalesced",
    "default_limit",
    "duration",
    "in_force",
    "peak_memory_bytes",
    "plan_memory",
    "sample_rows",
]
