"""Made with: which versions a fit ran with, and on how many workers and threads."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from daskgmm._version import __version__
from daskgmm.errors import ClusterError
from daskgmm.execution.scheduler import in_force
from daskgmm.kernel import loops

__all__ = ["made_with"]

_PACKAGES = ("numpy", "scipy", "dask", "zarr")


def made_with() -> dict[str, Any]:
    """Versions, and the workers and threads in force, as plain values.

    Returns
    -------
    dict
        ``versions`` by name, ``loops``, ``processor``; and ``n_workers`` (0 for threads of this
        process) and ``n_threads`` in all, unless the scheduler has just been lost.
    """
    found = {
        "versions": dict(_versions()),
        "loops": loops.described(),
        "processor": platform.machine(),
    }
    try:
        scheduler = in_force()
    except ClusterError:  # the fit is done, and is not lost for this
        return found
    return found | {"n_workers": scheduler.n_workers, "n_threads": scheduler.total_threads}


@cache  # to look them up takes a third of the fit of a small table
def _versions() -> dict[str, str]:
    versions = {"daskgmm": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # such as a package that was built into an executable
            continue
    return versions
