"""Row outputs: complete under their name or not there; what was there survives failures.

Not asserted: durability, which ``test_durable`` does, and faults of renames, as ``test_drafts``.
"""

from __future__ import annotations

import math
import pickle
import threading
from pathlib import Path

import cloudpickle
import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.errors import NotFoundError, OutputExistsError, StorageError
from daskgmm.storage import ResultArray, RowAxes, RowOutput, open_source, preflight
from daskgmm.storage.outputs.row_outputs import chunk_rows

N_ROWS = 1050
VALUES = np.arange(N_ROWS, dtype="i4")
OLD = np.full(7, 7.0)


def create(path, *, columns=None, dtype="i4", **options):
    dtype = np.dtype(dtype)
    fill = np.nan if dtype.kind == "f" else 0
    along = () if columns is None else (("component",), (columns,))
    results = {"x": ResultArray(dtype, fill, *along)}
    return RowOutput.create(path, RowAxes((N_ROWS,)), results, partition_rows=100, **options)


def write(output, start, values):
    output.writer.write(start, {"x": values})


def write_all(output, values=VALUES, step=100):
    for start in range(0, len(values), step):
        write(output, start, values[start : start + step])


def read(place):
    return zarr.open_array(f"{place}/x", mode="r")


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    """A place to write to, a function that tells what is in it."""
    if request.param == "local":
        return str(tmp_path), lambda: names(tmp_path)
    root = f"memory://outputs-{tmp_path.name}"
    fs = fsspec.filesystem("memory")

    def listed():
        found = fs.ls(root, detail=False) if fs.exists(root) else []
        return {name.rpartition("/")[2] for name in found}

    return root, listed


@pytest.mark.parametrize("columns", [None, 1, 3])
@pytest.mark.parametrize("dtype", ["i4", "f4", "f8", "u2"])
def test_what_is_written_is_read(place, columns, dtype):
    root, listed = place
    values = VALUES.astype(dtype)
    if columns:
        values = np.stack([values + j for j in range(columns)], axis=1)
    with create(f"{root}/out.zarr", columns=columns, dtype=dtype) as output:
        assert not [name for name in listed() if not name.startswith(".out.zarr.partial-")]
        write_all(output, values)
    assert listed() == {"out.zarr"}
    array = read(f"{root}/out.zarr")
    assert array.dtype == dtype
    assert array.metadata.zarr_format == 3
    np.testing.assert_array_equal(array[:], values)


def test_what_is_written_is_protected(tmp_path):
    with create(tmp_path / "out.zarr", columns=2, dtype="f8") as output:
        write_all(output, np.zeros((N_ROWS, 2)))  # fill values, that zarr likes to leave out
    found = preflight(open_source(tmp_path / "out.zarr"))  # warns of nothing
    found.raise_for_damage()
    assert found.has_checksum
    assert found.n_chunks == math.ceil(N_ROWS / 100)


@given(
    n_rows=st.integers(1, 10**7),
    partition_rows=st.integers(1, 10**6),
    row_bytes=st.integers(1, 10**5),
)
def test_partitions_begin_where_chunks_do(n_rows, partition_rows, row_bytes):
    rows = chunk_rows(n_rows, partition_rows, row_bytes)
    assert 1 <= rows <= max(partition_rows, 1)
    assert partition_rows >= n_rows or partition_rows % rows == 0


@pytest.mark.parametrize("row_bytes", [1, 4, 8, 64, 1000, 8000])
@pytest.mark.parametrize("partition_rows", [2**20, 10**6, 123_456])
def test_chunks_are_of_a_sensible_size(partition_rows, row_bytes):
    n_bytes = chunk_rows(10**9, partition_rows, row_bytes) * row_bytes
    assert min(2**20, partition_rows * row_bytes) <= n_bytes <= 2**24


@pytest.mark.parametrize(
    ("start", "n"), [(1, 100), (0, 99), (50, 100), (1000, 49), (1000, 51), (-100, 100)]
)
def test_misaligned_or_overlong_writes_are_refused(tmp_path, start, n):
    with create(tmp_path / "out.zarr") as output:
        write_all(output)
        with pytest.raises(ValueError, match=r"out.zarr/x: .*(aligned|fit)"):
            write(output, start, np.full(n, -1, "i4"))
    np.testing.assert_array_equal(read(tmp_path / "out.zarr")[:], VALUES)


def test_values_of_another_kind_are_refused(tmp_path):
    with create(tmp_path / "out.zarr") as output:
        write_all(output)
        with pytest.raises(ValueError, match="float64 values"):
            write(output, 0, np.full(100, 0.5))
        with pytest.raises(ValueError, match=r"shape \(100, 1\)"):
            write(output, 0, VALUES[:100, None])


