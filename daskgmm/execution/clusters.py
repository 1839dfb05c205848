"""Clusters: where the tasks of a fit run, named by an address or by a YAML file.

A new kind of cluster is one row in :data:`KINDS` and one commented file in
``cluster_configs/``. Its class is fixed in the row: a configuration chooses among rows
and never names code to import.
"""

from __future__ import annotations

import asyncio
import logging
import pkgutil
import reprlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import dask
from distributed import Client, Security
from distributed.comm import connect

from daskgmm.errors import ClusterError, DaskGMMWarning, MissingDependencyError
from daskgmm.execution.cluster_config import (
    ADDRESS,
    COUNT,
    ENCRYPTED,
    FILE,
    FLAG,
    MAPPING,
    SECONDS,
    SIZE,
    TEXT,
    TEXT_OF_TEXT,
    TEXTS,
    WAIT,
    ClusterConfig,
    Schema,
    is_address,
    one_line,
    read_file,
    validate,
)

__all__ = [
    "KINDS",
    "ExistingScheduler",
    "Kind",
    "StartedCluster",
    "open_cluster",
    "read_config",
]

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer, where ``client.timeout`` does not say."""
WAIT_SECONDS = 300.0
"""How long the first worker may take, where ``client.wait_seconds`` does not say."""
ALLOWED_FAILURES = 10
"""How many workers a task may see die before it is blamed for their deaths."""
CLIENT: Schema = {"timeout": SECONDS, "wait_seconds": WAIT}


class Kind(Protocol):
    """What a row of :data:`KINDS` can do."""

    @property
    def schema(self) -> Schema:
        """The keys of its configurations."""
        ...

    def check(self, config: ClusterConfig) -> None:
        """Raise ClusterError for values that are right one by one but not together."""
        ...

    def open(self, config: ClusterConfig) -> AbstractContextManager[Client]:
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

    def check(self, config: ClusterConfig) -> None:
        """See `Kind`."""
        if ("workers" in config.values) == ("adaptive" in config.values):
            raise config.error("workers", "or adaptive: give exactly one of the two")
        adaptive = config.section("adaptive")
        if adaptive and adaptive["minimum"] > adaptive["maximum"]:
            raise config.error(
                "adaptive.minimum", f"{adaptive['minimum']} exceeds maximum {adaptive['maximum']}"
            )

    @contextmanager
    def open(self, config: ClusterConfig) -> Iterator[Client]:
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
            with _as_cluster_error(
                f"{config.path}: {cluster_class.__name__} did not start", f"look at {self.look_at}"
            ):
                with dask.config.set({key: failures}):
                    cluster = stack.enter_context(closing(cluster_class(**options)))
                if adaptive:
                    cluster.adapt(**adaptive)
                timeout = config.section("client").get("timeout", CONNECT_SECONDS)
                client = stack.enter_context(Client(cluster, timeout=timeout))
            wait_seconds = config.section("client").get("wait_seconds", self.wait_seconds)
            _wait_for_worker(client, config.path, wait_seconds, self.look_at)
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
            _warn_plain(where)
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

    def check(self, config: ClusterConfig) -> None:
        """See `Kind`."""
        address = config.values["address"]
        if config.section("tls") and not ENCRYPTED[urlsplit(address).scheme]:
            raise config.error(
                "address", f"{address} does not encrypt; with tls: use tls:// or wss://"
            )
        for name, path in self._files(config).items():
            if not path.is_file():
                raise config.error(f"tls.{name}", f"names {path}, which is no file")

    def open(self, config: ClusterConfig) -> AbstractContextManager[Client]:
        """See `Kind`."""
        files = {name: str(path) for name, path in self._files(config).items()}
        security = files and Security(
            require_encryption=True,
            tls_ca_file=files["ca"],
            tls_client_cert=files["cert"],
            tls_client_key=files["key"],
        )
        return _connect(
            config.values["address"], config.path, security or None, **config.section("client")
        )

    @staticmethod
    def _files(config: ClusterConfig) -> dict[str, Path]:
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
        session = _connect(spec, spec)
    else:
        config = read_config(spec)
        session = KINDS[config.values["cluster"]].open(config)
    with session as client:
        yield client


def read_config(path: str) -> ClusterConfig:
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
    config = read_file(path)
    name = config.values.get("cluster")
    if not isinstance(name, str) or name not in KINDS:
        raise config.error(
            "cluster", f"must be one of {', '.join(KINDS)}; got {reprlib.repr(name)}"
        )
    validate(config, KINDS[name].schema, config.values)
    KINDS[name].check(config)
    return config


@contextmanager
def _connect(
    address: str,
    where: str,
    security: Security | None = None,
    timeout: float = CONNECT_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[Client]:
    url = urlsplit(address)
    if not ENCRYPTED[url.scheme] and not _is_loopback(str(url.hostname)):
        _warn_plain(f"cluster {address}")
    with ExitStack() as stack:
        with _as_cluster_error(
            f"{where}: no connection to {address} within {timeout:g} s",
            "check that the scheduler runs and, for TLS, the files under tls: (a YAML file as in "
            "cluster_configs/scheduler.yaml names them)",
        ):
            _probe(address, security or Security(), timeout)
            client = stack.enter_context(Client(address, security=security, timeout=timeout))
        _wait_for_worker(client, where, wait_seconds, "the workers of that scheduler")
        yield client


def _probe(address: str, security: Security, timeout: float) -> None:
    """Connect and part again.

    A Client that cannot connect leaves the thread of its event loop behind, and when it is
    collected later it can deadlock with one that is just starting. A bare connection, which
    fails for the same reasons, leaves nothing.
    """

    async def connect_and_part() -> None:
        arguments = security.get_connection_args("client")
        comm = await connect(address, timeout=timeout, **arguments)
        await comm.close()

    # In a thread of its own, because a notebook's thread has a running event loop.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, connect_and_part()).result()


def _wait_for_worker(client: Client, where: str, seconds: float, look_at: str) -> None:
    if not seconds:
        return
    logger.info("cluster %s: waiting up to %g s for a worker", where, seconds)
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise ClusterError(
            f"{where}: no worker within {seconds:g} s; look at {look_at}, "
            f"or raise client.wait_seconds in a YAML file"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_plain(where: str) -> None:
    warnings.warn(
        f"{where}: plain tcp beyond this machine: whoever reaches the scheduler's port can run "
        f"code there; use TLS or close the network",
        DaskGMMWarning,
        stacklevel=2,
    )


@contextmanager
def _as_cluster_error(problem: str, way_out: str) -> Iterator[None]:
    """One line of whatever the cluster's own library raises."""
    try:
        yield
    except Exception as error:  # libraries and networks raise what they like
        root: BaseException = error
        # The outer ones say no more than that it failed to start.
        while isinstance(root.__cause__, Exception):
            root = root.__cause__
        raise ClusterError(f"{problem} ({one_line(root)}); {way_out}") from error
