"""Clusters: where the tasks of a fit run, named by an address or by a YAML file.

A new kind of cluster is one row in :data:`KINDS` and one commented file in
``cluster_configs/``. Its class is fixed in the row: a configuration chooses among rows
and never names code to import.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import pkgutil
import reprlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

import dask
import yaml
from dask.utils import parse_bytes
from distributed import Client, Security
from distributed.comm import connect

from daskgmm.errors import ClusterError, DaskGMMWarning, MissingDependencyError, NotFoundError

__all__ = [
    "KINDS",
    "ClusterConfig",
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
MAX_BYTES = 2**16
"""Of a configuration; parsing takes some seconds at this size."""
MAX_DEPTH = 16
"""Of a configuration's levels; the parser recurses."""

ENCRYPTED = {"tcp": False, "tls": True, "ws": False, "wss": True}
"""Schemes of an address, and whether they encrypt and authenticate."""


class Rule(NamedTuple):
    """What one key of a configuration may hold."""

    what: str
    accepts: Callable[[Any], bool]
    required: bool = False


Schema: TypeAlias = "Mapping[str, Rule | Schema]"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # bool is an int to isinstance


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_size(value: Any) -> bool:
    if not isinstance(value, str):
        return _is_count(value)
    try:
        return value == "auto" or parse_bytes(value) > 0
    except ValueError:
        return False


def _is_address(value: Any) -> bool:
    try:
        url = urlsplit(value)
        return url.scheme in ENCRYPTED and bool(url.hostname) and bool(url.port)
    except (AttributeError, TypeError, ValueError):
        return False


COUNT = Rule("a whole number of 1 or more", _is_count)
SECONDS = Rule("a number of seconds above 0", lambda value: _is_number(value) and value > 0)
WAIT = Rule("a number of seconds (0: do not wait)", lambda value: _is_number(value) and value >= 0)
SIZE = Rule("a size such as 8GiB", _is_size)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
TEXT = Rule("text (in quotes)", lambda value: isinstance(value, str))
TEXTS = Rule(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
)
TEXT_OF_TEXT = Rule(
    "a mapping of text to text (numbers in quotes)",
    lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
)
MAPPING = Rule("a mapping", lambda value: isinstance(value, dict))
FILE = Rule("the name of a file", TEXT.accepts, required=True)
ADDRESS = Rule("an address such as tls://host:8786 (tcp, tls, ws or wss)", _is_address, True)

CLIENT: Schema = {"timeout": SECONDS, "wait_seconds": WAIT}


@dataclass(frozen=True)
class ClusterConfig:
    """A validated cluster configuration.

    Attributes
    ----------
    path : str
        The file that it was read from.
    values : mapping
        The file's content.
    lines : mapping of str to int
        Line of every key, counted from 1; nested keys have dots (``options.memory``).
    """

    path: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(repr=False)

    @property
    def kind(self) -> Kind:
        """The row of :data:`KINDS` that the file asks for."""
        return KINDS[self.values["cluster"]]

    def section(self, key: str) -> Mapping[str, Any]:
        """Return the mapping under ``key``, empty where the file has none."""
        section: Mapping[str, Any] = self.values.get(key, {})
        return section

    def error(self, key: str, problem: str) -> ClusterError:
        """Return the error that ``key`` has a ``problem``, with file and line."""
        parent = key.rpartition(".")[0]  # a missing key has no line of its own
        line = self.lines.get(key, self.lines.get(parent, 1))
        return ClusterError(f"{self.path}, line {line}: {key} {problem}")


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
        if not _is_address(spec):
            raise ClusterError(f"cluster {spec}: must be {ADDRESS.what}, or a YAML file")
        session = _connect(spec, spec)
    else:
        config = read_config(spec)
        session = config.kind.open(config)
    with session as client:
        yield client


def read_config(path: str) -> ClusterConfig:
    """Read and validate a cluster configuration.

    Parameters
    ----------
    path : str
        A YAML file of at most 64 KiB, without anchors and aliases.

    Returns
    -------
    ClusterConfig

    Raises
    ------
    NotFoundError
        There is no such file.
    ClusterError
        It cannot be read, is not YAML, or does not fit the schema of its kind.
    """
    text = _read_text(path)
    try:
        _check_shape(path, text)
        values = yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = _one_line(getattr(error, "problem", None) or error)
        raise ClusterError(f"{path}{line}: not YAML: {problem}") from error
    if not isinstance(values, dict):
        raise ClusterError(
            f"{path}: must hold keys such as 'cluster: local', got {reprlib.repr(values)}"
        )
    lines: dict[str, int] = {}
    config = ClusterConfig(path, values, lines)
    for key, number in _lines(node):
        if key in lines:
            raise config.error(key, f"is there again on line {number}; keep one")
        lines[key] = number
    kind = values.get("cluster")
    if not isinstance(kind, str) or kind not in KINDS:
        raise config.error(
            "cluster", f"must be one of {', '.join(KINDS)}; got {reprlib.repr(kind)}"
        )
    _validate(config, config.kind.schema, values)
    config.kind.check(config)
    return config


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"cluster {path}: no such file; give {ADDRESS.what}, "
            f"or a YAML file as in cluster_configs/"
        ) from error
    except OSError as error:
        raise ClusterError(f"cluster {path}: cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise ClusterError(f"{path}: exceeds {MAX_BYTES} bytes; is it a cluster configuration?")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ClusterError(f"{path}: is not UTF-8 text: {error}") from error


def _check_shape(path: str, text: str) -> None:
    """Refuse what makes a short file large or deep, before any object is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None):  # an alias event has the anchor that it repeats
            raise ClusterError(
                f"{path}, line {line}: anchors and aliases (&{event.anchor}, *{event.anchor}) "
                f"are refused; write the value out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ClusterError(f"{path}, line {line}: nested deeper than {MAX_DEPTH} levels")


def _lines(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Dotted keys of a mapping node and their lines."""
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        yield key, key_node.start_mark.line + 1
        if isinstance(value_node, yaml.MappingNode):
            yield from _lines(value_node, f"{key}.")


def _validate(
    config: ClusterConfig, schema: Schema, values: Mapping[str, Any], prefix: str = ""
) -> None:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in schema:
            near = difflib.get_close_matches(str(name), schema, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(schema)}"
            raise config.error(key, f"is unknown; {hint}")
        rule = schema[name]
        if not isinstance(rule, Rule):
            if not isinstance(value, dict):
                raise config.error(key, f"must hold keys ({', '.join(rule)})")
            _validate(config, rule, value, f"{key}.")
        elif not rule.accepts(value):
            raise config.error(key, f"must be {rule.what}, got {reprlib.repr(value)}")
    for name, rule in schema.items():
        if isinstance(rule, Rule) and rule.required and name not in values:
            raise config.error(f"{prefix}{name}", f"is missing; it must be {rule.what}")


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
        raise ClusterError(f"{problem} ({_one_line(root)}); {way_out}") from error


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
