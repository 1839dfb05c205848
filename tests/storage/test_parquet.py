"""Parquet: what is read of files and folders, once, and what is refused before that.

Asserted against pandas' and pyarrow's reading of the same files.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import sys
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.errors import (
    DamagedDataError,
    DaskGMMWarning,
    DataError,
    MissingDependencyError,
    NonFiniteError,
    NotFoundError,
    ParameterError,
)
from daskgmm.storage import Location, open_source
from daskgmm.storage.rows import parquet_nulls, parquet_streams
from daskgmm.storage.rows.parquet_pages import Header, header_of

N = 1000


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "c"])


@pytest.fixture
def path(tmp_path, frame):
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=130)
    return tmp_path / "rows.parquet"


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Rows of the batches that are decoded."""
    found: list[int] = []
    own = parquet_streams._Stream._next

    def counted(stream):
        own(stream)
        found.append(stream._n)

    monkeypatch.setattr(parquet_streams._Stream, "_next", counted)
    return found


def test_a_pass_in_pieces_decodes_each_row_once(path, frame, decoded):
    source = open_source(path)
    pieces = [source.read(a, min(a + 77, N)) for a in range(0, N, 77)]
    np.testing.assert_array_equal(np.concatenate(pieces), frame)
    assert sum(decoded) == N


@given(edges=st.lists(st.integers(0, N), min_size=2, max_size=12))
def test_pieces_in_any_order_are_the_rows(tmp_path_factory, edges):
    at = tmp_path_factory.getbasetemp() / "any-order.parquet"
    x = np.random.default_rng(1).normal(size=(N, 2)).astype(np.float32)
    if not at.exists():
        pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1]}), at, row_group_size=211)
    source = open_source(at)
    for one, other in pairwise(edges):
        start, stop = sorted((one, other))
        np.testing.assert_array_equal(source.read(start, stop), x[start:stop])


def test_only_the_columns_asked_for_are_read_in_their_order(path, frame):
    source = open_source(path, columns=["c", "a"])
    assert source.feature_names == ("c", "a")
    np.testing.assert_array_equal(source.read(100, 300), frame[["c", "a"]][100:300])


def test_other_columns_need_not_be_numbers(tmp_path, frame):
    frame.assign(name="x").to_parquet(tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet", columns=["b"])
    np.testing.assert_array_equal(source.read(0, N), frame[["b"]])


def test_counts_and_cuts_come_from_the_footers(tmp_path, frame):
    frame[:300].to_parquet(tmp_path / "1.parquet", row_group_size=200)
    frame[300:300].to_parquet(tmp_path / "2.parquet")
    frame[300:].to_parquet(tmp_path / "3.parquet")
    source = open_source(tmp_path)
    assert source.shape == (N, 3)
    assert source.cuts.tolist() == [0, 200, 300, N]


KINDS_OF_COLUMNS = {
    "boolean": (pa.array([True, False, True]), np.float64),
    "int8": (pa.array([1, -2, 3], pa.int8()), np.float64),
    "uint64": (pa.array([1, 2**63, 3], pa.uint64()), np.float64),
    "float16": (pa.array(np.array([1, 2, 3], np.float16)), np.float32),
    "float32": (pa.array([1, 2, 3.5], pa.float32()), np.float32),
    "float64": (pa.array([1, 2, 3.5]), np.float64),
    "decimal": (pa.array([Decimal("1.25"), Decimal("-2.50"), Decimal("3.00")]), np.float64),
    "wide decimal": (pa.array([Decimal("1.25")] * 3, pa.decimal256(50, 2)), np.float64),
}


@pytest.mark.parametrize("kind", KINDS_OF_COLUMNS)
def test_numbers_of_every_type_are_as_numpy_has_them(tmp_path, kind):
    array, dtype = KINDS_OF_COLUMNS[kind]
    pq.write_table(pa.table({"a": array}), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    block = source.read(0, 3)
    assert block.dtype == source.dtype == dtype
    np.testing.assert_array_equal(block[:, 0], [dtype(v) for v in array.to_pylist()])


@pytest.mark.parametrize("kind", KINDS_OF_COLUMNS)
def test_nulls_are_nan(tmp_path, kind):
    array, dtype = KINDS_OF_COLUMNS[kind]
    with_null = pa.array([array[0].as_py(), None, array[2].as_py()], array.type)
    pq.write_table(pa.table({"a": with_null}), tmp_path / "x.parquet")
    block = open_source(tmp_path / "x.parquet").read(0, 3)[:, 0]
    assert np.isnan(block).tolist() == [False, True, False]
    np.testing.assert_array_equal(block[[0, 2]], [dtype(array[i].as_py()) for i in (0, 2)])


def test_the_footers_refuse_nulls_and_say_where(tmp_path, frame):
    for i in range(3):
        part = frame[i * 300 : (i + 1) * 300].copy()
        if i:
            part.loc[part.index[120 : 120 + i], "b"] = np.nan
        part.to_parquet(tmp_path / f"{i}.parquet", row_group_size=50)
    where = r"'b' has 3 \(the first in .*1\.parquet at row 120, of row group 2\)"
    with pytest.raises(NonFiniteError, match=where):
        open_source(tmp_path).check_complete()
    open_source(tmp_path, columns=["a", "c"]).check_complete()


@pytest.mark.parametrize("row", [0, 49, 50, 299])
def test_the_first_null_is_found_wherever_it_is(row, tmp_path, frame, monkeypatch):
    monkeypatch.setattr(parquet_nulls, "_BATCH_ROWS", 7)
    frame = frame[:300].copy()
    frame.loc[frame.index[row:], ["a", "c"]] = np.nan
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=50)
    where = rf"'a' has {300 - row} \(.*x.parquet at row {row}, .*'c' has .* at row {row}, "
    with pytest.raises(NonFiniteError, match=where):
        open_source(tmp_path / "x.parquet").check_complete()


def test_the_index_of_pandas_is_no_feature(tmp_path, frame):
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "x.parquet")
    names = pq.read_schema(tmp_path / "x.parquet").names
    assert "__index_level_0__" in names
    assert open_source(tmp_path / "x.parquet").feature_names == ("a", "b", "c")


