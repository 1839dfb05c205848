"""Connecting to a scheduler: a client with a worker behind it, which is closed on exit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, Security
from distributed.comm import connect as open_comm

from daskgmm.errors import ClusterError, DaskGMMError, warn
from daskgmm.execution.clusters.config import ENCRYPTED
from daskgmm.execution.clusters.security import is_loopback, warn_plain
from daskgmm.redaction import one_line

__all__ = [
    "ALLOWED_FAILURES",
    "CONNECT_SECONDS",
    "WAIT_SECONDS",
    "allow_many_deaths",
    "as_cluster_error",
    "connect",
    "in_own_loop",
    "wait_for_worker",
]

logger = logging.getLogger(__name__)

ALLOWED_FAILURES = 10
"""How many workers may die while they run a task before the task is blamed for it."""
CONNECT_SECONDS = 10.0
"""Seconds that a scheduler may take to answer, if ``client.timeout`` is not given."""
WAIT_SECONDS = 300.0
"""Seconds that the first worker may take, if ``client.wait_seconds`` is not given."""


@contextmanager
def connect(
    address: str,
    where: str,
    security: Security | None = None,
    timeout: float = CONNECT_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[Client]:
    """Yield a client of the scheduler at ``address``; errors begin with ``where``."""
    url = urlsplit(address)
    if not ENCRYPTED[url.scheme] and not is_loopback(str(url.hostname)):
        warn_plain(f"cluster {address}")
    with ExitStack() as stack:
        with as_cluster_error(
            f"{where}: no connection to {address} within {timeout:g} s",
            "check that the scheduler runs and, for TLS, the files under tls: (a YAML file as in "
            "cluster_configs/scheduler.yaml names them)",
        ):
            _probe(address, security or Security(), timeout)
            client = stack.enter_context(Client(address, security=security, timeout=timeout))
        allow_many_deaths(client, where)
        wait_for_worker(client, where, wait_seconds, "the workers of that scheduler")
        yield client


def _probe(address: str, security: Security, timeout: float) -> None:
    """Open a bare connection and close it again, to learn whether a client could connect.

    A Client that cannot connect leaves the thread of its event loop behind, and when that is
    collected later it can deadlock with a client that is just starting. A bare connection
    fails for the same reasons and leaves nothing behind.
    """

    async def connect_and_part() -> None:
        arguments = security.get_connection_args("client")
        comm = await open_comm(address, timeout=timeout, **arguments)
        await comm.close()

    in_own_loop(connect_and_part)


def in_own_loop(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a thread of its own, because a notebook's has a running event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(function())).result()


def wait_for_worker(client: Client, where: str, seconds: float, look_at: str) -> None:
    """Return once there is a worker, or at once if ``seconds`` is 0."""
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


def allow_many_deaths(client: Client, where: str) -> None:
    """Raise a scheduler's limit of allowed failures to ``ALLOWED_FAILURES``; never lower it.

    That a worker was preempted or ran out of memory is hardly ever the fault of the task that
    it was running. With Dask's default, 3 such deaths end a fit of hours.

    Warns
    -----
    DaskGMMWarning
        If the scheduler does not let us.
    """

    def raise_limit(least: int, dask_scheduler: Any = None) -> int:
        before = int(dask_scheduler.allowed_failures)
        dask_scheduler.allowed_failures = max(least, before)
        return before

    try:
        # A function in a function travels as its code: the scheduler may have no daskgmm.
        before = client.run_on_scheduler(raise_limit, ALLOWED_FAILURES)
    except Exception as error:  # a scheduler's refusals are of many kinds
        warn(
            f"{where}: how many workers a task may see die could not be raised to "
            f"{ALLOWED_FAILURES} ({one_line(error)}); unless the scheduler was started with "
            f"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES={ALLOWED_FAILURES} it is 3"
        )
    else:
        if before < ALLOWED_FAILURES:
            logger.info("%s: allowed-failures raised from %d", where, before)


@contextmanager
def as_cluster_error(problem: str, way_out: str) -> Iterator[None]:
    """Turn whatever the cluster's own library raises into one line."""
    try:
        yield
    except DaskGMMError:
        raise
    except Exception as error:  # libraries and networks raise what they like
        root: BaseException = error
        # The outer errors only say that the cluster failed to start.
        while isinstance(root.__cause__, Exception):
            root = root.__cause__
        raise ClusterError(f"{problem} ({one_line(root)}); {way_out}") from error
