"""Conformance of every kind of stored rows.

Asserted: rows come back once, in order, in their dtype; sources travel; what cannot
be rows is refused with its name. Damage has its own file.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import time
import tracemalloc

import cloudpickle
import numpy as np
import pytest
import zarr
from numcodecs import Pickle
from stored_rows import CHUNKED, KINDS, write_chunked

from daskgmm.descriptions import info
from daskgmm.errors import (
    ConversionWarning,
    DamagedDataError,
    DataError,
    IntegrityWarning,
    NotFoundError,
    ParameterError,
    StorageError,
)
from daskgmm.storage import open_source, preflight
from daskgmm.storage.rows.sources import FORMATS


def test_every_format_of_the_table_has_a_store_here(tmp_path, x):
    """A format that is added is tested below once there is a row for it in KINDS."""
    missing = set(FORMATS)
    for kind in (k for k in KINDS if k.name not in CHUNKED or k.name == "v3"):
        if missing:
            data = kind.write(tmp_path / kind.name, x)
            missing.discard(next(one for one in FORMATS if one.matches(data)))
    assert not missing


def test_partitions_by_unit_cover_the_rows_once(stored, x):
    source = open_source(stored)
    assert source.shape == x.shape
    assert source.dtype == x.dtype
    assert 1 <= source.unit_rows <= len(x)
    for step in {source.unit_rows, 3 * source.unit_rows, len(x)}:
        parts = [source.read(a, min(a + step, len(x))) for a in range(0, len(x), step)]
        assert all(part.shape[1] == x.shape[1] for part in parts)
        np.testing.assert_array_equal(np.concatenate(parts), x)


def test_any_range_reads_as_a_slice(stored, x):
    source = open_source(stored)
    edges = np.random.default_rng(1).integers(0, len(x) + 1, size=(4, 2))
    for start, stop in [*np.sort(edges, axis=1).tolist(), (0, 0), (len(x), len(x))]:
        np.testing.assert_array_equal(source.read(start, stop), x[start:stop])


def test_ranges_outside_are_refused(stored, x):
    source = open_source(stored)
    for start, stop in [(-1, 5), (5, len(x) + 1), (6, 5)]:
        with pytest.raises(IndexError, match=f"{start}:{stop}"):
            source.read(start, stop)


def test_a_block_is_the_callers_own(stored, x):
    source = open_source(stored)
    source.read(0, 20)[:] = -1
    np.testing.assert_array_equal(source.read(0, 20), x[:20])


def test_a_source_travels_small_and_reads_there(kind, stored, tmp_path, monkeypatch, x):
    source = open_source(stored)
    travelled = cloudpickle.dumps(source)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(pickle.loads(travelled).read(3, 40), x[3:40])
    if kind.name != "in-memory":
        assert len(travelled) < 4096


@pytest.mark.parametrize("kind", [k for k in KINDS if k.is_place], ids=lambda kind: kind.name)
def test_what_is_at_a_place_is_described_as_rows(kind, stored):
    assert info(os.fspath(stored))["kind"] == "data"


def test_a_relative_path_is_resolved_when_opened(tmp_path, monkeypatch, x):
    write_chunked(tmp_path / "x.zarr", x, "v3")
    monkeypatch.chdir(tmp_path)
    source = open_source("x.zarr")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert source.name == "x.zarr"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0, 5), x[:5])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("layout", ["v3", "v2", "npy"])
def test_floating_dtypes_are_kept_in_native_byte_order(tmp_path, x, layout, dtype):
    stored = x.astype(dtype)
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, stored)
    else:
        write_chunked(path, stored, layout)
    block = open_source(path).read(0, len(x))
    assert block.dtype == open_source(path).dtype
    assert block.dtype.isnative
    np.testing.assert_array_equal(block, stored)


@pytest.mark.parametrize("dtype", ["bool", "i1", "u2", "i8", "u8"])
@pytest.mark.parametrize("layout", ["v3", "v2", "npy"])
def test_integers_are_kept_and_said_to_be_converted(tmp_path, layout, dtype):
    stored = np.arange(40).reshape(20, 2).astype(dtype)
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, stored)
    else:
        write_chunked(path, stored, layout)
    with pytest.warns(ConversionWarning, match=rf"x.npy has dtype {stored.dtype}") as caught:
        source = open_source(path)
    assert len(caught) == 1
    block = source.read(0, 20)
    assert block.dtype == stored.dtype
    np.testing.assert_array_equal(block, stored)


@pytest.mark.parametrize("dtype", ["c8", "c16", "M8[s]", "S4", "U4"])
@pytest.mark.parametrize("layout", ["v2", "npy"])
def test_other_dtypes_are_refused_with_those_allowed(tmp_path, layout, dtype):
    stored = np.zeros((20, 2), dtype)
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, stored)
    else:
        zarr.create_array(path, shape=stored.shape, dtype=dtype, zarr_format=2)
    with pytest.raises(DataError, match=r"x.npy has dtype .*float64"):
        open_source(path)


@pytest.mark.parametrize("shape", [(10,), (0, 3), (3, 0), (2, 3, 4), ()])
@pytest.mark.parametrize("layout", ["v3", "npy"])
def test_other_shapes_are_refused(tmp_path, layout, shape):
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, np.zeros(shape))
    else:
        zarr.create_array(path, shape=shape, dtype="f8", chunks=(1,) * len(shape))
    with pytest.raises(DataError, match=r"x\.npy has .*shape") as caught:
        open_source(path)
    assert str(shape) in str(caught.value)


class Trap:
    """Says so if it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_pickles_are_never_loaded_from_npy(tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 2), Trap(), dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="dtype object"):
        open_source(tmp_path / "x.npy")
    assert not Trap.sprung


