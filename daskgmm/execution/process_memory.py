"""The memory of this process: what it uses, and what it may use."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil
from distributed.system import MEMORY_LIMIT

__all__ = ["default_limit", "peak_memory_bytes", "resident_bytes"]

_SHARE_OF_FREE = 0.5
"""Share of the free memory that is the limit where the user gives none."""


def peak_memory_bytes() -> int:
    """Most resident memory that this process ever had."""
    # ru_maxrss would do, but Linux hands it down from the parent through exec.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def default_limit() -> int:
    """Half of the memory that is free now, within the container's limit if there is one."""
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT - resident_bytes())
    return resident_bytes() + int(_SHARE_OF_FREE * free)
