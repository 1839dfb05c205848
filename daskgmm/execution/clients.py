"""The distributed client in force, if there is one. Nothing here imports ``distributed``.

It takes a third of a second to import, which whoever fits an array in memory would pay for
nothing. A client, the worker that a task finds itself on, or a value that workers hold can only
exist where somebody has imported it: until then there is none.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import dask

from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    import distributed
else:
    distributed = Lazily("distributed")

__all__ = ["SCHEDULER_LOST", "client_in_force", "kinds_of_futures"]

SCHEDULER_LOST = (
    "the connection to the cluster's scheduler is lost: it ended, or the network did; "
    "see its log, start it again, and run this again"
)


def _is_imported() -> bool:
    return sys.modules.get("distributed") is not None


def client_in_force() -> distributed.Client | None:
    """The distributed client that tasks go to, if there is one."""
    if not _is_imported():
        return None
    if dask.config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def kinds_of_futures() -> tuple[type[Any], ...]:
    """Classes of what stands in a graph for values that workers hold; none if there are none."""
    return (distributed.Future,) if _is_imported() else ()
