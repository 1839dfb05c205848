"""The same data, chunks and seed give the same bits, whoever computes them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from dask.callbacks import Callback
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from made_data import assert_same_bits, made_mixture, precisions_of, rows_of, write_store
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture
from daskgmm.em import STOP_RULES, InMemoryRows, PlainEM, Rules, run, scan_rows
from daskgmm.em.rows import grain_rows
from daskgmm.errors import MemoryLimitError, NonFiniteError
from daskgmm.execution import DaskRows, array_of_source
from daskgmm.kernel import Block, Mixture, Ridge, e_step
from daskgmm.storage import open_source
from daskgmm.testing.rows import assert_once_in_order

N, D, K = 80_000, 32, 3
CHUNK = 1024
GRAIN = grain_rows(D, CHUNK)
"""8,192 rows: ten grains, in three partitions on one thread and five on two."""


@pytest.fixture(scope="module")
def truth():
    return made_mixture("full", K, D, separation=1.0)


@pytest.fixture(scope="module")
def x(truth):
    return rows_of(truth, N).astype(np.float32)


@pytest.fixture(scope="module")
def store(x, tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("rows") / "x.zarr", x, CHUNK)


def _fit_rows(rows, start, max_iter=3):
    return run(rows, start, Rules(PlainEM(Ridge(1e-6)), STOP_RULES["gap"], max_iter)).kept


def _fit_store(store, **settings):
    """A fit from a seed: scan, sample, start, passes."""
    gm = GaussianMixture(
        K,
        tol=0.0,
        max_iter=3,
        random_state=0,
        init_params="random_from_data",
        progressive=False,
        **settings,
    )
    with pytest.warns(ConvergenceWarning):
        return gm.fit(store)._mixture


@pytest.fixture(scope="module")
def expected(store):
    with dask.config.set(scheduler="synchronous"):
        return _fit_store(store)


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def cluster(request):
    with LocalCluster(
        n_workers=request.param,
        threads_per_worker=2,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit="2GiB",
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_threads_change_no_bit(store, expected, num_workers):
    with dask.config.set(scheduler="threads", num_workers=num_workers):
        assert_same_bits(_fit_store(store), expected)


@pytest.mark.parametrize("spare", [300 * 2**20, 2**30, 100 * 2**30])
def test_the_memory_limit_changes_no_bit(store, expected, spare):
    in_use = psutil.Process().memory_info().rss  # by all the tests before this one, too
    with dask.config.set(scheduler="threads", num_workers=2):
        assert_same_bits(_fit_store(store, memory_limit=in_use + spare), expected)


def test_worker_processes_change_no_bit(store, expected, cluster):
    with Client(cluster):
        assert_same_bits(_fit_store(store), expected)


def test_competing_starts_change_no_bit():
    x = rows_of(made_mixture("full", 2, 2, separation=8.0), 1000)
    small = da.from_array(x, chunks=(100, 2))

    def fit(**config):
        with dask.config.set(**config):
            return GaussianMixture(2, tol=1e-4, random_state=0).fit(small)._mixture

    expected = fit(scheduler="synchronous")
    assert_same_bits(fit(scheduler="threads", num_workers=2), expected)


def test_the_size_of_partitions_changes_no_bit(x, family, tmp_path):
    x = x[:20_000]
    source = open_source(write_store(tmp_path / "x.zarr", x, CHUNK))
    start = made_mixture(family, K, D, separation=1.0)
    expected = _fit_rows(InMemoryRows(x, grain=2048), start, 2)
    for log2 in (0, 1, 3):
        rows = DaskRows(array_of_source(source, 2048 << log2), grain=2048)
        assert_same_bits(_fit_rows(rows, start, 2), expected)


class FailsOnce:
    """A source whose second partition cannot be read the first time, by whomever."""

    def __init__(self, source, flag: Path):
        self.source, self.flag = source, flag
        self.name, self.shape, self.dtype = source.name, source.shape, source.dtype
        self.unit_rows, self.unit_overhead = source.unit_rows, source.unit_overhead

    def read(self, start: int, stop: int) -> np.ndarray:
        if start > 0:
            try:
                os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass  # the task has failed once, and is tried again
            else:
                raise OSError("the network was away")
        return self.source.read(start, stop)


def test_a_task_that_fails_and_is_tried_again_changes_no_bit(store, x, truth, cluster, tmp_path):
    source = FailsOnce(open_source(store), tmp_path / "failed")
    rows = DaskRows(array_of_source(source, 4 * GRAIN), grain=GRAIN)
    assert rows.array.numblocks[0] == 3
    with Client(cluster):
        got = _fit_rows(rows, truth)
    assert source.flag.exists()
    assert_same_bits(got, _fit_rows(InMemoryRows(x, grain=GRAIN), truth))


def test_errors_of_workers_arrive_as_they_are(x, cluster):
    bad = x[:3000].copy()
    bad[2500, 1] = np.nan
    with Client(cluster), pytest.raises(NonFiniteError, match="row 2500, column 1"):
        scan_rows(DaskRows(da.from_array(bad, chunks=(1000, D))), 100, 0)


FOUR = made_mixture("full", 3, 4)


@given(
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=8).filter(sum),
    grain=st.sampled_from([64, 500, 4096]),
)
def test_any_chunks_give_the_same_sums_to_rounding(x, sizes, grain):
    x, truth = x[: sum(sizes), :4], FOUR
    array = da.from_array(x, chunks=(tuple(sizes), D))
    with dask.config.set(scheduler="synchronous"):
        got = DaskRows(array, grain=grain).fold(e_step, truth)
    want = e_step(Block(x), truth)
    assert got.n_rows == want.n_rows
    np.testing.assert_allclose(got.log_likelihood, want.log_likelihood, rtol=1e-12)
    for name, array in want.sums.items():
        # sqrt(n) eps of sums of n terms of order 1 to 10.
        np.testing.assert_allclose(got[name], array, rtol=1e-12, atol=1e-12 * len(x), err_msg=name)


def test_every_grain_of_uneven_chunks_is_told_where_it_begins():
    x = np.arange(206.0).reshape(103, 2)
    rows = DaskRows(da.from_array(x, chunks=((40, 3, 60), 2)), grain=16)
    assert assert_once_in_order(rows, x) == [0, 16, 32, 40, 43, 59, 75, 91]
    places = rows.map(
        lambda block: block.start + np.arange(len(block)), dtype=np.int64, columns=None
    )
    assert isinstance(places, da.Array)
    np.testing.assert_array_equal(places.compute(), np.arange(103))


class Graphs(Callback):
    """Keeps every graph that is computed on a local scheduler."""

    def __init__(self):
        super().__init__(start=self._kept)
        self.graphs = []

    def _kept(self, graph):
        self.graphs.append(dict(graph))


def _names(graph):
    names = [key if isinstance(key, str) else key[0] for key in graph]
    return {kind: sum(n.startswith(kind) for n in names) for kind in ("work", "fold", "sum")}


@pytest.mark.parametrize("partitions", [1, 2, 16, 17, 70, 300])
@pytest.mark.parametrize("scaled", [False, True], ids=["as stored", "after arithmetic"])
def test_a_pass_is_one_task_for_each_run_of_partitions_and_the_sums(partitions, scaled):
    n = 800
    rows_each = -(-n // partitions)
    array = array_of_source(NoRows(n, D), rows_each)
    if scaled:
        array = 2.0 * array - 1.0
    rows = DaskRows(array, grain=rows_each)
    with Graphs() as kept, dask.config.set(scheduler="synchronous"):
        assert rows.fold(len) == rows.fold(len) == n
    one, two = kept.graphs
    folds = rows.array.numblocks[0]
    while folds >= 2 * 4:  # tasks for each thread, where they are small
        folds = -(-folds // 2)
    sums, level = 0, folds
    while level > 1:
        level = -(-level // 16)
        sums += level
    # One key of what is to be done. Chunks that are read are no keys: nothing else is there.
    assert _names(one) == {"work": 1, "fold": folds, "sum": sums}
    assert len(one) == sum(_names(one).values())
    assert not set(one) & set(two), "a key used again for other contents can deadlock"


@pytest.mark.parametrize(
    ("partition_rows", "partitions", "each"),
    [(10, 4000, 256), (10, 7, 1), (2**18, 4000, 32), (2**18, 100, 1), (2**25, 4000, 1)],
)
def test_small_tasks_are_few_and_large_ones_even_out(partition_rows, partitions, each):
    """Of one task's rows, 2 MiB take about as long as the scheduler takes over the task."""
    source = NoRows(partition_rows * partitions, D)
    rows = DaskRows(array_of_source(source, partition_rows), grain=partition_rows, source=source)
    assert rows._partitions_per_task(2) == each


