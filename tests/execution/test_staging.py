"""Staging: later passes read what the first one kept, and nothing else changes.

Asserted: the same bits with any budget and after any damage to what is kept; how many
rows the source was asked for; that nothing is left. Damage is done to the open file
between passes, by the number that the process has it under: it has no name.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import Client, LocalCluster
from made_data import assert_same_bits, made_mixture, rows_of, write_store

from daskgmm.em import STOP_RULES, InMemoryRows, PlainEM, Rules, run
from daskgmm.errors import DaskGMMWarning, DataError, NotFoundError, StorageError
from daskgmm.execution import DaskRows, StagedSource, Staging, StagingReport, array_of_source
from daskgmm.execution.staging import keeping, pieces
from daskgmm.kernel import Ridge
from daskgmm.storage import open_source

N, D, K = 80_000, 40, 3
CHUNK = 1024
GRAIN = 16 * CHUNK
PIECE_BYTES = GRAIN * D * 4
"""Of each of the five pieces, but for the last: a grain, of which two are too much to read."""
ALL_BYTES = N * D * 4


@pytest.fixture(scope="module")
def truth():
    return made_mixture("full", K, D, separation=1.0)


@pytest.fixture(scope="module")
def x(truth):
    return rows_of(truth, N).astype(np.float32)


@pytest.fixture(scope="module")
def store(x, tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("rows") / "x.zarr", x, CHUNK)


class Counted:
    """A source that counts the rows that it was asked for."""

    def __init__(self, source):
        self._source = source
        self._lock = threading.Lock()
        self.n_read = 0

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, start, stop):
        with self._lock:
            self.n_read += stop - start
        return self._source.read(start, stop)


@pytest.fixture
def counted(store):
    return Counted(open_source(store))


@pytest.fixture(scope="module")
def expected(x, truth):
    return fitted(InMemoryRows(x, grain=GRAIN), truth, 3)


@pytest.fixture
def folder(tmp_path):
    """Where to stage: nothing ever has a name there."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def fitted(rows, start, passes):
    rules = Rules(PlainEM(Ridge(1e-6)), STOP_RULES["gap"], passes)
    return run(rows, start, rules).kept


def staged_rows(source, plan, dtype=None):
    source = StagedSource(source, plan, dtype)
    return DaskRows(array_of_source(source, 2 * GRAIN), grain=GRAIN, source=source)


def disk_of(plan):
    """What this process has on disk."""
    return keeping.KEEPER.kept_for(plan).disk


BUDGETS = {
    "memory": Staging(memory_bytes=2 * ALL_BYTES),
    "disk": Staging(on_disk=True),
    "memory for two pieces, the rest on disk": Staging(
        memory_bytes=int(2.5 * PIECE_BYTES), on_disk=True
    ),
    "memory for two pieces, disk for one": Staging(
        memory_bytes=int(2.5 * PIECE_BYTES), on_disk=True, disk_bytes=int(1.5 * PIECE_BYTES)
    ),
    "disk for nothing": Staging(on_disk=True, disk_bytes=1),
    "nothing": Staging(),
}
KEPT_PIECES = [5, 5, 5, 3, 0, 0]


@pytest.mark.parametrize(
    ("budget", "n_kept"), list(zip(BUDGETS.values(), KEPT_PIECES, strict=True)), ids=BUDGETS
)
def test_any_budget_gives_the_same_bits(budget, n_kept, counted, truth, expected, folder):
    plan = Staging(budget.memory_bytes, budget.on_disk, str(folder), budget.disk_bytes)
    with plan() as kept:
        assert_same_bits(fitted(staged_rows(counted, plan), truth, 3), expected)
    last = N % GRAIN
    kept_rows = N if n_kept == 5 else n_kept * GRAIN
    # Which pieces are kept is up to the threads: the last one is smaller.
    assert counted.n_read - N in {2 * (N - kept_rows), 2 * (N - kept_rows + GRAIN - last)}
    assert kept.memory_bytes <= plan.memory_bytes
    assert kept.disk_bytes <= (plan.disk_bytes or ALL_BYTES + 5 * 4096)
    if n_kept == 5:
        assert kept.memory_bytes + kept.disk_bytes >= ALL_BYTES
    assert (kept.n_lost, kept.problem) == (0, None)


