"""The memory of this process: what it uses, and what it may use."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["default_limit", "give_back_memory", "peak_memory_bytes", "resident_bytes"]

_SHARE_OF_FREE = 0.5
"""Share of the free memory that is the limit where the user gives none."""
_LIMITS_OF_CONTAINER = [
    Path("/sys/fs/cgroup/memory", name)  # of version 1 of control groups
    for name in ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")
] + [Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "high", "low")]
"""Files that tell how much memory this container may have, as ``distributed.system`` reads them."""


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


def give_back_memory() -> None:
    """Give memory that was freed back to the system, which else stays resident in the allocators.

    glibc keeps hundreds of MiB of what many threads allocated; a limit is held against them.
    """
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # where it is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def default_limit() -> int:
    """Half of the memory that is free now, within the container's limit if there is one."""
    memory, resident = psutil.virtual_memory(), resident_bytes()
    free = min(memory.available, _most_memory(memory.total) - resident)
    return resident + int(_SHARE_OF_FREE * free)


def _most_memory(of_machine: int) -> int:
    """Bytes that the machine has, its container may have, and the limits of processes allow."""
    found = [of_machine, resource.getrlimit(resource.RLIMIT_RSS)[1]]
    for file in _LIMITS_OF_CONTAINER:
        with suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(file.read_text()))
    return min(n for n in found if n > 0)
