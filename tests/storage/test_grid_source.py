"""Cells of stored arrays as rows that are read by range, each chunk once, within what was planned."""

from __future__ import annotations

import itertools
import pickle
import re
import tracemalloc

import numpy as np
import pytest
import zarr

from daskgmm.errors import DataError
from daskgmm.storage import CellArray, GridSource, HeldArray, bytes_read, open_array
from daskgmm.storage.rows.cell_blocks import CellBlocks

SIZES = {"time": 5, "lat": 7, "lon": 11, "level": 3}
CELLS = ("time", "lat", "lon")


@pytest.fixture(scope="module")
def values():
    """Numbers by name, none of them twice; codes of which some are missing; and a mask."""
    temp = 1.0 + np.arange(5 * 7 * 11 * 3).reshape(5, 7, 11, 3)
    ice = (1 + np.arange(5 * 7 * 11) % 300).astype("i2").reshape(5, 7, 11)
    sea = np.random.default_rng(0).random((7, 11)) < 0.7
    return {"temp": temp, "ice": ice, "sea": sea}


CHUNKS = {
    "chunks of several along each dimension": ((2, 3, 4, 3), (2, 3, 4)),
    "features apart": ((2, 3, 4, 1), (2, 3, 4)),
    "one chunk": ((5, 7, 11, 3), (5, 7, 11)),
    "others for each": ((2, 7, 11, 2), (1, 2, 11)),
    "few cells each": ((1, 7, 2, 1), (1, 3, 2)),
}


def _write(folder, values, chunks, **how):
    group = zarr.create_group(folder / "g.zarr")
    for name, chunk in zip(("temp", "ice"), chunks, strict=True):
        group.create_array(name, shape=values[name].shape, dtype=values[name].dtype, chunks=chunk)
        group[name][:] = values[name]
    packed = {"scale_factor": 0.5, "add_offset": 2.0, "_FillValue": 17}
    group["ice"].attrs.update(packed)
    group.create_array("sea", data=values["sea"])
    return folder / "g.zarr"


def _opened(path, blocks=None):
    def array(name, dims):
        return CellArray(open_array(path, name), dims)

    features = [array("temp", (*CELLS, "level")), array("ice", CELLS)]
    return GridSource("g", CELLS, features, array("sea", CELLS[1:]), blocks=blocks)


def _expected(values, blocks):
    """Rows block after block, by NumPy alone."""
    ice = np.where(values["ice"] == 17, np.nan, values["ice"] * 0.5 + 2.0)
    cells = np.concatenate([values["temp"], ice[..., None]], axis=-1)
    cells[:, ~values["sea"]] = np.nan
    starts = [range(0, n, b) for n, b in zip(cells.shape, blocks.block, strict=False)]
    cut = [
        tuple(slice(i, i + b) for i, b in zip(index, blocks.block, strict=True))
        for index in itertools.product(*starts)
    ]
    return np.concatenate([cells[region].reshape(-1, 4) for region in cut])


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_any_range_reads_as_a_slice_of_blocks(chunks, values, tmp_path):
    path = _write(tmp_path, values, chunks)
    for seed, block in enumerate([None, (2, 3, 4), (1, 2, 5)]):
        source = _opened(path, None if block is None else CellBlocks((5, 7, 11), block))
        expected = _expected(values, source.blocks)
        assert source.shape == expected.shape
        assert source.dtype == np.float64
        assert source.cuts[[0, -1]].tolist() == [0, len(expected)]
        edges = np.sort(np.random.default_rng(seed).integers(0, len(expected) + 1, size=2))
        for start, stop in [edges.tolist(), (0, len(expected)), (9, 9)]:
            np.testing.assert_array_equal(source.read(start, stop), expected[start:stop])
        for start, stop in [(-1, 5), (5, len(expected) + 1), (6, 5)]:
            with pytest.raises(IndexError, match=f"{start}:{stop}"):
                source.read(start, stop)


