"""Metrics: a line for each pass, once; what was read, made again and lost is what really was."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from daskgmm import GaussianMixture, open_rows
from daskgmm.em import Iteration
from daskgmm.errors import DaskGMMWarning, InterruptedFitError, ParameterError
from daskgmm.events import Underway, listening
from daskgmm.execution import pass_progress
from daskgmm.execution.clusters.tasks import ClusterTasks
from daskgmm.metrics import metrics_written

FIELDS = {
    *("fit", "time", "pass", "log_likelihood", "gain", "remaining_gain", "accepted", "n_rows"),
    *("seconds", "rows_per_second", "bytes_read", "retries", "workers_lost"),
    "peak_memory_bytes",
}
N_ITER = 5


def rows(n: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 3)) + 3 * rng.integers(3, size=(n, 1))).astype(np.float32)


def fitting(**settings) -> GaussianMixture:
    """A fit of exactly ``N_ITER`` passes."""
    return GaussianMixture(3, tol=0.0, max_iter=N_ITER, stepper="plain", random_state=0, **settings)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def metrics(tmp_path):
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def store(tmp_path):
    array = zarr.create_array(
        tmp_path / "data.zarr", shape=(20_000, 3), chunks=(1000, 3), dtype="f4"
    )
    array[...] = rows()
    return str(tmp_path / "data.zarr")


pytestmark = [
    pytest.mark.filterwarnings("ignore:not converged"),
    pytest.mark.filterwarnings("ignore:.*no checksum"),
]


def test_a_line_for_each_pass_with_what_the_fit_says_of_itself(store, metrics):
    with metrics_written(metrics):
        model = fitting().fit(store)
    found = lines(metrics)
    assert all(set(line) == FIELDS for line in found)
    assert [line["pass"] for line in found] == list(range(N_ITER + 1))
    assert len({line["fit"] for line in found}) == 1
    assert [line["log_likelihood"] for line in found[1:]] == model.lower_bounds_
    for line, iteration in zip(found[1:], model.history_, strict=True):
        assert line["seconds"] == iteration.seconds
        assert line["rows_per_second"] == model.n_rows_ / iteration.seconds
    assert (found[0]["log_likelihood"], found[1]["gain"]) == (None, None)
    assert all(line["retries"] == line["workers_lost"] == 0 for line in found)
    assert all(line["peak_memory_bytes"] > 2**20 for line in found)


def test_bytes_read_are_those_of_the_store_and_what_is_staged_is_not_read(store, metrics, tmp_path):
    stored = open_rows(store).survey().stored_bytes
    with metrics_written(metrics):
        fitting().fit(store)
        fitting(stage=tmp_path).fit(store)
    plain, staged = lines(metrics)[: N_ITER + 1], lines(metrics)[N_ITER + 1 :]
    assert [line["bytes_read"] for line in plain] == [stored] * (N_ITER + 1)
    assert [line["bytes_read"] for line in staged] == [stored] + [0] * N_ITER
    assert plain[0]["fit"] != staged[0]["fit"]


def test_bytes_of_a_npy_file_are_those_of_its_rows(metrics, tmp_path):
    np.save(tmp_path / "data.npy", rows())
    with metrics_written(metrics):
        fitting().fit(tmp_path / "data.npy")
    assert {line["bytes_read"] for line in lines(metrics)} == {rows().nbytes}


def test_what_cannot_be_known_is_null(metrics):
    with metrics_written(metrics):
        fitting().fit(rows())
    assert {line["bytes_read"] for line in lines(metrics)} == {None}


class InterruptAt:
    """Listener that interrupts a fit."""

    def __init__(self, n_iter: int) -> None:
        self.n_iter = n_iter

    def __call__(self, event) -> None:
        if isinstance(event, Iteration) and event.n_iter == self.n_iter:
            raise KeyboardInterrupt


@pytest.mark.parametrize("is_told_first", [True, False], ids=["line missing", "line there"])
def test_a_resumed_fit_goes_on_with_its_lines(store, metrics, tmp_path, is_told_first):
    """Interrupted before and after the line of a pass that the checkpoint holds."""
    kept = {"checkpoint": str(tmp_path / "kept")}
    at_3 = InterruptAt(3)
    listeners = [metrics_written(metrics), listening(at_3)]
    first, second = reversed(listeners) if is_told_first else listeners
    with pytest.raises(InterruptedFitError), first, second:
        fitting(**kept).fit(store)
    before = metrics.read_text()
    assert before.count("\n") == (3 if is_told_first else 4)
    with metrics_written(metrics):
        model = fitting(**kept, resume=True).fit(store)
    assert metrics.read_text().startswith(before)
    found = lines(metrics)
    assert [line["pass"] for line in found] == list(range(N_ITER + 1))
    assert len({line["fit"] for line in found}) == 1
    assert [line["log_likelihood"] for line in found[1:]] == model.lower_bounds_
    if is_told_first:
        assert found[3]["bytes_read"] is None  # nobody knows any more


def test_a_file_inside_a_zarr_node_is_refused(store):
    with pytest.raises(ParameterError, match="which is Zarr"), metrics_written(f"{store}/m.jsonl"):
        pass


def test_a_full_disk_ends_the_lines_and_not_the_fit(store):
    with metrics_written("/dev/full"), pytest.warns(DaskGMMWarning, match="takes no more lines"):
        assert fitting().fit(store).n_iter_ == N_ITER


# On a cluster


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, which come back when they are killed.

    Not forked: which process has read is told by a name that it takes when it imports.
    """
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    ):
        yield cluster