def test_pickles_are_never_loaded_from_a_zarr_codec(tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=(3, 2), dtype="f8", chunks=(3, 2), zarr_format=2)
    metadata = (path / ".zarray").read_text()
    assert '"filters": null' in metadata
    (path / ".zarray").write_text(
        metadata.replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]')
    )
    (path / "0.0").write_bytes(Pickle().encode(np.array([Trap()], dtype=object)))
    with pytest.raises((DataError, DamagedDataError), match=r"x.zarr"):
        open_source(path).read(0, 3)
    assert not Trap.sprung


def test_a_group_of_several_arrays_lists_them(tmp_path, x):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("rows", data=x)
    group.create_array("labels", data=x[:, 0])
    (tmp_path / "g.zarr" / "README.txt").write_text("not Zarr's")
    for data in (tmp_path / "g.zarr", group):
        with pytest.raises(DataError, match=r"labels \(103,\) float64, rows \(103, 5\) float64"):
            open_source(data)
        np.testing.assert_array_equal(open_source(data, member="rows").read(0, 9), x[:9])
    np.testing.assert_array_equal(open_source(tmp_path / "g.zarr/rows").read(0, 9), x[:9])


def test_a_group_without_arrays_is_refused(tmp_path):
    zarr.create_group(tmp_path / "g.zarr").create_group("inner")
    with pytest.raises(DataError, match=r"g.zarr holds no array; open one of its groups: inner"):
        open_source(tmp_path / "g.zarr")


@pytest.mark.parametrize("where", ["none.zarr", "g.zarr/none", "none.npy", "no/folder/x.zarr"])
def test_what_is_not_there_is_not_found(tmp_path, where):
    zarr.create_group(tmp_path / "g.zarr")
    with pytest.raises(NotFoundError, match=where):
        open_source(tmp_path / where)
    assert not (tmp_path / where).exists()


def test_a_member_or_url_that_is_not_there_is_not_found(tmp_path):
    zarr.create_group(tmp_path / "g.zarr")
    with pytest.raises(NotFoundError, match=r"g.zarr/none"):
        open_source(tmp_path / "g.zarr", member="none")
    with pytest.raises(NotFoundError, match=r"memory://none/x.zarr"):
        open_source("memory://none/x.zarr")


def test_what_is_not_zarr_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.csv").write_text("1,2")
    (tmp_path / "x.npy").write_text("1,2")
    with pytest.raises(DataError, match="folder is there but is not a Zarr array"):
        open_source(tmp_path / "folder")
    with pytest.raises(DataError, match=r"x.csv is CSV, and no store of rows"):
        open_source(tmp_path / "x.csv")
    with pytest.raises(DamagedDataError, match=r"x.npy has no valid .npy header"):
        open_source(tmp_path / "x.npy")
    with pytest.raises(DataError, match="cannot open int"):
        open_source(3)