def test_what_is_read_on_is_decoded_once_and_travels(values, tmp_path):
    source = _opened(_write(tmp_path, values, ((5, 4, 11, 3), (5, 4, 11))))
    assert len(pickle.dumps(source)) < 20_000
    source = pickle.loads(pickle.dumps(source))
    n = source.shape[0]
    counts = []
    for step in (n, 7):
        source.read(0, 1)  # with the mask, which is kept
        source.leave(0, n)
        before = bytes_read()
        found = [source.read(a, min(a + step, n)) for a in range(0, n, step)]
        counts.append(bytes_read() - before)
        np.testing.assert_array_equal(np.concatenate(found), _expected(values, source.blocks))
    assert counts[0] == counts[1] > 0
    before = bytes_read()
    source.read(0, 7)
    source.leave(0, n)
    source.read(7, 14)
    assert bytes_read() > before + counts[0], "what was left is read anew"


def test_values_in_memory_may_lack_dimensions(values, tmp_path):
    source = _opened(_write(tmp_path, values, CHUNKS["features apart"]))
    area = np.arange(7.0)
    held = GridSource("w", CELLS, [HeldArray(area, ("lat",))], blocks=source.blocks)
    lat = np.broadcast_to(area[:, None], (5, 7, 11))
    expected = np.concatenate(
        [lat[source.blocks.region(i)].ravel() for i in range(len(source.cuts) - 1)]
    )
    np.testing.assert_array_equal(held.read(0, len(expected))[:, 0], expected)
    assert held.fingerprint() != source.fingerprint()


def test_cells_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(DataError, match="one or more is needed"):
        GridSource("w", ("a",), [HeldArray(np.empty(0), ("a",))], blocks=CellBlocks((0,), (1,)))


def test_blocks_of_small_chunks_are_whole_chunks_of_some_size():
    assert CellBlocks.grown((10, 20, 30), (1, 10, 10), 10_000).block == (10, 20, 30)
    assert CellBlocks.grown((10, 20, 30), (1, 10, 10), 1_300).block == (2, 20, 30)
    assert CellBlocks.grown((10, 20, 35), (1, 10, 10), 250).block == (1, 10, 20)
    assert CellBlocks.grown((10, 20, 30), (4, 50, 50), 1).block == (4, 20, 30)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_a_grid_without_cells_has_no_blocks_and_is_refused_in_these_words(shape, tmp_path):
    blocks = CellBlocks.grown(shape, (1, 3), 10)
    assert blocks.cuts[-1] == 0
    assert blocks.parts(0, 0) == []
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("x", shape=shape, dtype="f8", chunks=(1, 3))
    said = rf"has no cells: its shape is {re.escape(str(shape))}"
    with pytest.raises(DataError, match=said):
        open_array(tmp_path / "g.zarr", "x")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("chunks", [(1, 90, 100, 10), (4, 30, 40, 2), (4, 90, 100, 10)], ids=str)
def test_a_read_needs_no_more_than_its_rows_and_the_overhead(chunks, packed, tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    shape = (4, 90, 100, 10)
    x = np.random.default_rng(0).integers(-9999, 9999, size=shape).astype("i2" if packed else "f4")
    array = group.create_array("x", shape=shape, dtype=x.dtype, chunks=chunks)
    array[:] = x
    if packed:
        array.attrs.update({"scale_factor": 0.1, "_FillValue": -9999})
    stored = CellArray(open_array(tmp_path / "g.zarr", "x"), (*CELLS, "level"))
    source = GridSource("g", CELLS, [stored])
    source.read(0, 1)  # what is allocated once: event loop, threads, codecs
    source.leave(0, 1)
    tracemalloc.start()
    found = source.read(0, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.leave(0, source.shape[0])
    # 128 KiB for what a call allocates whatever it reads.
    assert peak <= found.nbytes + source.unit_overhead + 2**17
