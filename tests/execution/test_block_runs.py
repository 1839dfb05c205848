"""Any Dask array: its blocks are computed in the tasks that fold them, once, and let go."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from contextlib import nullcontext
from typing import ClassVar

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import zarr
from dask.callbacks import Callback
from distributed import Client, LocalCluster, wait
from hypothesis import given
from hypothesis import strategies as st

from daskgmm import GaussianMixture
from daskgmm.em import InMemoryRows
from daskgmm.errors import DataError
from daskgmm.execution import DaskRows, Weighting, dask_rows, row_blocks

D = 2


def rows_of(n_rows):
    return np.random.default_rng(0).normal(size=(n_rows, D))


def rows_apart(n_rows):
    x = rows_of(n_rows)
    x[::2] += 6
    return x


class Tasks(Callback):
    """Counts the tasks of each computation on a local scheduler."""

    def __init__(self):
        super().__init__(start=lambda graph: self.counts.append(len(graph)))
        self.counts = []


class Blocks:
    """An array whose blocks are made when they are computed; counts them, made and alive."""

    def __init__(self, x, sizes):
        self._lock = threading.Lock()
        self._alive = 0
        self.n_made = self.most_alive = 0
        self.array = da.from_array(x, chunks=(sizes, D)).map_blocks(
            self._made, dtype=x.dtype, meta=x[:0]
        )

    def _made(self, block):
        block = block.copy()
        with self._lock:
            self.n_made += 1
            self._alive += 1
            self.most_alive = max(self.most_alive, self._alive)
        weakref.finalize(block, self._gone)
        return block

    def _gone(self):
        self._alive -= 1

    def __reduce__(self):
        raise TypeError("it stays here")


def total(block):
    return block.x.sum(axis=0)


def weighted_total(block):
    return block.weights @ block.x


# -- what a task is -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["made", "rechunked", "columns apart", "concatenated"])
def test_tasks_do_not_grow_with_the_blocks(how):
    x = rows_of(16_000)

    def array(n_blocks):
        made = Blocks(x, len(x) // n_blocks).array
        if how == "rechunked":
            return made.rechunk((len(x) // n_blocks // 2, D))
        if how == "columns apart":
            return row_blocks(da.concatenate([made[:, :1], made[:, 1:]], axis=1))[0]
        return da.concatenate([made, -made]) if how == "concatenated" else made

    counts = []
    for n_blocks in (100, 400):
        with Tasks() as tasks, dask.config.set(scheduler="synchronous"):
            DaskRows(array(n_blocks), grain=16).fold(total)
        counts.append(tasks.counts[0])
    if how != "concatenated":  # there both halves need each block, which no run can have alone
        assert max(counts) < 2 * 32 * 1.2
    else:
        assert counts[1] < 2 * 400 + 2 * 32 * 1.2


def test_each_block_is_computed_once_in_a_pass_and_let_go():
    blocks = Blocks(rows_of(6_400), 10)
    rows = DaskRows(blocks.array, grain=16)
    with dask.config.set(scheduler="synchronous"):
        for n_passes in (1, 2):
            rows.fold(total)
            assert blocks.n_made == n_passes * 640
    gc.collect()
    assert blocks.most_alive <= 4


def test_blocks_that_others_need_too_are_computed_once():
    x = rows_of(2_000)
    blocks = Blocks(x, 5)
    array = da.concatenate([blocks.array, blocks.array[::-1]])
    with dask.config.set(scheduler="synchronous"):
        found = DaskRows(array, 5).fold(total)
    np.testing.assert_allclose(found, 2 * x.sum(axis=0), rtol=1e-12)
    assert blocks.n_made == 400


def test_tasks_are_what_older_dask_has_as_well():
    """Tuples, aliases, lists of tasks, and numbers that are there."""
    x = rows_of(400)
    graph = {("numbers", i): x[100 * i : 100 * i + 100] for i in range(4)}
    graph |= {("moved", i): (np.add, ("numbers", i), (np.negative, "shift")) for i in range(4)}
    graph |= {("joined", i): (np.concatenate, [("moved", i), ("numbers", i)]) for i in range(4)}
    graph |= {("old", i, 0): ("joined", i) for i in range(4)} | {"shift": "one", "one": 1.0}
    array = da.Array(graph, "old", chunks=((200,) * 4, (D,)), dtype=float)
    expected = np.concatenate([x - 1, x]).sum(axis=0)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(DaskRows(array).fold(total), expected, rtol=1e-12)
    np.testing.assert_allclose(DaskRows(array).fold(total), expected, rtol=1e-12)


def test_neighbours_that_share_what_they_need():
    x = rows_of(3_000)
    blocks = Blocks(x, 10)
    array = blocks.array.map_overlap(lambda b: b, depth={0: 1}, boundary="none")
    centred = array - array.mean(axis=0)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(DaskRows(centred, 16).fold(total), np.zeros(D), atol=1e-10)
    assert blocks.n_made == 300


# -- sums ---------------------------------------------------------------------------

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=300).filter(sum)


@given(sizes=SIZES, weighted=st.booleans())
def test_threads_change_no_bit_of_any_blocks(sizes, weighted):
    x = rows_of(sum(sizes))
    weight = np.arange(1.0, len(x) + 1)
    array = 2 * da.from_array(x / 2, chunks=(tuple(sizes), D))
    lazy = da.from_array(weight, chunks=(tuple(sizes),))
    weighting = Weighting(lazy, weight.sum()) if weighted else None
    found = []
    for n_threads in (1, 2, 5, 1000):
        rows = DaskRows(array, 16 * 16, n_threads, weighting=weighting)
        with dask.config.set(scheduler="threads"):
            found.append(rows.fold(weighted_total))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    expected = weight @ x if weighted else x.sum(axis=0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_small_blocks_are_joined_up_to_a_sixteenth_of_a_grain():
    x = rows_of(1_600)
    sizes = []

    def seen(block):
        sizes.append(len(block))
        return total(block)

    with dask.config.set(scheduler="synchronous"):
        DaskRows(da.from_array(x, chunks=(30, D)), grain=16 * 100).fold(seen)
        assert sorted(sizes) == [70] + [90] * 17
        sizes.clear()
        DaskRows(da.from_array(x, chunks=(150, D)), grain=16 * 100).fold(seen)
        assert sorted(sizes) == [100] + [150] * 10


def test_one_block_a_thread_is_enough_for_all_threads():
    """8 MiB in eight blocks, which one task could take."""
    x = np.zeros((2**16, 16))
    places = set()

    def place(block):
        places.add(threading.get_ident())
        barrier.wait(30)
        return 1

    barrier = threading.Barrier(2)
    with dask.config.set(scheduler="threads", num_workers=2):
        assert DaskRows(da.from_array(x, chunks=(2**13, 16)), n_threads=2).fold(place) == 8
    assert len(places) == 2


# -- without a graph ------------------------------------------------------------------


@given(sizes=SIZES)
def test_a_callback_changes_no_bit(sizes):
    """Where nothing watches the tasks of a pass, threads are handed the runs themselves."""
    array = da.from_array(rows_of(sum(sizes)), chunks=(tuple(sizes), D))
    rows = DaskRows(array, 16 * 16, 2)
    with dask.config.set(scheduler="threads"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dask.threaded.get", lambda *_, **__: pytest.fail("a graph was computed"))
            found = rows.fold(total)
        with Tasks() as tasks:
            np.testing.assert_array_equal(rows.fold(total), found)
    assert len(tasks.counts) == 1


def test_a_block_may_be_what_other_rows_are_folded_to():
    """Each has threads of its own: with those of the first, which wait for it, it would never end."""
    inner = DaskRows(da.from_array(rows_of(64), chunks=(8, D)), 16, 1)

    def filled(block):
        return np.full_like(block, inner.fold(total)[0])

    array = da.from_array(rows_of(64), chunks=(8, D)).map_blocks(filled, meta=np.empty((0, D)))
    with dask.config.set(scheduler="threads"):
        found = DaskRows(array, 16, 1).fold(total)
    np.testing.assert_allclose(found, 64 * rows_of(64).sum(axis=0)[0])


class _Term:
    """Counts the terms of a sum that are alive."""

    n_alive = most_alive = 0
    _lock = threading.Lock()

    def __init__(self):
        with self._lock:
            _Term.n_alive += 1
            _Term.most_alive = max(self.most_alive, self.n_alive)

    def __add__(self, other):
        return _Term()

    def __del__(self):
        with self._lock:
            _Term.n_alive -= 1


@pytest.mark.parametrize("watched", [False, True])
def test_terms_are_let_go_when_they_are_added(watched, monkeypatch):
    """A future keeps its result: as many as there are tasks would be in memory."""
    monkeypatch.setattr(dask_rows, "_TASKS_PER_THREAD", 10**6)
    monkeypatch.setattr(dask_rows, "_SMALL_TASKS_PER_THREAD", 10**6)
    rows = DaskRows(da.from_array(rows_of(2**14), chunks=(8, D)), 8, 1)
    _Term.most_alive = 0
    with dask.config.set(scheduler="threads"), Tasks() if watched else nullcontext():
        rows.fold(lambda block: time.sleep(1e-4) or _Term())
    assert _Term.most_alive < 200


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_when_one_run_fails_no_other_goes_on(error):
    array = da.from_array(rows_of(4_096), chunks=(8, D))
    began, ended = [], []

    def fails(block):
        began.append(block.start)
        if block.start == 1_024:
            raise error("here")
        time.sleep(0.001)
        ended.append(block.start)
        return 1

    with dask.config.set(scheduler="threads"), pytest.raises(error, match="here"):
        DaskRows(array, 8, 2).fold(fails)
    n_ended = len(ended)
    time.sleep(0.05)
    assert len(ended) == n_ended < 400
    assert len(began) <= n_ended + 2


# -- blocks of whole rows -------------------------------------------------------------


@given(sizes=SIZES)
def test_columns_are_joined_and_rows_left_as_they_are(sizes):
    x = np.arange(2.0 * sum(sizes)).reshape(-1, 2)
    array, passes = row_blocks(da.from_array(x, chunks=(tuple(sizes), 1)))
    assert passes == 0
    assert array.chunks == (tuple(sizes), (2,))
    np.testing.assert_array_equal(array.compute(scheduler="synchronous"), x)


def test_an_array_of_whole_rows_is_left_alone():
    array = da.zeros((3_000, 4), chunks=(10, 4))
    assert row_blocks(array)[0] is array


def test_unknown_chunks_are_counted_in_a_pass_where_that_is_asked():
    x = da.from_array(np.arange(20.0).reshape(10, 2), chunks=(5, 2))
    unknown = x[x[:, 0] > 4]
    array, passes = row_blocks(unknown)
    assert passes == 1
    assert array.shape == (7, 2)
    assert np.isnan(unknown.shape[0])
    array, passes = row_blocks(unknown, counted=False)
    assert passes == 0
    assert np.isnan(array.shape[0])


def test_rows_have_two_axes():
    with pytest.raises(DataError, match="Expected 2D array, got 1D Dask array"):
        row_blocks(da.zeros(10))


# -- predictions ----------------------------------------------------------------------

METHODS = ("predict", "predict_proba", "score_samples")


@pytest.fixture(scope="module")
def model():
    return GaussianMixture(2, random_state=0).fit(rows_apart(400))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unknown", [False, True], ids=["known", "unknown"])
def test_predictions_keep_the_chunks_and_compute_nothing_at_the_call(model, method, unknown):
    x = rows_of(100)
    blocks = Blocks(x, (10, 50, 40))
    array = blocks.array[blocks.array[:, 0] > -1] if unknown else blocks.array
    found = getattr(model, method)(array)
    assert blocks.n_made == 0
    np.testing.assert_array_equal(found.chunks[0], array.chunks[0])
    kept = x[x[:, 0] > -1] if unknown else x
    np.testing.assert_array_equal(found.compute(), getattr(model, method)(kept))


def test_predictions_of_a_dask_data_frame_can_be_a_column_of_it(model):
    x = rows_of(100)
    frame = dd.from_pandas(pd.DataFrame(x, columns=["a", "b"]), npartitions=4)
    with pytest.warns(UserWarning, match="X has feature names"):
        labels = model.predict(frame)
    assert labels.numblocks == (4,)
    named = frame.assign(label=labels).compute()
    np.testing.assert_array_equal(named.label, model.predict(x))


def test_where_chunks_are_unknown_an_error_tells_the_block(model):
    x = rows_of(100)
    x[57, 1] = np.nan
    array = da.from_array(x, chunks=(25, D))
    with pytest.raises(DataError, match=r"in block 2 of the Dask array.* row 7, column 1"):
        model.predict(array[array[:, 0] > -100]).compute(scheduler="synchronous")


def test_the_same_prediction_has_the_same_name(model):
    array = da.from_array(rows_of(100), chunks=(25, D))
    assert model.predict(array).name == model.predict(array).name
    assert model.predict(array).name != model.predict(array + 1).name
    assert model.predict(array).name != model.score_samples(array).name
    other = GaussianMixture(2, random_state=1).fit(rows_apart(300))
    assert model.predict(array).name != other.predict(array).name


def test_the_same_prediction_of_stored_rows_has_the_same_name_until_they_change(model, tmp_path):
    x = rows_of(100)
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(25, D))
    path = str(tmp_path / "x.zarr")
    first = model.predict(path)
    assert model.predict(path).name == first.name != model.score_samples(path).name
    zarr.open_array(path, mode="r+")[40] = -x[40]
    changed = model.predict(path)
    assert changed.name != first.name
    np.testing.assert_array_equal(changed, model.predict(zarr.open_array(path, mode="r")[:]))


# -- workers --------------------------------------------------------------------------


def moved(dask_worker):
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


@pytest.fixture(scope="module")
def client():
    with (
        # A busy machine makes the scheduler steal, which moves blocks that need not move.
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_what_workers_hold_is_used_where_it_lies(client):
    x = da.random.default_rng(0).normal(size=(400_000, 4), chunks=(10_000, 4)).persist()
    wait(x)
    before = sum(client.run(moved).values())
    for array in (x, 2 * x):
        rows = DaskRows(array)
        assert rows.fold(len) == len(x)
        rows.fold(total)
    assert sum(client.run(moved).values()) - before < 0.25 * x.nbytes  # half of it did, each time


def test_workers_change_no_bit_of_small_blocks(client):
    x = rows_of(20_000)
    array = 2 * da.from_array(x / 2, chunks=(100, D))
    found = DaskRows(array).fold(total)
    persisted = array.persist()
    np.testing.assert_array_equal(DaskRows(persisted).fold(total), found)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(DaskRows(array).fold(total), found)
    np.testing.assert_allclose(found, InMemoryRows(x).fold(total), rtol=1e-10)


def test_futures_among_the_arguments_of_blocks_are_filled_in(client):
    x = rows_of(2_000)
    centre = client.scatter(np.ones(D))
    array = da.from_array(x, chunks=(100, D))
    by_name = array.map_blocks(lambda b, c=None: b - c, c=centre, dtype=float)
    by_place = array.map_blocks(lambda b, c: b - c, centre, dtype=float)
    loaded = [client.submit(lambda i: rows_of(2_000)[i * 500 : (i + 1) * 500], i) for i in range(4)]
    parts = [da.from_delayed(dask.delayed(np.negative)(one), (500, D), float) for one in loaded]
    direct = [da.from_delayed(dask.delayed(one), (500, D), float) for one in loaded]
    for lazy, expected in (
        (by_name, x - 1),
        (by_place, x - 1),
        (da.concatenate(parts), -x),
        (da.concatenate(direct), x),
    ):
        found = DaskRows(lazy).fold(total)
        np.testing.assert_allclose(found, expected.sum(axis=0), rtol=1e-9, atol=1e-9)
    weights = da.ones(len(x), chunks=100).map_blocks(
        lambda w, c=None: w + c[0], c=centre, dtype=float
    )
    rows = DaskRows(array, weighting=Weighting(weights, 2.0 * len(x)))
    np.testing.assert_allclose(rows.fold(weighted_total), 2 * x.sum(axis=0), rtol=1e-9, atol=1e-9)


class _Counted:
    """An array outside of Dask that counts the cells that are asked for, its copies included."""

    n_read: ClassVar[list[int]] = []

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.ndim = x, x.shape, x.dtype, x.ndim

    def __getitem__(self, index):
        found = self.x[index]
        self.n_read.append(found.size)
        return found


@pytest.mark.parametrize("how", [{}, {"inline_array": True}, {"lock": True}])
def test_of_what_is_sliced_the_slices_alone_are_read(model, how):
    outside = _Counted(np.repeat(rows_of(400), 10, axis=1))
    array = da.from_array(outside, chunks=(100, -1), **how)[:, :D]
    _Counted.n_read.clear()
    with dask.config.set(scheduler="threads"):  # and not on processes of another test
        model.score(array)
    assert sum(_Counted.n_read) == array.size
