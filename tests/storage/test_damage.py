"""Damage to real stores: a deleted, emptied, truncated or altered chunk is never silent.

Not asserted: that a flipped bit is seen where the store keeps no checksum. It cannot
be, and the preflight says so.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import cloudpickle
import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from numcodecs import CRC32, LZMA, Adler32, Blosc, Fletcher32, Zlib, Zstd
from stored_rows import CHUNKED, N_ROWS, Victim, write_chunked

from daskgmm.errors import DamagedDataError, IntegrityWarning, ParameterError, StorageError
from daskgmm.storage import open_source, preflight

# Where one bit may flip and the rows then read differ.
UNPROTECTED = {
    name
    for name in CHUNKED
    if not any(word in name for word in ("crc32c", "checksum", "gzip", "lzma", "bz2"))
}


def objects(path: Path) -> list[Path]:
    """The stored chunks or shards."""
    metadata = {"zarr.json", ".zarray", ".zattrs"}
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name not in metadata)


def survey(source):
    """A preflight, whatever it says of checksums."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrityWarning)
        return preflight(source)


def delete(chunk: Path) -> None:
    chunk.unlink()


def empty(chunk: Path) -> None:
    chunk.write_bytes(b"")


def truncate(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[:-9])


def halve(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


@pytest.mark.parametrize("damage", [delete, empty, truncate, halve])
def test_a_damaged_chunk_fails_its_rows_and_no_others(victim, x, damage):
    path, key, rows = victim.array, victim.key, victim.rows
    source = open_source(path)
    damage(victim.chunk)
    for start, stop in {(0, N_ROWS), (rows.start, rows.stop)}:
        with pytest.raises(DamagedDataError) as caught:
            source.read(start, stop)
        message = str(caught.value)
        assert f"array {path}: chunk {key!r} (rows {rows.start}:{rows.stop})" in message
        assert "restore the array" in message
        assert "\n" not in message
        assert str(pickle.loads(cloudpickle.dumps(caught.value))) == message
    try:  # a few rows of a shard may lie before the damage
        part = source.read(rows.start, rows.start + 1)
    except DamagedDataError:
        part = x[rows.start : rows.start + 1]
    np.testing.assert_array_equal(part, x[rows.start : rows.start + 1])
    np.testing.assert_array_equal(source.read(0, rows.start), x[: rows.start])
    np.testing.assert_array_equal(source.read(rows.stop, N_ROWS), x[rows.stop :])


@pytest.mark.parametrize("damage", [delete, empty])
def test_preflight_sees_lost_chunks_without_reading(victim, damage):
    path, key = victim.array, victim.key
    source = open_source(path)
    before = survey(source)
    before.raise_for_damage()
    assert before.n_chunks == len(objects(path))
    assert before.stored_bytes == sum(p.stat().st_size for p in objects(path))
    damage(victim.chunk)
    after = survey(source)
    assert (after.missing or after.empty) == (key,)
    assert after.n_missing_chunks + after.n_empty == 1
    with pytest.raises(DamagedDataError, match=f"1 of {before.n_chunks} chunks is") as caught:
        after.raise_for_damage()
    assert repr(key) in str(caught.value)
    assert str(path) in str(caught.value)


def test_preflight_counts_all_and_names_the_first(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3")
    for chunk in objects(path):
        chunk.unlink()
    found = survey(open_source(path))
    assert found.n_missing_chunks == found.n_chunks == 11
    assert found.missing == tuple(f"c/{i}/0" for i in range(5))
    with pytest.raises(DamagedDataError, match=r"11 of 11 chunks are missing.*missing_chunks"):
        found.raise_for_damage()


@pytest.mark.parametrize(
    "layout", ["v3-uncompressed", "v3-uncompressed-crc32c", "v2-uncompressed-fortran"]
)
def test_preflight_sees_truncation_where_sizes_are_fixed(tmp_path, x, layout):
    path = write_chunked(tmp_path / "x.zarr", x, layout)
    found = Victim.of(path)
    truncate(found.chunk)
    report = survey(open_source(path))
    assert report.wrong_size == (found.key,)
    with pytest.raises(DamagedDataError, match="1 of 11 chunks is of the wrong size"):
        report.raise_for_damage("fill")


def test_left_out_chunks_read_as_fill_where_that_is_asked_for(victim):
    path, chunk, rows = victim.array, victim.chunk, victim.rows
    chunk.unlink()
    source = open_source(path, missing_chunks="fill")
    survey(source).raise_for_damage("fill")
    np.testing.assert_array_equal(source.read(0, N_ROWS), zarr.open_array(path, mode="r")[:])
    chunk.write_bytes(b"")
    with pytest.raises(DamagedDataError, match="0 bytes"):
        source.read(rows.start, rows.stop)
    with pytest.raises(DamagedDataError, match="0 bytes"):
        survey(source).raise_for_damage("fill")


def test_a_shard_without_its_empty_chunks_is_whole(tmp_path, x):
    x[20:25] = 0  # an inner chunk that equals the fill value, which zarr leaves out
    path = write_chunked(tmp_path / "x.zarr", x, "v3-sharded")
    source = open_source(path)
    survey(source).raise_for_damage()
    np.testing.assert_array_equal(source.read(0, N_ROWS), x)


def reads_true(source, x, rows) -> bool | None:
    """Whether rows come back as written; None if the damage is seen."""
    try:
        return bool(np.array_equal(source.read(rows.start, rows.stop), x[rows]))
    except DamagedDataError:
        return None


def test_a_checksum_is_reported_where_every_flip_is_seen(layout, victim, x):
    chunk, rows = victim.chunk, victim.rows
    source = open_source(victim.array)
    assert survey(source).has_checksum == (layout not in UNPROTECTED)
    whole = chunk.read_bytes()
    outcomes = set()
    for place in np.random.default_rng(0).integers(0, len(whole) * 8, size=16).tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        chunk.write_bytes(flipped)
        outcomes.add(reads_true(source, x, rows))
    if layout in UNPROTECTED:
        with pytest.warns(IntegrityWarning, match=r"x.zarr has no checksum.*crc32c"):
            preflight(source).raise_for_damage()
        assert False in outcomes, "a flip was to go unseen: is the layout protected after all?"
    else:
        preflight(source)  # warns of nothing: warnings are errors here
        assert False not in outcomes
        assert None in outcomes


@pytest.mark.parametrize(
    ("filters", "compressor", "expected"),
    [
        ([CRC32()], None, True),
        ([Adler32()], Zstd(), True),
        ([Fletcher32()], Blosc(), True),
        (None, Zlib(), True),
        (None, LZMA(), True),
        (None, Zstd(checksum=True), True),
        (None, Zstd(), False),
        (None, Blosc(), False),
        (None, None, False),
    ],
)
def test_checksums_of_version_2(tmp_path, x, filters, compressor, expected):
    array = zarr.create_array(
        tmp_path / "x.zarr",
        shape=x.shape,
        dtype="f8",
        chunks=(10, 5),
        zarr_format=2,
        filters=filters,
        compressors=compressor,
    )
    array[:] = x
    source = open_source(tmp_path / "x.zarr")
    found = survey(source)
    assert found.has_checksum is expected
    found.raise_for_damage()
    chunk = tmp_path / "x.zarr" / "3.0"
    flipped = bytearray(chunk.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    chunk.write_bytes(flipped)
    assert reads_true(source, x, slice(0, N_ROWS)) is None or not expected


def test_damage_behind_a_url(x):
    url = "memory://damage-behind-a-url/x.zarr"
    zarr.create_array(url, data=x, chunks=(10, 2))
    fs = fsspec.filesystem("memory")
    source = open_source(url)
    survey(source).raise_for_damage()
    assert survey(source).n_chunks == 33
    fs.pipe_file(url + "/c/3/1", b"")
    fs.rm_file(url + "/c/2/0")
    found = survey(source)
    assert (found.missing, found.empty) == (("c/2/0",), ("c/3/1",))
    with pytest.raises(DamagedDataError, match=r"chunk 'c/2/0' \(rows 20:30\) is missing"):
        source.read(0, N_ROWS)
    with pytest.raises(DamagedDataError, match=r"chunk 'c/3/1' \(rows 30:40\) is empty"):
        source.read(30, N_ROWS)


class UnlistedFileSystem(MemoryFileSystem):
    """Files that can be had by name only, as behind plain HTTP."""

    protocol = "unlisted"

    def find(self, path, **options):
        return {}


def test_a_store_that_does_not_list_is_asked_for_every_chunk(x):
    fsspec.register_implementation("unlisted", UnlistedFileSystem, clobber=True)
    url = "unlisted://damage/x.zarr"
    zarr.create_array(url, data=x, chunks=(10, 2))
    source = open_source(url)
    whole = survey(source)
    whole.raise_for_damage()
    assert whole.stored_bytes > 0
    UnlistedFileSystem().rm_file(url + "/c/2/0")
    assert survey(source).missing == ("c/2/0",)


def test_a_chunk_that_cannot_be_fetched_is_not_called_damaged(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3")
    found = Victim.of(path)
    source = open_source(path)
    found.chunk.unlink()
    found.chunk.symlink_to(found.chunk.name)  # opening a link to itself fails, whoever asks
    with pytest.raises(StorageError, match=f"chunk {found.key!r} .* cannot be fetched"):
        source.read(0, N_ROWS)


def test_the_rows_of_a_deleted_store_are_not_fill(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3")
    source = open_source(zarr.open_array(path))
    travelled = pickle.dumps(source)
    path.rename(tmp_path / "gone")
    for reader in (source, pickle.loads(travelled)):
        with pytest.raises((DamagedDataError, StorageError), match=r"x.zarr"):
            reader.read(0, 5)
    assert not path.exists()


def test_a_report_is_plain_json(stored, x):
    found = survey(open_source(stored)).as_dict()
    assert found["shape"] == list(x.shape)
    assert found["dtype"] == "float64"

    def plain(value):
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, bool)

    assert all(map(plain, found.values()))


def test_preflight_policy_is_checked_when_opening(tmp_path, x):
    path = write_chunked(tmp_path / "x.zarr", x, "v3")
    with pytest.raises(ParameterError, match="'error' or 'fill'"):
        open_source(zarr.open_array(path), missing_chunks="maybe")
