"""Workers and schedulers that are killed under a fit: one error that says what to do, soon."""

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask
import dask.array as da
import psutil
import pytest
from distributed import Client, LocalCluster
from forks import dask_process

from daskgmm.errors import ClusterError, WorkersDiedError
from daskgmm.execution import DaskRows
from daskgmm.execution.clusters.kinds import ALLOWED_FAILURES
from daskgmm.execution.clusters.local import LocalCluster as LastingCluster

pytestmark = pytest.mark.slow  # clusters that are started in order to be lost


def rows():
    """Two partitions, of a task each."""
    return DaskRows(da.ones((8, 2), chunks=(4, 2)), grain=4)


def n_rows_of(block):
    return len(block)


def die(block):
    """As the kernel ends a process that wants more memory than there is."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(block, folder):
    mark = Path(folder, str(block.start))
    first = not mark.exists()
    mark.touch()
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(block)


@pytest.fixture
def cluster():
    """Two worker processes, of which a task may see one die."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit="1GiB",
            silence_logs=50,
        ) as cluster,
        Client(cluster),
    ):
        yield cluster


def test_task_that_kills_its_workers_is_an_error_that_says_what_to_do(cluster):
    with pytest.raises(
        WorkersDiedError,
        match=r"2 workers died while they ran the same task, the last at tcp://127\.0\.0\.1:\d+ "
        r"with 1\.00 GiB of memory for 1 threads.*more memory or fewer threads.*--memory-limit",
    ) as caught:
        rows().fold(die)
    assert "\n" not in str(caught.value)
    assert rows().fold(n_rows_of) == 8  # what died was a worker, not the cluster


def test_workers_that_die_once_are_replaced(cluster, tmp_path):
    cluster.scheduler.allowed_failures = ALLOWED_FAILURES
    assert rows().fold(die_once, str(tmp_path)) == 8
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("workers_are_spawned")
def test_worker_that_is_killed_before_it_has_begun_is_started_again():
    """Dask's own nanny gives up, and with it the cluster."""
    before, killed = set(_children()), []

    def kill_the_first():
        while not killed:
            killed.extend(_kill(child) for child in set(_children()) - before)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    options = {"dashboard_address": "127.0.0.1:0", "memory_limit": "1GiB", "silence_logs": 50}
    with LastingCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        killer.join()
        with Client(cluster) as client:
            client.wait_for_workers(1, timeout=60)
            assert rows().fold(n_rows_of) == 8
    assert killed


def _children():
    """Processes below this one that are to become workers."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process().children(recursive=True)
        return [child for child in found if "spawn_main" in " ".join(child.cmdline())]
    return []


def _kill(process):
    process.kill()
    return process.pid


@pytest.fixture
def scheduler_file(tmp_path):
    return tmp_path / "scheduler.json"


@pytest.fixture
def scheduler(scheduler_file, tmp_path):
    """A scheduler, which can be killed, and a worker, in processes of their own."""
    common = ("--scheduler-file", scheduler_file, "--no-dashboard")
    worker = ("worker", "--nthreads", "1", "--no-nanny", "--local-directory", tmp_path)
    with dask_process("scheduler", "--host", "127.0.0.1", "--port", "0", *common) as scheduler:
        while not scheduler_file.exists() or not scheduler_file.read_text():
            time.sleep(0.05)
        with dask_process(*worker, *common):
            yield scheduler


def wait_then_count(block, folder):
    Path(folder, "begun").touch()
    time.sleep(60)


def test_scheduler_that_is_lost_during_a_pass(scheduler, scheduler_file, tmp_path):
    with Client(scheduler_file=str(scheduler_file), timeout=3) as client:
        client.wait_for_workers(1)
        killer = threading.Thread(target=_kill_when, args=(scheduler, tmp_path / "begun"))
        killer.start()
        with pytest.raises(ClusterError, match="connection to the cluster's scheduler is lost"):
            rows().fold(wait_then_count, str(tmp_path))
        killer.join()


def _kill_when(scheduler, file):
    while not file.exists():
        time.sleep(0.05)
    scheduler.kill()


def test_client_that_does_not_see_that_its_scheduler_is_lost(
    scheduler, scheduler_file, monkeypatch, tmp_path
):
    """Seen once among hundreds of killed schedulers: what it was asked was waited for for good."""

    async def nothing(client):
        client.status = "connecting"
        await asyncio.sleep(3)
        client.scheduler_comm = None

    monkeypatch.setattr(Client, "_reconnect", nothing)
    monkeypatch.setattr("daskgmm.execution.on_cluster._LOST_SECONDS", 2.0)
    with Client(scheduler_file=str(scheduler_file), timeout=3) as client:
        client.wait_for_workers(1)
        killer = threading.Thread(target=_kill_when, args=(scheduler, tmp_path / "begun"))
        killer.start()
        with pytest.raises(ClusterError, match="connection to the cluster's scheduler is lost"):
            rows().fold(wait_then_count, str(tmp_path))
        killer.join()


@pytest.mark.parametrize("status", ["running", "connecting", "closed"])
def test_scheduler_that_is_lost_between_passes(scheduler, scheduler_file, status):
    """The threads of this machine must not take the cluster's place unasked."""
    with Client(scheduler_file=str(scheduler_file), timeout=3) as client:
        client.wait_for_workers(1)
        some = rows()
        assert some.fold(n_rows_of) == 8
        scheduler.kill()
        while client.status != status:
            time.sleep(0.01)
        with pytest.raises(ClusterError, match="connection to the cluster's scheduler is lost"):
            some.fold(n_rows_of)
