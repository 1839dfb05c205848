"""Metrics of fits: a line of JSON for each pass, with what the pass read and used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from daskgmm.errors import ParameterError
from daskgmm.events import MetricsFile, listening
from daskgmm.execution import Meter
from daskgmm.storage import bytes_read, enclosing_node

__all__ = ["metrics_written"]


@contextmanager
def metrics_written(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Append metrics of the fits made inside the block to a file.

    :mod:`daskgmm.events.metrics` lists the fields of a line.

    Parameters
    ----------
    path : path or None
        A local file, which is made if it does not exist; None writes no metrics.

    Raises
    ------
    StorageError
        If the file cannot be written.
    ParameterError
        If the file holds anything but metrics, or lies inside a Zarr node.
    """
    if path is None:
        yield
        return
    node = enclosing_node(path)
    if node is not None:
        raise ParameterError(f"metrics: {path} is inside {node}, which is Zarr; name another")
    with closing(MetricsFile(path, Meter(bytes_read))) as metrics, listening(metrics):
        yield