def test_after_the_fit_the_source_is_read_and_nothing_is_held(counted, folder):
    plan = Staging(memory_bytes=PIECE_BYTES + 4096, on_disk=True, folder=str(folder))
    source = StagedSource(counted, plan)
    with plan():
        for _ in range(2):
            source.read(0, GRAIN)
            source.read(GRAIN, N)
        assert counted.n_read == N
        disk = disk_of(plan)
        descriptor = disk._file.fileno()
        assert os.fstat(descriptor).st_size == disk.n_bytes
    assert os.fstat(descriptor).st_size == 0, "whoever still holds the file holds no space"
    assert pieces.PiecesInMemory.bytes_of_process == 0
    assert keeping.KEEPER.n_fits == 0
    source.read(0, GRAIN)
    assert counted.n_read == N + GRAIN
    assert keeping.KEEPER.n_fits == 0, "a task that was left behind begins nothing anew"
    del disk
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt])
def test_after_an_error_nothing_is_held(error, counted, folder):
    plan = Staging(memory_bytes=PIECE_BYTES + 4096, on_disk=True, folder=str(folder))
    descriptors = []

    def fails():
        with plan():
            source = StagedSource(counted, plan)
            source.read(0, GRAIN)
            source.read(GRAIN, N)
            descriptors.append(disk_of(plan)._file.fileno())
            raise error("now")

    with pytest.raises(error):
        fails()
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])
    assert pieces.PiecesInMemory.bytes_of_process == 0


# -- damage -----------------------------------------------------------------------


def truncate(disk):
    os.ftruncate(disk._file.fileno(), PIECE_BYTES + 100)


def empty(disk):
    os.ftruncate(disk._file.fileno(), 0)