class Trap:
    """Sets a trap at a pass, into which one task of the next pass goes."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, event) -> None:
        if isinstance(event, Iteration) and event.n_iter == 2:
            self.file.touch()


def kill(block, trap=None):
    if _springs(trap):
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def fail(block, trap=None):
    if _springs(trap):
        raise OSError("the store is away for a moment")
    return block


def wait(block, for_file=None):
    while len(block) and not os.path.exists(for_file):
        time.sleep(0.01)
    return block


def _springs(trap):
    try:
        os.unlink(trap)
    except FileNotFoundError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(("happens", "n_lost"), [(kill, 1), (fail, 0)])
def test_retries_and_lost_workers_are_those_of_their_pass(
    cluster, metrics, tmp_path, happens, n_lost
):
    x = da.from_array(rows(), chunks=(2500, 3))
    expected = fitting().fit(x)
    trap = Trap(tmp_path / "trap")
    with Client(cluster), metrics_written(metrics), listening(trap):
        found = fitting().fit(x.map_blocks(happens, trap=str(trap.file), dtype=x.dtype))
    np.testing.assert_array_equal(found.means_, expected.means_)
    by_pass = lines(metrics)
    assert [line["workers_lost"] for line in by_pass] == [0, 0, 0, n_lost, 0, 0]
    retries = [line["retries"] for line in by_pass]
    # With the worker go its results and what it was to do next, too.
    assert retries[3] >= 1
    assert happens is kill or retries[3] == 1
    assert sum(retries) == retries[3]


@pytest.mark.slow
def test_bytes_are_read_by_workers_and_memory_is_the_most_of_any_process(cluster, store, metrics):
    stored = open_rows(store).survey().stored_bytes
    with Client(cluster), metrics_written(metrics):
        fitting().fit(store)
        fitting().fit(store)
    assert [line["bytes_read"] for line in lines(metrics)] == [stored] * 2 * (N_ITER + 1)


@pytest.mark.slow
def test_how_far_a_pass_on_a_cluster_is(cluster, tmp_path):
    """No block is read before a listener has heard of the pass."""
    heard = []

    def listener(event):
        if isinstance(event, Underway):
            heard.append((event.pass_key, event.n_done, event.n_tasks))
            (tmp_path / "heard").touch()

    x = da.from_array(rows(), chunks=(2500, 3))
    with Client(cluster) as client, listening(listener), pass_progress(client):
        fitting().fit(x.map_blocks(wait, for_file=str(tmp_path / "heard"), dtype=x.dtype))
    assert len({pass_key for pass_key, _, _ in heard}) >= 1
    assert heard[0][1] < heard[0][2]
    assert all(0 <= n_done <= n_tasks for _, n_done, n_tasks in heard)


@pytest.mark.slow
def test_a_worker_that_is_asked_to_leave_is_not_lost(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        tasks = ClusterTasks(client)
        client.retire_workers([next(iter(client.scheduler_info()["workers"]))])
        counts = tasks.counts()
        tasks.close()
    assert counts is not None
    assert counts.n_workers_lost == 0


@pytest.mark.slow
def test_what_a_scheduler_cannot_count_is_null_and_noted(cluster, metrics, monkeypatch):
    def refuse(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'daskgmm'")

    with Client(cluster) as client:
        monkeypatch.setattr(client, "register_plugin", refuse)
        x = da.from_array(rows(), chunks=(2500, 3))
        with metrics_written(metrics), pytest.warns(DaskGMMWarning, match="install daskgmm where"):
            fitting().fit(x)
    assert {line["retries"] for line in lines(metrics)} == {None}
    assert {line["workers_lost"] for line in lines(metrics)} == {None}
