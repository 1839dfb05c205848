"""The kinds of clusters: those that are started for a fit, and those that run already.

The kinds themselves are the rows of :data:`daskgmm.execution.clusters.table.KINDS`.
"""

from __future__ import annotations

import pkgutil
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import dask
from distributed import Client

from daskgmm.configuration import SECONDS, WAIT, Configuration, Schema
from daskgmm.errors import ClusterError, MissingDependencyError
from daskgmm.execution.clusters.client import (
    ALLOWED_FAILURES,
    CONNECT_SECONDS,
    WAIT_SECONDS,
    allow_many_deaths,
    as_cluster_error,
    connect,
    wait_for_worker,
)
from daskgmm.execution.clusters.config import ADDRESS, ENCRYPTED
from daskgmm.execution.clusters.security import (
    TLS,
    Protection,
    certificates,
    check_certificates,
    warn_clear,
    warn_open_dashboard,
    warn_plain,
)
from daskgmm.redaction import one_line
from daskgmm.rules import COUNT, TEXT

__all__ = [
    "ALLOWED_FAILURES",
    "CLIENT",
    "NEEDED_BY_TASKS",
    "ExistingScheduler",
    "Kind",
    "StartedCluster",
    "optional",
    "settings_of_clusters",
]

NEEDED_BY_TASKS = "daskgmm.tables"
"""The module whose import brings all that tasks need to read rows."""

CLIENT: Schema = {"timeout": SECONDS, "wait_seconds": WAIT}
"""Schema of the section ``client``."""


class Kind(Protocol):
    """A kind of cluster: what a row of the table of kinds offers."""

    @property
    def schema(self) -> Schema:
        """The keys of its configurations."""
        ...

    def check(self, config: Configuration) -> None:
        """Raise ClusterError for values that are right one by one but not together."""
        ...

    def open(self, config: Configuration) -> AbstractContextManager[Client]:
        """Yield a client of the cluster; on exit close all that was started."""
        ...


@dataclass(frozen=True)
class StartedCluster:
    """A kind of cluster that is started for a fit and closed after it.

    Attributes
    ----------
    class_path : str
        ``module:Class``. The class has ``adapt`` and ``close``.
    options : Schema
        The keyword arguments of the class that a configuration may give.
    defaults : mapping
        Keyword arguments that the class is given where the configuration gives none.
    look_at : str
        Text for messages: where a user sees why workers do not arrive.
    extra : str
        Name of the optional dependencies that bring the class; empty if it is always there.
    wait_seconds : float
        Seconds that the first worker may take.
    protection : Protection
        What keeps others out of the cluster.
    command : str or None
        A program that the class calls. It is looked for first, because a batch system's
        class only logs that the program is missing, and its workers never come.
    takes_n_workers : bool
        The class has the argument ``n_workers``; if not, it has ``scale``.
    unpacked : str or None
        The option whose keys are arguments of the class themselves.
    """

    class_path: str
    options: Schema
    defaults: Mapping[str, Any]
    look_at: str
    extra: str = ""
    wait_seconds: float = WAIT_SECONDS
    protection: Protection = Protection.CERTIFICATES
    command: str | None = None
    takes_n_workers: bool = True
    unpacked: str | None = None

    @property
    def schema(self) -> Schema:
        """See `Kind`."""
        adaptive = {
            "minimum": COUNT._replace(required=True),
            "maximum": COUNT._replace(required=True),
        }
        return {"cluster": TEXT, "workers": COUNT, "adaptive": adaptive, **self._common}

    @property
    def _common(self) -> Schema:
        tls: Schema = {"tls": TLS} if self.protection is Protection.CERTIFICATES else {}
        return {"options": self.options, **tls, "client": CLIENT}

    def check(self, config: Configuration) -> None:
        """See `Kind`."""
        if ("workers" in config.values) == ("adaptive" in config.values):
            raise config.error("workers", "or adaptive: give exactly one of the two")
        adaptive = config.section("adaptive")
        if adaptive and adaptive["minimum"] > adaptive["maximum"]:
            raise config.error(
                "adaptive.minimum", f"{adaptive['minimum']} exceeds maximum {adaptive['maximum']}"
            )
        check_certificates(config)

    @contextmanager
    def open(self, config: Configuration) -> Iterator[Client]:
        """See `Kind`."""
        settings, name = config.section("client"), self.class_path.partition(":")[2]
        with ExitStack() as stack:
            with as_cluster_error(
                f"{config.path}: {name} did not start", f"look at {self.look_at}"
            ):
                cluster = stack.enter_context(self.started(config))
                timeout = settings.get("timeout", CONNECT_SECONDS)
                client = stack.enter_context(Client(cluster, timeout=timeout))
            allow_many_deaths(client, config.path)
            wait_seconds = settings.get("wait_seconds", self.wait_seconds)
            wait_for_worker(client, config.path, wait_seconds, self.look_at)
            yield client

    @contextmanager
    def started(self, config: Configuration) -> Iterator[Any]:
        """Yield the cluster, at the size that was asked for; close it on exit."""
        cluster_class = optional(self.class_path, self.extra, config.path)
        if self.command and shutil.which(self.command) is None:
            raise ClusterError(
                f"{config.path}: {cluster_class.__name__} calls {self.command}, which is not on "
                f"PATH; run on a machine that has it"
            )
        arguments = self.arguments(config)
        adaptive = config.section("adaptive")
        size = config.values.get("workers") or adaptive["minimum"]
        if self.takes_n_workers:
            arguments["n_workers"] = size
        with ExitStack() as stack:
            stack.enter_context(settings_of_clusters())  # workers that come later need them too
            with redirect_stdout(sys.stderr):  # some classes print their progress
                cluster = cluster_class(**arguments)
                stack.callback(_remove_keys, cluster)
                stack.enter_context(closing(cluster))
            cluster.quiet = True  # and would go on to print of workers that come and go
            if adaptive:
                cluster.adapt(**adaptive)
            elif not self.takes_n_workers:
                cluster.scale(size)
            yield cluster

    def arguments(self, config: Configuration) -> dict[str, Any]:
        """Return the arguments of the class, except for the cluster's size."""
        arguments: dict[str, Any] = dask.config.merge(self.defaults, config.section("options"))
        warn_clear(config)
        warn_open_dashboard(config, self.protection)
        if self.unpacked:
            arguments |= arguments.pop(self.unpacked, {})
        if self.protection is Protection.CERTIFICATES:
            arguments["security"] = certificates(config, self.extra)
        elif self.protection is Protection.NONE:
            warn_plain(config.path)
        return arguments