@pytest.mark.slow
@pytest.mark.parametrize("grains", [1, 4, 3], ids=lambda n: f"{n} grains a partition")
def test_how_many_partitions_a_task_folds_changes_no_bit(store, x, truth, grains):
    """Of a source, a task takes a run of partitions that leaves each thread four small tasks."""
    size = 128 * grains
    n = -(-N // size)
    source = open_source(store)
    sums, tasks = [], []
    for n_threads in (1, 2, 3, 100):
        rows = DaskRows(array_of_source(source, size), 128, n_threads, source)
        with Graphs() as kept, dask.config.set(scheduler="threads"):
            sums.append(rows.fold(e_step, truth))
        tasks.append(_names(kept.graphs[0])["fold"])
    assert tasks[-1] == n
    for n_threads, n_tasks in zip((1, 2, 3), tasks, strict=False):
        assert 4 * n_threads <= n_tasks < 2 * 4 * n_threads + 1
    with dask.config.set(scheduler="synchronous"):
        sums.append(DaskRows(2 * array_of_source(source, size) / 2, 128).fold(e_step, truth))
    if grains != 3:  # a run of grains that is no power of two is another tree
        sums.append(InMemoryRows(x, 128).fold(e_step, truth))
    assert sums[0].n_rows == N
    for other in sums[1:]:
        assert other.log_likelihood == sums[0].log_likelihood
        for name, array in sums[0].sums.items():
            np.testing.assert_array_equal(other[name], array)


def test_a_task_reads_no_more_than_it_should():
    row_bytes = 128 * 2**20
    source = NoRows(1_000, row_bytes // 4)
    rows = DaskRows(array_of_source(source, 1), 1, 1, source)
    with Graphs() as kept:
        assert rows.fold(len) == 1_000
    assert _names(kept.graphs[0])["fold"] == 1_000 // 8


class NoRows:
    """A source of rows that are not there; ``on_read`` is told of each read."""

    name, dtype, unit_rows, unit_overhead = "no rows", np.dtype(np.float32), 1, 0

    def __init__(self, n_rows, n_features, on_read=lambda start: None):
        self.shape, self.on_read = (n_rows, n_features), on_read

    def read(self, start: int, stop: int) -> np.ndarray:
        self.on_read(start)
        return np.broadcast_to(np.float32(0), (stop - start, self.shape[1]))


@pytest.mark.parametrize("reads_at_once", [1, 3])
def test_a_thread_has_as_many_reads_on_their_way_as_it_may(reads_at_once):
    """Each read waits until so many are; blocks come in order all the same."""
    most = [0]
    together = threading.Barrier(reads_at_once)
    lock, now = threading.Lock(), [0]

    def on_read(start):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(60)
        with lock:
            now[0] -= 1

    source = NoRows(12, 2**19, on_read)
    rows = DaskRows(array_of_source(source, 12), 1, 1, source, reads_at_once)
    seen = []
    rows.fold(lambda block: seen.append(block.start) or len(block))
    assert seen == list(range(12))
    assert most == [reads_at_once]


def test_when_one_task_fails_the_others_stop_at_their_next_piece():
    """So Ctrl-C, too, waits for a piece on each thread and not for up to 1 GiB."""
    both_read = threading.Barrier(2)
    n_read = 0

    def on_read(start):
        nonlocal n_read
        if start in (0, 1000):
            both_read.wait(60)
        if start == 0:
            raise OSError("the disk is gone")
        n_read += 1
        time.sleep(0.01)

    # Pieces of one row: one row is more than a piece should be.
    source = NoRows(2000, 2**19, on_read)
    rows = DaskRows(array_of_source(source, 1000), 1, 2, source)
    with dask.config.set(scheduler="threads"), pytest.raises(OSError, match="the disk is gone"):
        rows.fold(len)
    assert n_read < 1000


def test_memory_that_ran_out_is_an_error_that_says_what_to_do():
    """No traceback: of a system without memory there is nothing to debug."""

    def greedy(block):
        return np.empty(2**50)

    with pytest.raises(MemoryLimitError, match=r"Unable to allocate 8\.00 PiB.*--memory-limit"):
        DaskRows(da.ones((8, 2), chunks=(4, 2))).fold(greedy)


def test_blocks_that_workers_hold_are_folded_where_they_are(x, truth, cluster):
    array = da.from_array(x[:3000], chunks=(1000, D))
    want = DaskRows(array, 500).fold(len)
    with Client(cluster) as client:
        persisted = client.persist(array)
        assert DaskRows(persisted, 500).fold(len) == want == 3000
        rows = DaskRows(2 * persisted, 500)
        assert rows.fold(len) == rows.fold(len) == 3000


def test_a_source_crosses_to_workers_without_its_data(store):
    import pickle

    source = open_source(store)
    assert len(pickle.dumps(source)) < 20_000
    back = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(back.read(5, 17), source.read(5, 17))


def test_a_given_start_on_dask_is_the_in_memory_fit(x, truth):
    settings = {
        "weights_init": truth.weights,
        "means_init": truth.means,
        "precisions_init": precisions_of(truth),
    }
    small = x[:5000]
    a = GaussianMixture(K, **settings).fit(da.from_array(small, chunks=(5000, D)))
    b = GaussianMixture(K, **settings).fit(small)
    assert isinstance(a._mixture, Mixture)
    # One block of less than a grain: the same bits.
    assert_same_bits(a._mixture, b._mixture)