@pytest.mark.parametrize(("layout", "document"), [("v3", "zarr.json"), ("v2", ".zarray")])
@pytest.mark.parametrize("text", ["{", "{}", '{"shape": 3}', "[]"])
def test_broken_metadata_are_damage(tmp_path, x, layout, document, text):
    path = write_chunked(tmp_path / "x.zarr", x, layout)
    (path / document).write_text(text)
    with pytest.raises((DamagedDataError, DataError), match=r"x.zarr"):
        open_source(path)


def test_options_are_checked(tmp_path, x):
    write_chunked(tmp_path / "x.zarr", x, "v3")
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ParameterError, match="'ignore'"):
        open_source(tmp_path / "x.zarr", missing_chunks="ignore")
    with pytest.raises(ParameterError, match="no member 'a'"):
        open_source(tmp_path / "x.npy", member="a")
    with pytest.raises(ParameterError, match="foo://x"):
        open_source("foo://x")
    with pytest.raises(ParameterError, match="path or a URL"):
        open_source("")


@pytest.mark.parametrize(
    "url",
    [
        "memory://user:hunter2@host/x.zarr",
        "https://hunter2@host/x.zarr",
        "s3://bucket/x.zarr?token=hunter2",
        "simplecache::s3://key:hunter2@bucket/x.zarr",
    ],
)
def test_urls_with_secrets_are_refused_without_them(url):
    """They would travel in task graphs and be written into records."""
    with pytest.raises(ParameterError, match="no place in a URL; let the environment") as caught:
        open_source(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (8192, 32)},
        {"chunks": (8192, 8)},
        {"chunks": (65536, 32)},
        {"chunks": (128, 16)},
        {"chunks": (2048, 32), "shards": (8192, 32)},
        {"chunks": (2048, 8), "shards": (16384, 16)},
        {"chunks": (8192, 32), "zarr_format": 2},
    ],
    ids=str,
)
def test_a_read_needs_no_more_than_its_block_and_the_overhead(tmp_path, layout):
    x = np.random.default_rng(0).normal(size=(32768, 32)).astype("f4")
    array = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, dtype="f4", **layout)
    array[:] = x
    source = open_source(tmp_path / "x.zarr")
    source.read(0, 1)  # what is allocated once: event loop, threads, codecs
    tracemalloc.start()
    block = source.read(0, len(x))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 128 KiB for what a call allocates whatever it reads.
    assert peak <= block.nbytes + source.unit_overhead + 2**17


def test_units_are_what_is_decoded_together(tmp_path, x):
    def unit(layout):
        return open_source(write_chunked(tmp_path / layout, x, layout)).unit_rows

    assert unit("v3") == 10
    assert unit("v3-features") == 27
    assert unit("v3-sharded") == 20
    assert unit("v3-one-chunk") == len(x)


def fingerprint(data) -> str:
    return open_source(data).fingerprint()


def test_a_copy_has_the_same_fingerprint_and_other_rows_another(kind, tmp_path, x):
    def written(name, x):
        """As a copy that keeps times."""
        data = kind.write(tmp_path / name, x)
        for path in tmp_path.rglob("*"):
            os.utime(path, ns=(10**18, 10**18))
        return fingerprint(data)

    first = written("a", x)
    assert written("b", x) == first
    assert written("c", x + 1) != first


def rewrite(path, rows, x):
    """Other values in some rows, whose encoded size is the same."""
    time.sleep(0.02)  # a clock of files can stand still for a few ms
    if path.suffix == ".npy":
        np.lib.format.open_memmap(path, mode="r+")[rows] = x[rows]
    else:
        zarr.open_array(path, mode="r+")[rows] = x[rows]