def flip_a_bit(disk):
    (byte,) = os.pread(disk._file.fileno(), 1, PIECE_BYTES // 2)
    os.pwrite(disk._file.fileno(), bytes([byte ^ 0b1000]), PIECE_BYTES // 2)


def zero_a_page(disk):
    os.pwrite(disk._file.fileno(), bytes(4096), 3 * PIECE_BYTES + 4096)


def take_the_disk_away(disk):
    os.dup2(os.open(os.devnull, os.O_WRONLY), disk._file.fileno())  # reads fail: EBADF


@pytest.mark.parametrize(
    ("damage", "n_lost"),
    [(truncate, 4), (empty, 5), (flip_a_bit, 1), (zero_a_page, 1), (take_the_disk_away, 5)],
)
def test_lost_pieces_are_read_from_the_source_with_one_warning(
    damage, n_lost, counted, truth, expected, folder
):
    plan = Staging(on_disk=True, folder=str(folder), disk_bytes=5 * (PIECE_BYTES + 4096))
    rows = staged_rows(counted, plan)

    def damaged_fit():
        with plan():
            one = fitted(rows, truth, 1)
            assert counted.n_read == N
            damage(disk_of(plan))
            two = fitted(rows, one, 1)
            assert N < counted.n_read <= 2 * N
            return fitted(rows, two, 1)

    with pytest.warns(DaskGMMWarning, match=f"{n_lost} staged pieces were damaged") as told:
        assert_same_bits(damaged_fit(), expected)
    assert len(told) == 1


def test_lost_pieces_are_kept_again(counted, truth, folder):
    plan = Staging(on_disk=True, folder=str(folder))
    rows = staged_rows(counted, plan)

    def damaged_fit():
        with plan():
            fitted(rows, truth, 1)
            flip_a_bit(disk_of(plan))
            fitted(rows, truth, 2)

    with pytest.warns(DaskGMMWarning, match="1 staged pieces"):
        damaged_fit()
    assert N < counted.n_read <= N + GRAIN


@contextmanager
def no_file_beyond(n_bytes):
    """A real refusal, in the middle of a piece: to this process, what a full disk is to all."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_ends_the_writing_and_not_the_fit(counted, truth, expected, folder):
    plan = Staging(on_disk=True, folder=str(folder))
    with (
        pytest.warns(DaskGMMWarning, match="File too large") as told,
        no_file_beyond(int(2.5 * PIECE_BYTES)),
        plan() as kept,
    ):
        assert_same_bits(fitted(staged_rows(counted, plan), truth, 3), expected)
    assert len(told) == 1
    assert N < counted.n_read < 3 * N
    assert kept.n_lost == 0


GIB = 2**30


@pytest.mark.parametrize(
    ("free", "limit", "n_pieces"),
    [
        (0.99 * GIB, None, 0),
        (0.99 * GIB, 100 * PIECE_BYTES, 0),
        (4 * GIB, None, 2),
        (4 * GIB, 100 * PIECE_BYTES, 3),
        (4 * GIB, 2 * PIECE_BYTES, 2),
    ],
)
def test_a_disk_is_never_filled(free, limit, n_pieces, tmp_path, monkeypatch):
    """Half of what was free is left, or what the limit says; a GiB always.

    Of a disk on which each piece takes a GiB.
    """

    def fstatvfs(descriptor):
        taken = os.fstat(descriptor).st_size // PIECE_BYTES * GIB
        return SimpleNamespace(f_bavail=int(free) - taken, f_frsize=1)

    monkeypatch.setattr(os, "fstatvfs", fstatvfs)
    block = np.zeros((GRAIN, D), np.float32)
    disk = pieces.PiecesOnDisk(str(tmp_path), limit)
    for i in range(5):
        disk.put((i * GRAIN, (i + 1) * GRAIN), block)
    assert disk.n_bytes == n_pieces * PIECE_BYTES
    kept = [disk.get((i * GRAIN, (i + 1) * GRAIN), block.shape, block.dtype) for i in range(5)]
    assert [piece is not None for piece in kept] == [i < n_pieces for i in range(5)]


def test_a_folder_that_cannot_be_used_is_named_before_the_first_pass(tmp_path):
    missing, file = tmp_path / "nowhere", tmp_path / "file"
    file.touch()
    for folder, error, message in (
        (missing, NotFoundError, r"nowhere does not exist; create it"),
        (file, StorageError, r"nothing can be written in .*file"),
    ):
        plan = Staging(on_disk=True, folder=str(folder))
        with pytest.raises(error, match=message), plan():
            pytest.fail("began")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no folder known to be in memory")
def test_a_temporary_folder_in_memory_is_no_disk(counted, truth, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/shm")
    plan = Staging(on_disk=True)
    with plan() as kept:
        fitted(staged_rows(counted, plan), truth, 2)
    assert kept.disk_bytes == 0
    assert counted.n_read == 2 * N


# -- pieces -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("n_rows", [0, 1, 7, 1000])
def test_what_is_read_back_is_what_was_written(dtype, n_rows, tmp_path):
    block = np.random.default_rng(0).uniform(-100, 100, (n_rows, 3)).astype(dtype)
    disk = pieces.PiecesOnDisk(str(tmp_path), None)
    disk.put((5, 5 + n_rows), block)
    back = disk.get((5, 5 + n_rows), block.shape, block.dtype)
    assert back is not None
    assert back.dtype == block.dtype
    np.testing.assert_array_equal(back, block)
    assert disk.get((5, 6 + n_rows), block.shape, block.dtype) is None


def test_rows_in_another_order_are_kept_in_memory_alone(tmp_path):
    """From a file they would come back in C order, and sums could have other bits."""
    block = np.asfortranarray(np.ones((4, 3)))
    disk, memory = pieces.PiecesOnDisk(str(tmp_path), None), pieces.PiecesInMemory(10_000)
    disk.put((0, 4), block)
    assert disk.get((0, 4), block.shape, block.dtype) is None
    assert memory.put((0, 4), block[:, :])
    assert memory.get((0, 4)).flags.f_contiguous
    assert memory.get((0, 4)).base is None
    memory.empty()


def test_one_budget_of_memory_for_all_fits_of_a_process():
    block = np.zeros((1000, 10))
    one, other = pieces.PiecesInMemory(200_000), pieces.PiecesInMemory(200_000)
    assert one.put((0, 1000), block)
    assert one.put((0, 1000), block)  # the same piece takes no more
    assert other.put((0, 1000), block)
    assert not other.put((1000, 2000), block)
    assert one.empty() == 80_000 + 4096
    assert not one.put((0, 1000), block)
    assert other.put((1000, 2000), block)
    other.empty()


# -- float32 ----------------------------------------------------------------------


def test_rounded_rows_give_the_bits_of_a_rounded_store(x, truth, expected, tmp_path):
    """In every pass, the first included, whatever could be kept."""
    precise = x.astype(np.float64) * (1 + 1e-9)  # rounds to what x is
    assert np.array_equal(precise.astype(np.float32), x)
    source = open_source(write_store(tmp_path / "precise.zarr", precise, CHUNK))
    for name in ("disk", "memory", "nothing"):
        plan = Staging(BUDGETS[name].memory_bytes, BUDGETS[name].on_disk)
        rows = staged_rows(source, plan, "float32")
        with plan() as kept:
            assert_same_bits(fitted(rows, truth, 3), expected)
        assert kept.memory_bytes + kept.disk_bytes <= ALL_BYTES + 5 * 4096


def test_values_beyond_float32_are_named():
    class Huge:
        name, shape, dtype, unit_rows, unit_overhead = "huge", (9, 1), np.dtype(float), 1, 0

        def read(self, start, stop):
            return np.array([1.0, 1e39])

    with pytest.raises(DataError, match=r"huge: rows 3:5 hold values beyond float32 \(3.4e\+38\)"):
        StagedSource(Huge(), Staging(), "float32").read(3, 5)


# -- worker processes -------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit="2GiB",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def held():
    return pieces.PiecesInMemory.bytes_of_process, keeping.KEEPER.n_fits


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_workers_keep_their_own_and_drop_it(where, client, store, truth, expected, folder):
    budget = BUDGETS[where]
    plan = Staging(budget.memory_bytes, budget.on_disk, str(folder))
    rows = staged_rows(open_source(store), plan)
    with plan() as kept:
        assert_same_bits(fitted(rows, truth, 3), expected)
        assert max(n for _, n in client.run(held).values()) == 1
    assert kept.memory_bytes + kept.disk_bytes >= ALL_BYTES
    assert set(client.run(held).values()) == {(0, 0)}


def test_a_worker_that_dies_takes_only_copies_with_it(client, store, truth, expected, folder):
    plan = Staging(on_disk=True, folder=str(folder))
    rows = staged_rows(open_source(store), plan)
    with plan() as kept:
        one = fitted(rows, truth, 1)
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        assert_same_bits(fitted(rows, fitted(rows, one, 1), 1), expected)
    assert kept.disk_bytes > 0
    client.wait_for_workers(2, timeout=60)


def test_workers_without_the_folder_say_so_and_go_on(client, store, truth, expected, tmp_path):
    plan = Staging(on_disk=True, folder=str(tmp_path / "nowhere"))
    rows = staged_rows(open_source(store), plan)
    warned = pytest.warns(DaskGMMWarning, match=r"writing stopped \(.*nowhere: No such file")
    with warned, plan():
        assert_same_bits(fitted(rows, truth, 3), expected)


def test_what_a_lost_driver_left_on_workers_goes_when_it_is_idle(counted, folder, monkeypatch):
    plan = Staging(memory_bytes=PIECE_BYTES + 4096, on_disk=True, folder=str(folder))
    source = StagedSource(counted, plan)  # as on a worker: nobody began
    source.read(0, GRAIN)
    source.read(GRAIN, N)
    assert held() == (PIECE_BYTES + 4096, 1)
    keeping.KEEPER.drop_idle()
    assert held() == (PIECE_BYTES + 4096, 1), "it was used just now"
    with monkeypatch.context() as later:
        later.setattr(keeping.KEEPER, "idle_seconds", -1.0)
        keeping.KEEPER.drop_idle()
    assert held() == (0, 0)
    # One that was only slow begins again.
    n_read = counted.n_read
    source.read(0, GRAIN)
    source.read(0, GRAIN)
    assert counted.n_read == n_read + GRAIN
    monkeypatch.setattr(keeping.KEEPER, "idle_seconds", -1.0)
    keeping.KEEPER.drop_idle()


def test_nothing_is_said_when_nothing_went_wrong():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        StagingReport(1, 2).warn()
    assert said == []
