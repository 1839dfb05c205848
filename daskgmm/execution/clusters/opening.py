"""Opening a cluster, which is named by an address or by a YAML file."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from daskgmm.configuration import Configuration, read_file, validate
from daskgmm.errors import ClusterError
from daskgmm.execution.clusters.config import ADDRESS, is_address
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    from distributed import Client

    from daskgmm.execution.clusters import client as connections
    from daskgmm.execution.clusters import table
else:  # where there is a cluster
    connections = Lazily("daskgmm.execution.clusters.client")
    table = Lazily("daskgmm.execution.clusters.table")

__all__ = ["open_cluster", "read_config"]


@contextmanager
def open_cluster(spec: str | None) -> Iterator[Client | None]:
    """Open the cluster that ``spec`` names, and close it on exit, however that comes.

    Parameters
    ----------
    spec : str or None
        None for the threads of this process; the address of a running scheduler
        (``tcp://host:8786``, or ``tls``, ``ws``, ``wss``); or the path of a YAML file as
        in ``cluster_configs/``.

    Yields
    ------
    Client or None
        A client that is the default of ``dask.compute`` inside the ``with`` block.

    Raises
    ------
    NotFoundError
        There is no such file.
    ClusterError
        The configuration is wrong (file, line and key are named), the scheduler cannot be
        reached, or no worker came in time.
    MissingDependencyError
        The library of that kind of cluster is not installed.

    Warns
    -----
    DaskGMMWarning
        Whoever reaches the scheduler's port can run code there: it is beyond loopback
        and without TLS.

    Notes
    -----
    The worker processes of a local cluster import the main module. A script therefore
    guards its calls by ``if __name__ == "__main__":``.
    """
    if spec is None:
        yield None
        return
    session: AbstractContextManager[Client]
    if "://" in spec:
        if not is_address(spec):
            raise ClusterError(f"cluster {spec}: must be {ADDRESS.what}, or a YAML file")
        session = connections.connect(spec, spec)
    else:
        config = read_config(spec)
        session = table.KINDS[config.values["cluster"]].open(config)
    with _quiet_client(), session as client:
        yield client


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep Dask's client from logging that its scheduler is lost, which an error says already."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def read_config(path: str) -> Configuration:
    """Read and validate a cluster configuration.

    Parameters
    ----------
    path : str
        A YAML file of at most 64 KiB, without anchors and aliases.

    Raises
    ------
    NotFoundError
        There is no such file.
    ClusterError
        It cannot be read, is not YAML, or does not fit the schema of its kind.
    """
    config = read_file(path, f"{ADDRESS.what}, or a YAML file as in cluster_configs/", ClusterError)
    name = config.values.get("cluster")
    if not isinstance(name, str) or name not in table.KINDS:
        raise config.error(
            "cluster", f"must be one of {', '.join(table.KINDS)}; got {reprlib.repr(name)}"
        )
    validate(config, table.KINDS[name].schema, config.values)
    table.KINDS[name].check(config)
    return config
