"""Rows of Dask arrays and of stored rows keep the laws that rows of every kind keep."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from made_data import write_store

from daskgmm.execution import DaskRows, Weighting, array_of_source
from daskgmm.storage import open_source
from daskgmm.testing.rows import RowsTests, assert_pieces

PARTITIONS = (64, 256, 1024)
"""Rows of a partition, each a power of two of grains; the last holds all."""


@pytest.fixture(autouse=True, params=["synchronous", "threads"])
def _scheduler(request):
    with dask.config.set(scheduler=request.param, num_workers=2):
        yield


def _weighting(weight, weights_of):
    return None if weight is None else Weighting(weights_of(weight), float(weight.sum()))


class TestDaskArrays(RowsTests):
    travels = True

    @pytest.fixture
    def made(self):
        def rows(x, weight, size):
            weighting = _weighting(weight, lambda w: da.from_array(w, chunks=size))
            array = da.from_array(x, chunks=(size, x.shape[1]))
            return DaskRows(array, self.grain, weighting=weighting)

        return lambda x, weight: [rows(x, weight, size) for size in PARTITIONS]


class StoredWeights:
    """Weights that can be read by range."""

    def __init__(self, weight):
        self.weight = weight

    def read(self, start, stop):
        return self.weight[start:stop]


class TestStoredRows(RowsTests):
    travels = True

    @pytest.fixture(params=["Zarr", ".npy"])
    def stored(self, request, x, tmp_path):
        """Where rows like ``x`` are."""
        if request.param == "Zarr":
            return write_store(tmp_path / "x.zarr", x, 64)
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy"

    @pytest.fixture
    def made(self, stored, x):
        source = open_source(stored)

        def rows(weight, size, n_threads, reads_at_once):
            weighting = _weighting(weight, StoredWeights)
            array = array_of_source(source, size)
            return DaskRows(array, self.grain, n_threads, source, reads_at_once, weighting)

        def made(rows_stored, weight):
            np.testing.assert_array_equal(rows_stored, x)
            return [
                rows(weight, size, n_threads, reads_at_once)
                for size in PARTITIONS
                for n_threads, reads_at_once in ((1, 1), (2, 3))
            ]

        return made


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weighted rows"])
@pytest.mark.parametrize("kind", ["blocks", "uneven blocks", "Zarr", ".npy"])
def test_pieces_of_many_chunks(tmp_path, kind, weighted):
    x = np.random.default_rng(0).standard_normal((2000, 3))
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 2000) if weighted else None
    if kind.endswith("blocks"):
        chunks = (4,) * 500 if kind == "blocks" else (1, 7) * 250
        array = da.from_array(x, chunks=(chunks, 3))
        weighting = _weighting(weight, lambda w: da.from_array(w, chunks=(chunks,)))
        rows = DaskRows(array, 64, weighting=weighting)
    else:
        if kind == "Zarr":
            stored = write_store(tmp_path / "x.zarr", x, 4)
        else:
            stored = tmp_path / "x.npy"
            np.save(stored, x)
        source = open_source(stored)
        array = array_of_source(source, 256)
        rows = DaskRows(array, 64, source=source, weighting=_weighting(weight, StoredWeights))
    assert_pieces(rows, x, weight)


def test_pieces_are_not_read_of_few_chunks(tmp_path):
    x = np.random.default_rng(0).standard_normal((2000, 3))
    assert DaskRows(da.from_array(x, chunks=(20, 3)), 64).pieces(40, seed=1) is None
    source = open_source(write_store(tmp_path / "x.zarr", x, 20))
    assert DaskRows(array_of_source(source, 256), 64, source=source).pieces(40, seed=1) is None


def test_weights_of_an_array_may_be_computed_too():
    """They come with the partition they belong to, also where both need arithmetic."""
    x = np.arange(40.0).reshape(20, 2)
    array = 2.0 * da.from_array(x, chunks=((5, 8, 7), 2))
    weights = 3.0 * array[:, 0]
    rows = DaskRows(array, 4, weighting=Weighting(weights, float(6.0 * x[:, 0].sum())))
    assert rows.fold(_weighted_sum) == 6.0 * 2.0 * np.square(x[:, 0]).sum()


def _weighted_sum(block):
    return float(block.weight @ block.x[:, 0])
