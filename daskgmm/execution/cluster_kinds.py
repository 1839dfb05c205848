"""The kinds of clusters: what a configuration of each may say, and how it is opened.

A new kind is one row in :data:`KINDS` and one commented file in ``cluster_configs/``.
Its class is fixed in the row: a configuration chooses among rows and never names code
to import.
"""

from __future__ import annotations

import logging
import pkgutil
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import dask
from distributed import Client, Security

from daskgmm.configuration import (
    COUNT,
    FLAG,
    MAPPING,
    SECONDS,
    SIZE,
    TEXT,
    TEXT_OF_TEXT,
    TEXTS,
    WAIT,
    Configuration,
    Schema,
)
from daskgmm.errors import ClusterError, MissingDependencyError
from daskgmm.execution.cluster_client import (
    CONNECT_SECONDS,
    WAIT_SECONDS,
    as_cluster_error,
    connect,
    wait_for_worker,
    warn_plain,
)
from daskgmm.execution.cluster_config import ADDRESS, ENCRYPTED, FILE

__all__ = ["ALLOWED_FAILURES", "KINDS", "ExistingScheduler", "Kind", "StartedCluster"]

ALLOWED_FAILURES = 10
"""How many workers a task may see die before it is blamed for their deaths."""
CLIENT: Schema = {"timeout": SECONDS, "wait_seconds": WAIT}


