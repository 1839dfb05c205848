"""Clusters over SSH: a scheduler and workers on hosts that a configuration lists."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Security

from daskgmm.configuration import Configuration, Schema
from daskgmm.errors import ClusterError
from daskgmm.execution.clusters.client import in_own_loop
from daskgmm.execution.clusters.kinds import (
    NEEDED_BY_TASKS,
    StartedCluster,
    optional,
    settings_of_clusters,
)
from daskgmm.execution.clusters.security import check_certificates, is_loopback
from daskgmm.redaction import one_line
from daskgmm.rules import TEXT

__all__ = ["SSHHosts"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SSHHosts(StartedCluster):
    """Hosts that take SSH. The list of them is the cluster's size, which stays as it is.

    Notes
    -----
    Dask starts schedulers and workers by a command line, which everyone on their hosts can
    read. So a private key does not go there: it is written to a folder on each host that only
    its owner can read, and that is removed at the end.
    """

    @property
    def schema(self) -> Schema:
        """See `Kind`."""
        return {"cluster": TEXT, **self._common}

    def check(self, config: Configuration) -> None:
        """See `Kind`."""
        if "options" not in config.values:
            raise config.error("options", "is missing; options.hosts lists the hosts")
        check_certificates(config)

    @contextmanager
    def started(self, config: Configuration) -> Iterator[Any]:
        """See `StartedCluster`."""
        cluster_class = optional(self.class_path, self.extra, config.path)
        arguments = self.arguments(config)
        connect_options = arguments["connect_options"]
        for name in ("known_hosts", "client_keys"):
            if name in connect_options:
                connect_options[name] = _files(config, connect_options[name])
        if all(map(is_loopback, arguments["hosts"])):  # no other machine needs their ports
            for role in ("scheduler_options", "worker_options"):
                arguments[role] = {"host": "127.0.0.1", **arguments.get(role, {})}
        hosts = _Hosts(
            config.path,
            tuple(dict.fromkeys(arguments["hosts"])),
            connect_options,
            arguments.get("remote_python", sys.executable),
            optional("asyncssh", self.extra, config.path),
        )
        with ExitStack() as stack:
            settings = stack.enter_context(hosts.certificates(arguments["security"]))
            with settings_of_clusters(), dask.config.set(settings):
                cluster = stack.enter_context(closing(cluster_class(**arguments)))
            yield cluster


def _files(config: Configuration, names: str | list[str]) -> str | list[str]:
    """Names of files relative to the configuration, as paths."""
    if isinstance(names, str):
        return str(config.beside(names))
    return [str(config.beside(name)) for name in names]


@dataclass(frozen=True)
class _Hosts:
    """Hosts, and how to run commands on them."""

    where: str
    names: tuple[str, ...]
    connect_options: dict[str, Any]
    python: str
    asyncssh: Any

    @contextmanager
    def certificates(self, security: Security) -> Iterator[dict[str, str | bool]]:
        """Put certificates on the hosts; yield Dask's settings that name them there."""
        # Nobody can guess the folder's name, so nobody can have made it before.
        folder = f"/tmp/daskgmm-{uuid.uuid4().hex}"
        ca, own = f"{folder}/ca.pem", f"{folder}/own.pem"
        tls = security.get_tls_config_for_role("worker")
        written = False
        try:
            self._run(
                (f"umask 077 && mkdir -p {folder} && cat > {ca}", tls["ca_file"]),
                (f"umask 077 && cat > {own}", f"{tls['cert']}\n{tls['key']}"),
                # An import that fails is named here; Dask would only say that nothing started.
                (f"{shlex.quote(self.python)} -c 'import {NEEDED_BY_TASKS}'", ""),
            )
            written = True
            prefix = "distributed.comm"
            yield {
                f"{prefix}.require-encryption": True,
                f"{prefix}.tls.ca-file": ca,
                **{f"{prefix}.tls.{role}.cert": own for role in ("scheduler", "worker", "client")},
            }
        finally:
            try:
                self._run((f"rm -rf {folder}", ""))
            except ClusterError as error:
                if written:  # else another error says that nothing could be written
                    logger.warning("%s; %s stays there", error, folder)

    def _run(self, *commands: tuple[str, str]) -> None:
        """Run commands, each with its standard input, in order, on all hosts at once."""

        async def on(host: str) -> None:
            step = "cannot connect"
            try:
                async with self.asyncssh.connect(host, **self.connect_options) as connection:
                    for command, stdin in commands:
                        step = f"`{command}` failed"
                        await connection.run(command, input=stdin, check=True)
            except (OSError, TimeoutError, self.asyncssh.Error) as error:
                told = (getattr(error, "stderr", None) or "").strip().splitlines()
                raise ClusterError(
                    f"{self.where}: ssh {host}: {step} ({told[-1] if told else one_line(error)}); "
                    f"check options.connect_options and options.remote_python"
                ) from error

        async def on_all() -> None:
            await asyncio.gather(*map(on, self.names))

        in_own_loop(on_all)