REFUSED = {
    "string": pa.array(["x", "y"]),
    "date": pa.array([0, 1], pa.date32()),
    "timestamp": pa.array([0, 1], pa.timestamp("us")),
    "list": pa.array([[1.0], [2.0]]),
    "struct": pa.array([{"u": 1.0}, {"u": 2.0}]),
    "dictionary": pa.array(["x", "y"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_number_is_refused_by_name_with_the_others(tmp_path, kind):
    table = pa.table({"a": [1.0, 2.0], "no": REFUSED[kind], "b": [3, 4]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rf"'no' is {kind}.*--columns a,b"):
        _ = source.shape
    with pytest.raises(DataError, match=rf"'no' is {kind}.*numbers: a, b"):
        open_source(tmp_path / "x.parquet", columns=["a", "no"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["a", "bb"], "no column 'bb'; did you mean 'b'"),
        (["a", "zzz"], "no column 'zzz'; those that are numbers: a, b, c"),
        (["a", "b", "a"], "'a' twice"),
        ([], "list of names"),
        ("a,,b", "list of names"),
    ],
)
def test_names_that_are_wrong_are_refused(path, columns, said):
    with pytest.raises(ParameterError, match=said):
        open_source(path, columns=columns)


def test_columns_are_refused_where_they_have_no_names(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ParameterError, match=r"x\.npy is read as npy.*leave it out"):
        open_source(tmp_path / "x.npy", columns=["a"])


def test_a_member_is_refused(path):
    with pytest.raises(ParameterError, match=r"no member 'x'.*--columns"):
        open_source(path, member="x")


def test_a_folder_of_unequal_schemas_is_refused(tmp_path, frame):
    frame.to_parquet(tmp_path / "1.parquet")
    frame.astype({"b": "int64"}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(
        DataError, match=r"2\.parquet has 'b' as int64, which is double in .*1\.par"
    ):
        _ = open_source(tmp_path).shape
    assert open_source(tmp_path, columns=["a"]).shape == (2 * N, 1)
    frame.drop(columns="c").to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet has no column 'c'"):
        _ = open_source(tmp_path).shape
    frame.assign(d=1.0).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet has a column 'd', which .*1\.parquet has not"):
        _ = open_source(tmp_path).shape


def _in_units(path, **units):
    fields = [
        pa.field(n, pa.float64(), metadata={"units": u} if u else None) for n, u in units.items()
    ]
    pq.write_table(pa.table([[1.0, 2.0]] * len(fields), schema=pa.schema(fields)), path)


def test_a_folder_of_mixed_units_is_refused(tmp_path):
    """The first file's were taken for those of all."""
    _in_units(tmp_path / "1.parquet", a="m", b="s")
    _in_units(tmp_path / "2.parquet", a="km", b="")
    with pytest.raises(
        DataError, match=r"2\.parquet has 'a' in 'km', which is in 'm' in .*1\.parq"
    ):
        _ = open_source(tmp_path).shape
    assert open_source(tmp_path, columns=["b"]).feature_units == ("s",)


def test_names_that_a_file_has_twice_are_told_as_its_own(tmp_path):
    pq.write_table(pa.table([[1.0], [2.0], [3.0]], names=["a", "b", "a"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet has 2 columns 'a', .*names of their own"):
        _ = open_source(tmp_path / "x.parquet").shape
    assert open_source(tmp_path / "x.parquet", columns=["b"]).shape == (1, 1)


def test_a_file_of_which_bytes_are_gone_is_refused_by_its_footer(path):
    """It was seen in the first pass."""
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + whole[1500:])
    with pytest.raises(DamagedDataError, match=r"is truncated: row group \d+ would end at byte"):
        open_source(path)


def test_files_without_parquet_in_them(tmp_path, path, frame):
    whole = path.read_bytes()
    for content, said in [
        (b"", r"empty \(0 bytes\)"),
        (b"not parquet at all", "no Parquet file: it begins with b'not '"),
        (whole[:-100], "truncated"),
        (whole[:9], "truncated"),
        (whole[: len(whole) // 2] + whole[-8:], "footer that cannot be understood"),
        (b"PARE" + whole[4:], "encrypted"),
    ]:
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises((DamagedDataError, DataError), match=rf"bad\.parquet.*{said}"):
            open_source(tmp_path / "bad.parquet")
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(DataError, match="holds no Parquet files"):
        open_source(tmp_path / "empty.parquet")
    frame[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="has no rows"):
        _ = open_source(tmp_path / "none.parquet").shape
    with pytest.raises(NotFoundError, match="does not exist"):
        open_source(tmp_path / "absent.parquet")
    with pytest.raises(NotFoundError, match="no file matches"):
        open_source(f"{tmp_path}/absent-*.parquet")


def test_a_damaged_row_group_is_named(tmp_path, frame):
    at = tmp_path / "x.parquet"
    frame.to_parquet(at, row_group_size=250, compression="zstd")
    chunk = pq.read_metadata(at).row_group(2).column(1)
    content = bytearray(at.read_bytes())
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    content[middle : middle + 300] = bytes(300)
    at.write_bytes(content)
    source = open_source(at)
    np.testing.assert_array_equal(source.read(0, 500), frame[:500])
    with pytest.raises(
        DamagedDataError, match=r"x\.parquet: row group 2 \(rows 500:750\) does not"
    ):
        source.read(500, 750)


def test_a_flipped_bit_is_seen_where_pages_have_checksums(tmp_path, frame):
    at = tmp_path / "x.parquet"
    how = {"compression": None, "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pa.Table.from_pandas(frame), at, **how)
    assert open_source(at).survey().has_checksum
    content = bytearray(at.read_bytes())
    content[pq.read_metadata(at).row_group(0).column(1).data_page_offset + 1000] ^= 1
    at.write_bytes(content)
    with pytest.raises(DamagedDataError, match="row group 0"):
        open_source(at).read(0, N)


def test_a_file_that_is_replaced_between_passes_is_noticed(path, frame):
    source = open_source(path)
    source.read(0, N)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DamagedDataError, match="written anew"):
        source.read(0, N)
    (-frame).to_parquet(path, row_group_size=130)
    with pytest.raises(DamagedDataError, match="written anew"):
        pickle.loads(pickle.dumps(source)).read(0, N)


def test_fingerprint_and_state_tell_copies_from_others(tmp_path, path, frame):
    source = open_source(path)
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(path.read_bytes())
    found = path.stat()
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert open_source(copy).fingerprint() == source.fingerprint()
    assert open_source(path).state() == source.state() != open_source(copy).state()
    assert open_source(path, columns=["a"]).fingerprint() != source.fingerprint()
    frame.iloc[::-1].reset_index(drop=True).to_parquet(path, row_group_size=130)
    assert open_source(path).fingerprint() != source.fingerprint()


def test_hidden_and_other_files_are_skipped_and_the_rest_is_sorted(tmp_path, frame):
    for name, part in [("b/2.parquet", frame[600:]), ("a/10.parquet", frame[:600])]:
        (tmp_path / name).parent.mkdir()
        part.to_parquet(tmp_path / name)
    for name in ["_temporary/x.parquet", "a/.x.parquet", "a/_metadata.parquet", "a/notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no rows")
    np.testing.assert_array_equal(open_source(tmp_path).read(0, N), frame)


def test_a_folder_in_an_object_store(bucket, frame):
    fs, root = Location.parse(bucket).filesystem()
    for name, part in [("2/b.parquet", frame[400:]), ("1/a.parquet", frame[:400])]:
        content = io.BytesIO()
        part.to_parquet(content, row_group_size=90)
        fs.pipe_file(f"{root}/rows.parquet/{name}", content.getvalue())
    for place in (f"{bucket}/rows.parquet", f"{bucket}/**/*.parquet"):
        source = open_source(place)
        assert source.is_remote
        parts = [source.read(a, min(a + 64, N)) for a in range(0, N, 64)]
        np.testing.assert_array_equal(np.concatenate(parts), frame)
        assert source.state() is not None
    fs.pipe_file(f"{root}/rows.parquet/1/a.parquet", b"PAR1 and something else")
    with pytest.raises(DamagedDataError, match="written anew"):
        source.read(0, 10)


def test_large_columns_in_an_object_store_are_fetched_in_parts(bucket, frame, monkeypatch):
    monkeypatch.setattr(parquet_streams, "FETCHED_BYTES", 1)
    monkeypatch.setattr(parquet_streams, "_PART_BYTES", 3000)
    fs, root = Location.parse(bucket).filesystem()
    content = io.BytesIO()
    frame.to_parquet(content)
    fs.pipe_file(f"{root}/x.parquet", content.getvalue())
    np.testing.assert_array_equal(open_source(f"{bucket}/x.parquet").read(0, N), frame)


def test_the_overhead_counts_pages_that_are_not_small(tmp_path):
    x = np.random.default_rng(0).normal(size=200_000)
    large = {"data_page_size": 2**30, "max_rows_per_page": 10**9, "use_dictionary": False}
    pq.write_table(
        pa.table({"x": x}), tmp_path / "small.parquet", use_dictionary=False, max_rows_per_page=1000
    )
    pq.write_table(pa.table({"x": x}), tmp_path / "one.parquet", **large)
    small, one = (open_source(tmp_path / f"{name}.parquet") for name in ("small", "one"))
    assert one.unit_overhead - small.unit_overhead > 8 * len(x)


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False}, {"compression": None}])
@pytest.mark.parametrize("n_columns", [1, 40])
def test_the_overhead_is_what_pyarrow_holds(tmp_path, how, n_columns):
    x = np.random.default_rng(0).normal(size=(60_000, n_columns))
    table = pa.table({f"x{j}": x[:, j] for j in range(n_columns)})
    pq.write_table(table, tmp_path / "x.parquet", **how)
    del table
    source, pool = open_source(tmp_path / "x.parquet"), pa.default_memory_pool()
    before, held = pool.bytes_allocated(), 0
    for start in range(0, 60_000, 5000):
        source.read(start, start + 5000)
        held = max(held, pool.bytes_allocated() - before)
    assert 0.25 * source.unit_overhead < held < source.unit_overhead


def test_the_header_of_a_page_is_read_as_thrift():
    # Type 0, 1000 bytes decompressed, 700 compressed, then a checksum or a struct.
    numbers = b"\x15\x00\x15\xd0\x0f\x15\xf8\x0a"
    assert header_of(numbers + b"\x15\x02") == Header(1000, 700, True)
    assert header_of(numbers + b"\x2c\x15") == Header(1000, 700, False)
    assert header_of(b"\x00" * 8) is None


def test_a_file_system_that_is_away_for_a_moment_is_waited_for(path, frame, monkeypatch):
    source, own, failed = open_source(path), parquet_streams._opened, []

    def opened(*args):
        if not failed:
            failed.append(1)
            raise OSError(errno.ESTALE, "Stale file handle")
        return own(*args)

    monkeypatch.setattr(parquet_streams, "_opened", opened)
    with pytest.warns(DaskGMMWarning, match="gives no answer"):
        np.testing.assert_array_equal(source.read(0, 400), frame[:400])


def test_without_pyarrow_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"daskgmm\[parquet\]"):
        open_source(path)


def test_names_of_numbers_are_told_whatever_other_files_have(tmp_path):
    """Asked for a hint, after results have been written: an error would come too late."""
    pd.DataFrame({"a": [1.0], "id": ["x"], "n": [1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": [1.0], "id": ["y"], "n": [1.5]}).to_parquet(tmp_path / "2.parquet")
    assert open_source(tmp_path).number_names == ("a", "n")