class Kind(Protocol):
    """What a row of :data:`KINDS` can do."""

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
        ``module:Class``. The class takes ``n_workers`` and has ``adapt`` and ``close``.
    package : str
        What ``pip install`` needs for it.
    options : Schema
        The keyword arguments of the class that a configuration may give.
    defaults : mapping
        Those that we give where the configuration does not.
    look_at : str
        Where a user sees why workers do not arrive.
    wait_seconds : float
        How long the first worker may take.
    beyond_loopback : bool
        Other machines can reach its ports.
    takes_security : bool
        The class has the argument ``security``, so that it can be given TLS.
    command : str or None
        A program that the class calls. It is looked for first, because a batch system's
        class only logs that the program is missing, and its workers never come.
    """

    class_path: str
    package: str
    options: Schema
    defaults: Mapping[str, Any]
    look_at: str
    wait_seconds: float = WAIT_SECONDS
    beyond_loopback: bool = True
    takes_security: bool = True
    command: str | None = None

    @property
    def schema(self) -> Schema:
        """See `Kind`."""
        adaptive = {
            "minimum": COUNT._replace(required=True),
            "maximum": COUNT._replace(required=True),
        }
        return {
            "cluster": TEXT,
            "workers": COUNT,
            "adaptive": adaptive,
            "options": self.options,
            "client": CLIENT,
        }

    def check(self, config: Configuration) -> None:
        """See `Kind`."""
        if ("workers" in config.values) == ("adaptive" in config.values):
            raise config.error("workers", "or adaptive: give exactly one of the two")
        adaptive = config.section("adaptive")
        if adaptive and adaptive["minimum"] > adaptive["maximum"]:
            raise config.error(
                "adaptive.minimum", f"{adaptive['minimum']} exceeds maximum {adaptive['maximum']}"
            )

    @contextmanager
    def open(self, config: Configuration) -> Iterator[Client]:
        """See `Kind`."""
        cluster_class = self._cluster_class(config.path)
        options = dask.config.merge(self.defaults, config.section("options"))
        options |= self._security(config.path)
        adaptive = config.section("adaptive")
        options["n_workers"] = config.values.get("workers") or adaptive["minimum"]
        # A preempted or overfull worker is not the fault of the task that it was running.
        # Dask's default of 3 such deaths ends a fit of hours.
        key = "distributed.scheduler.allowed-failures"
        failures = max(ALLOWED_FAILURES, dask.config.get(key))
        with ExitStack() as stack:
            with as_cluster_error(
                f"{config.path}: {cluster_class.__name__} did not start", f"look at {self.look_at}"
            ):
                with dask.config.set({key: failures}):
                    cluster = stack.enter_context(closing(cluster_class(**options)))
                if adaptive:
                    cluster.adapt(**adaptive)
                timeout = config.section("client").get("timeout", CONNECT_SECONDS)
                client = stack.enter_context(Client(cluster, timeout=timeout))
            wait_seconds = config.section("client").get("wait_seconds", self.wait_seconds)
            wait_for_worker(client, config.path, wait_seconds, self.look_at)
            yield client

    def _cluster_class(self, where: str) -> Callable[..., Any]:
        module, _, name = self.class_path.partition(":")
        try:
            cluster_class: Callable[..., Any] = pkgutil.resolve_name(self.class_path)
        except ImportError as error:
            raise MissingDependencyError(
                f"{where}: {name} is in {module}, which cannot be imported ({error}); "
                f"pip install {self.package}"
            ) from error
        if self.command and shutil.which(self.command) is None:
            raise ClusterError(
                f"{where}: {name} calls {self.command}, which is not on PATH; "
                f"run on a machine that has it"
            )
        return cluster_class

    def _security(self, where: str) -> dict[str, Any]:
        """Return the arguments that keep others out; warn where there are none."""
        if not self.beyond_loopback:
            return {}
        if not self.takes_security:
            warn_plain(where)
            return {}
        try:
            return {"security": Security.temporary()}
        except ImportError as error:
            raise MissingDependencyError(
                f"{where}: TLS between the machines needs cryptography ({error}); "
                f"pip install cryptography"
            ) from error


@dataclass(frozen=True)
class ExistingScheduler:
    """A scheduler that somebody else started and that outlives the fit."""

    schema: ClassVar[Schema] = {
        "cluster": TEXT,
        "address": ADDRESS,
        "tls": {"ca": FILE, "cert": FILE, "key": FILE},
        "client": CLIENT,
    }

    def check(self, config: Configuration) -> None:
        """See `Kind`."""
        address = config.values["address"]
        if config.section("tls") and not ENCRYPTED[urlsplit(address).scheme]:
            raise config.error(
                "address", f"{address} does not encrypt; with tls: use tls:// or wss://"
            )
        for name, path in self._files(config).items():
            if not path.is_file():
                raise config.error(f"tls.{name}", f"names {path}, which is no file")

    def open(self, config: Configuration) -> AbstractContextManager[Client]:
        """See `Kind`."""
        files = {name: str(path) for name, path in self._files(config).items()}
        security = files and Security(
            require_encryption=True,
            tls_ca_file=files["ca"],
            tls_client_cert=files["cert"],
            tls_client_key=files["key"],
        )
        return connect(
            config.values["address"], config.path, security or None, **config.section("client")
        )

    @staticmethod
    def _files(config: Configuration) -> dict[str, Path]:
        """Return the TLS files; their names are relative to the configuration."""
        folder = Path(config.path).parent
        return {
            name: folder / Path(value).expanduser() for name, value in config.section("tls").items()
        }


_LOCAL: Schema = {
    "threads_per_worker": COUNT,
    "memory_limit": SIZE,
    "local_directory": TEXT,
    "processes": FLAG,
    "dashboard_address": TEXT,
}

_SCHEDULER: Schema = {
    "host": TEXT,
    "interface": TEXT,
    "port": COUNT,
    "dashboard_address": TEXT,
}

_SLURM: Schema = {
    "queue": TEXT,
    "account": TEXT,
    "cores": COUNT,
    "memory": SIZE,
    "processes": COUNT,
    "walltime": TEXT,
    "interface": TEXT,
    "local_directory": TEXT,
    "log_directory": TEXT,
    "shared_temp_directory": TEXT,
    "job_name": TEXT,
    "job_cpu": COUNT,
    "job_mem": TEXT,
    "job_extra_directives": TEXTS,
    "job_directives_skip": TEXTS,
    "job_script_prologue": TEXTS,
    "worker_extra_args": TEXTS,
    "death_timeout": SECONDS,
    "python": TEXT,
    "shebang": TEXT,
    "scheduler_options": _SCHEDULER,
}

_KUBERNETES: Schema = {
    "name": TEXT,
    "namespace": TEXT,
    "image": TEXT,
    "resources": {"requests": MAPPING, "limits": MAPPING},
    "env": TEXT_OF_TEXT,
    "worker_command": TEXT,
    "port_forward_cluster_ip": FLAG,
    "scheduler_service_type": TEXT,
    "idle_timeout": COUNT,
    "resource_timeout": COUNT,
    "custom_cluster_spec": TEXT,
}

# A dashboard has no password, and a fixed port is taken as soon as two people fit on one
# machine: it listens on loopback, at a port that the system chooses.
_DASHBOARD = {"dashboard_address": "127.0.0.1:0"}

KINDS: dict[str, Kind] = {
    "local": StartedCluster(
        class_path="distributed:LocalCluster",
        package="distributed",
        options=_LOCAL,
        # It binds to loopback by itself; that no option says otherwise keeps it there.
        defaults={
            "threads_per_worker": 1,
            "silence_logs": logging.WARNING,
            **_DASHBOARD,
        },
        look_at="the workers' messages above; a script needs if __name__ == '__main__':",
        wait_seconds=60.0,
        beyond_loopback=False,
    ),
    "slurm": StartedCluster(
        class_path="dask_jobqueue:SLURMCluster",
        package="dask-jobqueue",
        options=_SLURM,
        # Workers read their TLS files from the shared folder; without one they are written
        # to wherever the fit was started.
        defaults={"shared_temp_directory": "$HOME", "scheduler_options": _DASHBOARD},
        look_at="squeue --me and the logs in options.log_directory",
        command="sbatch",
    ),
    "kubernetes": StartedCluster(
        class_path="dask_kubernetes.operator:KubeCluster",
        package="dask-kubernetes",
        options=_KUBERNETES,
        # Quiet, or it prints its progress on standard output. Its scheduler is in a pod, where
        # only the environment reaches it.
        defaults={
            "quiet": True,
            "env": {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES)},
        },
        look_at="kubectl get daskclusters,pods and kubectl describe pod",
        takes_security=False,
    ),
    "scheduler": ExistingScheduler(),
}
"""Every kind of cluster that a configuration can ask for."""