def _remove_keys(cluster: Any) -> None:
    """Remove the files of keys that dask-jobqueue keeps until the cluster is collected."""
    for name, value in vars(cluster).items():
        if name.startswith("_job_") and hasattr(value, "close"):
            value.close()


def optional(path: str, extra: str, where: str) -> Any:
    """Return the object ``module:name`` of a library that may not be installed.

    Raises
    ------
    MissingDependencyError
        It is not; the message begins with ``where`` and names the extra.
    """
    module, _, name = path.partition(":")
    try:
        return pkgutil.resolve_name(path)
    except ImportError as error:
        raise MissingDependencyError(
            f"{where}: {name or module} is in {module}, which cannot be imported "
            f"({one_line(error)}); pip install 'daskgmm[{extra}]'"
        ) from error


def settings_of_clusters() -> AbstractContextManager[Any]:
    """Return settings for schedulers and workers that start here or inherit from here.

    By them a task survives many deaths of workers, and a worker imports what tasks need before
    it joins, so that no task is blamed if the worker is killed while it imports.
    """
    failures, preload = "distributed.scheduler.allowed-failures", "distributed.worker.preload"
    own = dask.config.get(preload)
    settings: AbstractContextManager[Any] = dask.config.set(
        {
            failures: max(ALLOWED_FAILURES, dask.config.get(failures)),
            preload: [*([own] if isinstance(own, str) else own), NEEDED_BY_TASKS],
        }
    )
    return settings


@dataclass(frozen=True)
class ExistingScheduler:
    """A scheduler that somebody else started and that outlives the fit."""

    schema: ClassVar[Schema] = {"cluster": TEXT, "address": ADDRESS, "tls": TLS, "client": CLIENT}

    def check(self, config: Configuration) -> None:
        """See `Kind`."""
        address = config.values["address"]
        if config.section("tls") and not ENCRYPTED[urlsplit(address).scheme]:
            raise config.error(
                "address", f"{address} does not encrypt; with tls: use tls:// or wss://"
            )
        check_certificates(config)

    def open(self, config: Configuration) -> AbstractContextManager[Client]:
        """See `Kind`."""
        security = certificates(config) if config.section("tls") else None
        return connect(config.values["address"], config.path, security, **config.section("client"))