def test_tasks_write_from_copies_in_any_order_and_again(place):
    root, _ = place
    with create(f"{root}/out.zarr") as output:
        travelled = cloudpickle.dumps(output.writer)
        assert len(travelled) < 4096
        starts = np.random.default_rng(0).permutation(np.arange(0, N_ROWS, 100)).tolist()

        def task(start):
            pickle.loads(travelled).write(start, {"x": VALUES[start : start + 100]})

        threads = [threading.Thread(target=task, args=[start]) for start in [*starts, *starts]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    np.testing.assert_array_equal(read(f"{root}/out.zarr")[:], VALUES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupt_leaves_nothing(place, error):
    root, listed = place

    def interrupted():
        with create(f"{root}/out.zarr") as output:
            write(output, 0, VALUES[:100])
            raise error

    with pytest.raises(error):
        interrupted()
    assert listed() == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_overwrite_leaves_the_old(place, error):
    root, listed = place
    zarr.create_array(f"{root}/out.zarr", data=OLD)

    def interrupted():
        with create(f"{root}/out.zarr", overwrite=True) as output:
            write_all(output)
            raise error

    with pytest.raises(error):
        interrupted()
    assert listed() == {"out.zarr"}
    np.testing.assert_array_equal(zarr.open_array(f"{root}/out.zarr", mode="r")[:], OLD)


def test_an_overwrite_replaces_the_old_and_leaves_none_of_it(place):
    root, listed = place
    zarr.create_array(f"{root}/out.zarr", data=np.ones((50, 50)), chunks=(1, 50))
    with create(f"{root}/out.zarr", overwrite=True) as output:
        write_all(output)
        assert zarr.open_array(f"{root}/out.zarr", mode="r").shape == (50, 50)
    assert listed() == {"out.zarr"}
    array = read(f"{root}/out.zarr")
    np.testing.assert_array_equal(array[:], VALUES)
    assert array.nchunks_initialized == array.nchunks


def test_rows_that_nobody_wrote_are_no_output(place):
    root, listed = place
    zarr.create_array(f"{root}/out.zarr", data=OLD)
    output = create(f"{root}/out.zarr", overwrite=True)
    for start in range(0, N_ROWS, 100):
        if start != 300:
            write(output, start, VALUES[start : start + 100])
    with pytest.raises(StorageError, match=r"out.zarr/x: 1 of 11 chunks were not .*'c/3'"):
        output.commit()
    assert listed() == {"out.zarr"}
    np.testing.assert_array_equal(zarr.open_array(f"{root}/out.zarr", mode="r")[:], OLD)


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_straggler_writes_nothing_after_the_end(place, end):
    root, listed = place
    output = create(f"{root}/out.zarr")
    write_all(output)
    getattr(output, end)()
    before = listed()
    with pytest.raises(StorageError, match=r"rows 0:100 came after"):
        write(output, 0, VALUES[:100])
    assert listed() == before == ({"out.zarr"} if end == "commit" else set())


def test_what_exists_is_kept_unless_told(place):
    root, listed = place
    zarr.create_array(f"{root}/out.zarr", data=OLD)
    with pytest.raises(OutputExistsError, match=r"out.zarr exists.*--overwrite"):
        create(f"{root}/out.zarr")
    assert listed() == {"out.zarr"}
    np.testing.assert_array_equal(zarr.open_array(f"{root}/out.zarr", mode="r")[:], OLD)


def test_what_came_meanwhile_is_kept(place):
    root, listed = place
    output = create(f"{root}/out.zarr")
    write_all(output)
    zarr.create_array(f"{root}/out.zarr", data=OLD)
    with pytest.raises(OutputExistsError, match=r"out.zarr exists"):
        output.commit()
    assert listed() == {"out.zarr"}
    np.testing.assert_array_equal(zarr.open_array(f"{root}/out.zarr", mode="r")[:], OLD)


def make_folder(path):
    path.mkdir()
    (path / "thesis.tex").write_text("irreplaceable")


def make_empty_folder(path):
    path.mkdir()


def make_file(path):
    path.write_text("irreplaceable")


def make_link(path):
    zarr.create_array(path.with_name("elsewhere.zarr"), data=OLD)
    path.symlink_to("elsewhere.zarr")


def make_dangling_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "make", [make_folder, make_empty_folder, make_file, make_link, make_dangling_link]
)
def test_what_is_not_zarr_is_never_replaced(tmp_path, make):
    make(tmp_path / "out")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(OutputExistsError, match="not a Zarr array or group"):
        create(tmp_path / "out", overwrite=True)
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_not_zarr_behind_a_url_is_never_replaced():
    fs = fsspec.filesystem("memory")
    fs.pipe_file("memory://foreign/folder/thesis.tex", b"irreplaceable")
    for name in ("folder", "folder/thesis.tex"):
        with pytest.raises(OutputExistsError, match="not a Zarr array or group"):
            create(f"memory://foreign/{name}", overwrite=True)
    assert fs.find("memory://foreign") == ["/foreign/folder/thesis.tex"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"no/such/folder first"):
        create(tmp_path / "no/such/folder/out.zarr")
    assert names(tmp_path) == set()


def test_where_nothing_can_be_written_is_said_at_once(tmp_path):
    # A name of 300 bytes is refused by the file system, even to root.
    with pytest.raises(StorageError, match="cannot be written"):
        create(tmp_path / ("x" * 240))
    assert names(tmp_path) == set()
