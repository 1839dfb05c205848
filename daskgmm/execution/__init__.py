"""Dask: rows in partitions, staging, the memory plan, schedulers and clusters, progress."""

from daskgmm.execution.clusters.dashboard import (
    check_report_path,
    dashboard_address,
    report_written,
)
from daskgmm.execution.clusters.tasks import ClusterTasks, TaskCounts, cluster_progress
from daskgmm.execution.dask_rows import DaskRows, array_of_source, coalesced
from daskgmm.execution.events import (
    Event,
    Failed,
    Listener,
    Message,
    Underway,
    listening,
    teller,
)
from daskgmm.execution.memory import (
    Machine,
    MemoryPlan,
    MixtureSize,
    StoredShape,
    Work,
    plan_memory,
    sample_rows,
)
from daskgmm.execution.process_memory import bytes_of, default_limit, peak_memory_bytes
from daskgmm.execution.progress import (
    PassProgress,
    ProgressBar,
    ProgressLines,
    Seldom,
    duration,
    passes,
)
from daskgmm.execution.scheduler import Scheduler, client_in_force, in_force
from daskgmm.execution.staging import StagedSource, Staging, StagingReport

__all__ = [
    "ClusterTasks",
    "DaskRows",
    "Event",
    "Failed",
    "Listener",
    "Machine",
    "MemoryPlan",
    "Message",
    "MixtureSize",
    "PassProgress",
    "ProgressBar",
    "ProgressLines",
    "Scheduler",
    "Seldom",
    "StagedSource",
    "Staging",
    "StagingReport",
    "StoredShape",
    "TaskCounts",
    "Underway",
    "Work",
    "array_of_source",
    "bytes_of",
    "check_report_path",
    "client_in_force",
    "cluster_progress",
    "coalesced",
    "dashboard_address",
    "default_limit",
    "duration",
    "in_force",
    "listening",
    "passes",
    "peak_memory_bytes",
    "plan_memory",
    "report_written",
    "sample_rows",
    "teller",
]
