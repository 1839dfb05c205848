"""A local file system that is away for a moment, as NFS and Lustre are, ends no fit.

The faults are those errors, raised where zarr's store or ``open`` would raise them.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_data import assert_same_bits
from zarr.codecs import Crc32cCodec
from zarr.storage import LocalStore

from daskgmm import GaussianMixture
from daskgmm.errors import DamagedDataError, DaskGMMWarning, StorageError
from daskgmm.settings import TIMEOUT_VARIABLE
from daskgmm.storage import open_source

pytestmark = pytest.mark.filterwarnings("ignore:.*has no checksum")


def is_chunk(key: str) -> bool:
    return key.startswith("c/")


class FaultyStore(LocalStore):
    """A folder whose chunks cannot be read in the turns that ``fails`` says."""

    number = errno.ESTALE
    fails = staticmethod(lambda turn: False)

    def __init__(self, root, **options):
        super().__init__(root, **options)
        self.turns = itertools.count()
        self.n_reads = 0

    async def get(self, key, prototype, byte_range=None):
        self.n_reads += is_chunk(key)
        if is_chunk(key) and self.fails(next(self.turns)):
            return await self.fault(key, prototype, byte_range)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key, **options):
        if is_chunk(key) and self.fails(next(self.turns)):
            raise OSError(self.number, os.strerror(self.number))
        return super().get_sync(key, **options)

    async def fault(self, key, prototype, byte_range):
        raise OSError(self.number, os.strerror(self.number))


def faulty(path: Path, fails, **attributes) -> tuple[FaultyStore, zarr.Array]:
    store = FaultyStore(path, read_only=True)
    store.fails = fails
    vars(store).update(attributes)
    return store, zarr.open_array(store=store, mode="r")


@pytest.fixture
def path(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(1000, 2)), 3 + rng.normal(size=(1000, 2))])
    zarr.create_array(tmp_path / "rows.zarr", data=x, chunks=(100, 2), compressors=[Crc32cCodec()])
    return tmp_path / "rows.zarr"


def test_a_fit_goes_on_with_the_same_bits_and_warns_once(path):
    def fit(data):
        return GaussianMixture(2, random_state=0, progressive=False).fit(data)

    undisturbed = fit(path)
    store, array = faulty(path, lambda turn: turn % 5 == 3)
    with pytest.warns(DaskGMMWarning, match=r"rows\.zarr.*ESTALE|Stale") as told:
        fitted = fit(array)
    assert len(told) == 1
    assert next(store.turns) > 20 * fitted.n_passes_
    assert_same_bits(fitted._mixture, undisturbed._mixture)
    with pytest.warns(DaskGMMWarning, match=r"rows\.zarr") as told:
        fit(array)
    assert len(told) == 1


def test_a_store_that_stays_away_is_an_end_that_is_clear_and_in_time(path, monkeypatch):
    monkeypatch.setenv(TIMEOUT_VARIABLE, "1")
    store, array = faulty(path, lambda turn: True)
    source = open_source(array)
    began = time.monotonic()
    with (
        pytest.warns(DaskGMMWarning, match=r"array .*rows\.zarr: 'c/\d+/0' gives no answer"),
        pytest.raises(StorageError, match=r"'c/\d+/0': no answer for 1 s \(OSError") as caught,
    ):
        source.read(0, 2000)
    assert 0.3 < time.monotonic() - began < 30
    assert TIMEOUT_VARIABLE in str(caught.value)
    # Who asks again after that is not kept waiting as well: it is tried once.
    n_first = store.n_reads
    with pytest.raises(StorageError, match="no answer"):
        source.read(0, 2000)
    assert 2 * (store.n_reads - n_first) <= n_first


def test_what_time_will_not_change_is_said_at_once(path):
    store, array = faulty(path, lambda turn: True, number=errno.EACCES)
    with pytest.raises(StorageError, match=r"chunk 'c/0/0' .* cannot be fetched: Perm.*; check"):
        open_source(array).read(0, 100)
    assert store.n_reads <= 3


def test_a_checksum_that_fails_once_is_read_again(path):
    async def flip(self, key, prototype, byte_range):
        value = bytearray((Path(self.root) / key).read_bytes())
        value[7] ^= 1
        return prototype.buffer.from_bytes(bytes(value))

    store, array = faulty(path, lambda turn: turn in (3, 45))
    store.fault = flip.__get__(store)
    source = open_source(array)
    expected = zarr.open_array(path, mode="r")[:]
    with pytest.warns(DaskGMMWarning, match=r"rows 0:2000.*failed once.*check") as told:
        read = [source.read(0, 2000) for _ in range(3)]
    assert len(told) == 1
    for rows in read:
        np.testing.assert_array_equal(rows, expected)


def test_damage_that_stays_is_said_at_once(path):
    chunk = path / "c" / "4" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    began = time.monotonic()
    with pytest.raises(DamagedDataError, match=r"chunk 'c/4/0' \(rows 400:500\) does not decode"):
        open_source(path).read(350, 2000)
    assert time.monotonic() - began < 30  # and is not asked for until a store is given up


class FaultyPath(type(Path())):
    """A path whose file cannot be opened in some turns."""

    n_faults = 0

    def open(self, *args, **options):
        if FaultyPath.n_faults > 0:
            FaultyPath.n_faults -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().open(*args, **options)


def test_a_npy_file_is_waited_for(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 2))
    np.save(tmp_path / "x.npy", x)
    source = open_source(tmp_path / "x.npy")
    source._path = FaultyPath(tmp_path / "x.npy")
    FaultyPath.n_faults = 1
    with pytest.warns(DaskGMMWarning, match=r"x\.npy: rows 3:9 gives no answer \(OSError"):
        np.testing.assert_array_equal(source.read(3, 9), x[3:9])
    FaultyPath.n_faults = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        np.testing.assert_array_equal(source.read(3, 9), x[3:9])
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.2")
    source = open_source(tmp_path / "x.npy")
    source._path = FaultyPath(tmp_path / "x.npy")
    FaultyPath.n_faults = 100
    with (
        pytest.warns(DaskGMMWarning, match="for up to 0.2 s"),
        pytest.raises(StorageError, match=r"x\.npy: rows 3:9: no answer for 0.2 s"),
    ):
        source.read(3, 9)


def test_opening_and_listing_are_tried_again(path, monkeypatch):
    import daskgmm.storage.rows.listing as listing
    import daskgmm.storage.rows.zarr_nodes as zarr_nodes

    def stale_once(function):
        turns = itertools.count()

        def called(*args, **options):
            if next(turns) == 0:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return function(*args, **options)

        return called

    with monkeypatch.context() as patch:
        patch.setattr(zarr_nodes.zarr, "open", stale_once(zarr.open))
        with pytest.warns(DaskGMMWarning, match=r"rows\.zarr.* gives no answer"):
            source = open_source(path)
    with monkeypatch.context() as patch:
        patch.setattr(listing.os, "scandir", stale_once(os.scandir))
        with pytest.warns(DaskGMMWarning, match=r"rows\.zarr.* gives no answer"):
            assert source.survey().n_missing_chunks == 0
