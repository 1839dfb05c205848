"""Rows of Dask arrays and of stored rows keep the laws that rows of every kind keep."""

from __future__ import annotations

from itertools import pairwise

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from made_data import write_store

from daskgmm.execution import DaskRows, Weighting, array_of_source
from daskgmm.storage import CellArray, GridSource, open_array, open_source
from daskgmm.storage.rows.cell_blocks import CellBlocks
from daskgmm.testing.rows import RowsTests, assert_pieces

PARTITIONS = (64, 256, 1024)
"""Rows of a partition, each a power of two of grains; the last holds all."""


CASES = [
    pytest.param(np.float64, "no weights", "synchronous", "Zarr", id="float64"),
    pytest.param(np.float64, "whole weights", "synchronous", ".npy", id="float64 whole weights"),
    pytest.param(np.float64, "any weights", "threads", ".npy", id="float64 any weights"),
    pytest.param(np.float32, "no weights", "threads", ".npy", id="float32"),
    pytest.param(np.float32, "whole weights", "threads", "Zarr", id="float32 whole weights"),
    pytest.param(np.float32, "any weights", "synchronous", "Zarr", id="float32 any weights"),
]
"""Any two values of what makes a difference of their own meet in some case."""


@pytest.fixture(autouse=True)
def _scheduler(request):
    with dask.config.set(scheduler=getattr(request, "param", "threads"), num_workers=2):
        yield


@pytest.fixture
def place(request):
    """How rows are stored, if they are."""
    return request.param


@pytest.mark.parametrize(("x", "weight", "_scheduler", "place"), CASES, indirect=True)
class DaskRowsTests(RowsTests):
    """The laws of rows, in the cases above."""

    @pytest.fixture(autouse=True)
    def _each_case(self, x, weight, place):
        """Have every law ask for what a case sets, which pytest else refuses to set."""


def _weighting(weight, weights_of):
    return None if weight is None else Weighting(weights_of(weight), float(weight.sum()))


class TestDaskArrays(DaskRowsTests):
    @pytest.fixture
    def made(self):
        def rows(x, weight, size):
            weighting = _weighting(weight, lambda w: da.from_array(w, chunks=size))
            array = da.from_array(x, chunks=(size, x.shape[1]))
            return DaskRows(array, self.grain, weighting=weighting)

        return lambda x, weight: [rows(x, weight, size) for size in PARTITIONS]


ARRANGEMENTS = ((64, 1, 1), (256, 2, 3), (1024, 1, 1), (1024, 2, 3))
"""Rows of a partition, threads, and reads at once: partitions of many grains meet both."""


class StoredWeights:
    """Weights that can be read by range."""

    def __init__(self, weight):
        self.weight = weight

    def read(self, start, stop):
        return self.weight[start:stop]


class TestStoredRows(DaskRowsTests):
    @pytest.fixture
    def stored(self, place, x, tmp_path):
        """Where rows like ``x`` are."""
        if place == "Zarr":
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
            return [rows(weight, *how) for how in ARRANGEMENTS]

        return made


def write_grid(folder, x, block):
    """A source of cells over (17, n / 17), whose rows are ``x``."""
    cells, blocks = (
        np.empty((17, len(x) // 17, x.shape[1]), x.dtype),
        CellBlocks((17, len(x) // 17), block),
    )
    for number, (start, stop) in enumerate(pairwise(blocks.cuts.tolist())):
        part = cells[blocks.region(number)]
        part[...] = x[start:stop].reshape(part.shape)
    group = zarr.create_group(folder / "grid.zarr", overwrite=True)
    group.create_array("x", shape=cells.shape, dtype=x.dtype, chunks=(*block, 2))[:] = cells
    array = CellArray(open_array(folder / "grid.zarr", "x"), ("lat", "lon", "feature"))
    return GridSource("grid", ("lat", "lon"), [array], blocks=blocks)


class TestCellsOfAGrid(DaskRowsTests):
    """In blocks that no partition and no grain begins with."""

    @pytest.fixture
    def made(self, tmp_path):
        def made(x, weight):
            source = write_grid(tmp_path, x, (5, 20))
            weighting = _weighting(weight, StoredWeights)
            return [
                DaskRows(array_of_source(source, size), self.grain, 2, source, weighting=weighting)
                for size in PARTITIONS[1:]
            ]

        return made


@pytest.mark.parametrize(
    ("weighted", "_scheduler"),
    [(False, "threads"), (True, "synchronous")],
    ids=["rows", "weighted rows"],
    indirect=["_scheduler"],
)
@pytest.mark.parametrize("kind", ["blocks", "uneven blocks", "Zarr", ".npy", "grid"])
def test_pieces_of_many_chunks(tmp_path, kind, weighted):
    x = np.random.default_rng(0).standard_normal((1000, 3))
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 1000) if weighted else None
    if kind.endswith("blocks"):
        chunks = (4,) * 250 if kind == "blocks" else (1, 7) * 125
        array = da.from_array(x, chunks=(chunks, 3))
        weighting = _weighting(weight, lambda w: da.from_array(w, chunks=(chunks,)))
        rows = DaskRows(array, 64, weighting=weighting)
    else:
        if kind == "grid":
            x = x[:986]
            weight = None if weight is None else weight[:986]
            source = write_grid(tmp_path, x, (1, 4))
        elif kind == "Zarr":
            source = open_source(write_store(tmp_path / "x.zarr", x, 4))
        else:
            np.save(tmp_path / "x.npy", x)
            source = open_source(tmp_path / "x.npy")
        array = array_of_source(source, 256)
        rows = DaskRows(array, 64, source=source, weighting=_weighting(weight, StoredWeights))
    assert_pieces(rows, x, weight)


def test_pieces_are_not_read_of_few_chunks(tmp_path):
    x = np.random.default_rng(0).standard_normal((2000, 3))
    assert DaskRows(da.from_array(x, chunks=(20, 3)), 64).pieces(40, seed=1) is None
    for source in (
        open_source(write_store(tmp_path / "x.zarr", x, 20)),
        write_grid(tmp_path, x[:1989], (1, 20)),
    ):
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