@pytest.mark.parametrize(
    "layout", ["npy", "v3-uncompressed", "v3-uncompressed-crc32c", "v2-uncompressed-fortran"]
)
def test_rows_that_were_rewritten_in_place_are_seen(tmp_path, x, layout):
    """Sizes are equal, and so are the first, middle and last row."""
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, x)
    else:
        path = write_chunked(tmp_path / "x.zarr", x, layout)
    first = fingerprint(path)
    rewrite(path, slice(11, 12), x + 1)
    assert fingerprint(path) != first
    assert fingerprint(path).partition(" written ")[0] == first.partition(" written ")[0]


@pytest.mark.parametrize("layout", ["npy", "v3-uncompressed", "v3-crc32c"])
def test_the_same_stored_rows_are_in_the_same_state_until_one_is_written(tmp_path, x, layout):
    path = tmp_path / "x.npy"
    if layout == "npy":
        np.save(path, x)
    else:
        path = write_chunked(tmp_path / "x.zarr", x, layout)
    first = open_source(path).state()
    assert first is not None
    assert open_source(path).state() == first
    rewrite(path, slice(11, 12), x + 1)
    assert open_source(path).state() != first


def test_what_stands_for_missing_chunks_is_of_the_state(tmp_path):
    def state(fill):
        path = tmp_path / "x.zarr"
        how = {"shape": (40, 2), "chunks": (10, 2), "dtype": "f8", "fill_value": fill}
        array = zarr.create_array(path, overwrite=True, **how)
        assert open_source(path, missing_chunks="fill").state() is None, "nothing is stored"
        array[:10] = 3.0
        for file in path.rglob("*"):
            os.utime(file, ns=(10**18, 10**18))
        return open_source(path, missing_chunks="fill").state()

    assert state(0.0) == state(0.0) != state(5.0)


def test_a_store_without_versions_has_no_state(x):
    array = zarr.create_array(zarr.storage.MemoryStore(), data=x, chunks=(10, x.shape[1]))
    assert open_source(array).state() is None


def test_a_chunk_with_a_checksum_is_known_again_when_it_was_restored(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3-crc32c")
    first = fingerprint(path)
    rewrite(path, slice(10, 20), x)
    assert fingerprint(path) == first
    rewrite(path, slice(11, 12), x + 1)
    assert fingerprint(path) != first


def test_rows_that_were_rewritten_behind_a_url_are_seen_by_the_listing(bucket, object_store, x):
    url = f"{bucket}/x.zarr"
    array = zarr.create_array(url, data=x, chunks=(10, 5), compressors=None)
    source = open_source(url)
    first = source.fingerprint()
    array[11:12] = x[11:12] + 1
    with object_store.requests() as requests:
        assert source.fingerprint() != first
    assert len([r for r in requests if "/c/" in r.path and "prefix" not in r.path]) == 3
    array[11:12] = x[11:12]
    assert source.fingerprint() == first  # an ETag is of the content


def test_a_fingerprint_changes_with_a_chunks_size(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3")
    shutil.copytree(path, tmp_path / "copy.zarr")
    changed = x.copy()
    changed[15] = 0
    zarr.open_array(tmp_path / "copy.zarr")[:] = changed
    assert open_source(path).fingerprint() != open_source(tmp_path / "copy.zarr").fingerprint()


@pytest.mark.parametrize("fortran", [False, True])
def test_a_truncated_npy_is_damage_before_and_after_opening(tmp_path, x, fortran):
    path = tmp_path / "x.npy"
    np.save(path, np.asfortranarray(x) if fortran else x)
    source = open_source(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DamagedDataError, match=r"x.npy ends before"):
        source.read(len(x) - 1, len(x))
    np.testing.assert_array_equal(source.read(0, 0), x[:0])
    with pytest.raises(DamagedDataError, match=rf"truncated: {len(whole) - 1} bytes"):
        open_source(path)
    with (
        pytest.warns(IntegrityWarning),
        pytest.raises(DamagedDataError, match=r"1 of 1 chunks is of the wrong size"),
    ):
        preflight(source).raise_for_damage()
    path.unlink()
    with pytest.raises(StorageError, match=r"x.npy cannot be read"):
        source.read(0, 1)


def test_npy_of_structured_rows_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2), dtype=[("length", "f8")]))
    (tmp_path / "x.npy").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"x.npy"):
        open_source(tmp_path / "x.npy")
