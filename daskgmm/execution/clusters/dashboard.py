"""Dask's dashboard and performance report, which bokeh draws where the scheduler runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from daskgmm.errors import (
    MissingDependencyError,
    ParameterError,
    StorageError,
    warn,
)
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    import distributed
    from distributed import Client
else:  # where there is a client
    distributed = Lazily("distributed")

__all__ = ["check_report_path", "dashboard_address", "report_written"]


def dashboard_address(client: Client | None) -> str | None:
    """URL of the dashboard of a client's scheduler; None where there is none.

    Raises
    ------
    MissingDependencyError
        If the scheduler has no bokeh.
    """
    if client is None:
        return None
    _check_bokeh(client, "dashboard")
    try:
        return client.dashboard_link or None
    except KeyError:  # its scheduler was started with --no-dashboard
        return None


def check_report_path(path: str | None, cluster: str | None) -> None:
    """Refuse a report that could not be written in the end, before anything is started.

    Raises
    ------
    ParameterError
        If there is no cluster.
    StorageError
        If nothing can be written in its folder.
    """
    if path is None:
        return
    if cluster is None:
        raise ParameterError(
            "--performance-report is of a Dask cluster: add --cluster, such as "
            "cluster_configs/local.yaml"
        )
    folder = Path(path).absolute().parent
    if not os.access(folder, os.W_OK):
        raise StorageError(
            f"performance report: nothing can be written in {folder}; name a file in a local "
            "folder that exists"
        )


@contextmanager
def report_written(client: Client | None, path: str | None) -> Iterator[None]:
    """Write Dask's report on what the cluster does inside the block, as HTML.

    Raises
    ------
    MissingDependencyError
        If the scheduler has no bokeh.

    Warns
    -----
    DaskGMMWarning
        If it cannot be written, which is no reason to lose the results of the cluster.
    """
    if client is None or path is None:
        yield
        return
    _check_bokeh(client, "performance report")
    partial = Path(f"{path}.partial")
    report = distributed.performance_report(filename=str(partial))
    report.__enter__()
    try:
        yield
    finally:
        try:
            report.__exit__(None, None, None)
            partial.replace(path)
        except Exception as error:  # of the scheduler, of bokeh, of the disk
            partial.unlink(missing_ok=True)
            warn(f"the performance report {path} could not be written ({type(error).__name__})")


def _check_bokeh(client: Client, what: str) -> None:
    try:
        client.run_on_scheduler(metadata.version, "bokeh")
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(
            f"the {what} needs bokeh where the scheduler runs: pip install 'daskgmm[dashboard]'"
        ) from None
