"""CSV: what pandas reads of the same file is what is written; and what is wrong has its line.

Not asserted: what text that is no number could have meant.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zarr
from commands import tree
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.conversion.convert import convert
from daskgmm.conversion.files import files_of
from daskgmm.conversion.options import How
from daskgmm.conversion.readers import delimited
from daskgmm.conversion.readers.delimited import DelimitedReader
from daskgmm.errors import DamagedDataError, DataError, NotFoundError, ParameterError

TABLE = pd.DataFrame(
    {
        "carat": [0.23, 0.21, 0.29, 1.5],
        "cut": ["Ideal", "Premium", 'of "two", words', "Good"],
        "depth": [61.5, 59.8, 62.4, -1e-300],
        "price": [326, 327, 334, 2**40],
    }
)
NUMBERS = ["carat", "depth", "price"]


def rows_of(path):
    return zarr.open_group(path, mode="r")["x"][:]


def names_of(path):
    return [str(name) for name in zarr.open_group(path, mode="r")["feature"][:]]


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def source(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_numbers_are_taken_and_text_is_left_out_and_told(source, tmp_path):
    report = convert(source, tmp_path / "x.zarr")
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), TABLE[NUMBERS].to_numpy())
    assert names_of(tmp_path / "x.zarr") == NUMBERS
    assert (report["rows_read"], report["rows_written"], report["rows_dropped"]) == (4, 4, {})
    assert report["columns_dropped"] == [{"name": "cut", "type": "string", "reason": "is text"}]
    assert report["bytes_read"] == source.stat().st_size
    assert report["bytes_written"] > 0


def test_columns_are_chosen_in_the_order_asked_for(source, tmp_path):
    report = convert(source, tmp_path / "x.zarr", columns=["price", "carat"])
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), TABLE[["price", "carat"]])
    assert names_of(tmp_path / "x.zarr") == ["price", "carat"]
    reasons = {c["name"]: c["reason"] for c in report["columns_dropped"]}
    assert reasons == {"cut": "is text", "depth": "was not asked for"}


@given(
    table=st.lists(
        st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False), st.text(max_size=5)),
        min_size=1,
        max_size=30,
    ),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_floats_come_back_with_their_bits(table, separator, newline, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=separator, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC
    )
    writer.writerow(["a", "b", "word"])
    writer.writerows((repr(a), b, word.replace("\0", "")) for a, b, word in table)
    path.write_bytes(text.getvalue().encode("utf-8", "replace"))
    convert(path, path.with_suffix(".zarr"), columns=["a", "b"], separator=separator)
    found = rows_of(path.with_suffix(".zarr"))
    assert found.tobytes() == np.array([row[:2] for row in table]).tobytes()


COMPRESSIONS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressed_files(ending, source, tmp_path):
    packed = tmp_path / f"packed.csv{ending}"
    packed.write_bytes(COMPRESSIONS[ending](source.read_bytes()))
    convert(packed, tmp_path / "x.zarr")
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), TABLE[NUMBERS].to_numpy())


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_compressed_file_that_is_cut_off_is_damaged(ending, tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(3000, 3)), columns=list("abc")).to_csv(tmp_path / "t.csv")
    packed = COMPRESSIONS[ending]((tmp_path / "t.csv").read_bytes())
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / f"t.csv{ending}").write_bytes(packed[: len(packed) // 2])
    before = tree(folder)
    with pytest.raises(DamagedDataError, match=rf"t\.csv{ending} cannot be read to its end"):
        convert(folder / f"t.csv{ending}", folder / "x.zarr")
    assert tree(folder) == before


ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_byte_order_marks(encoding, tmp_path):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = written(tmp_path / "t.csv", f"{mark}höhe,b\n1.5,2\n3,4\n", encoding)
    convert(path, tmp_path / "x.zarr")
    assert names_of(tmp_path / "x.zarr") == ["höhe", "b"]
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), [[1.5, 2], [3, 4]])


def test_an_encoding_that_is_named(tmp_path):
    path = written(tmp_path / "t.csv", "höhe,b\n1.5,2\n", "latin-1")
    with pytest.raises(DataError, match="--encoding latin-1"):
        convert(path, tmp_path / "x.zarr")
    convert(path, tmp_path / "x.zarr", encoding="latin-1")
    assert names_of(tmp_path / "x.zarr") == ["höhe", "b"]


def test_a_decimal_comma_only_where_it_is_asked_for(tmp_path):
    path = written(tmp_path / "t.csv", "a;b\n1,5;2\n-3,25;4\n")
    report = convert(path, tmp_path / "with.zarr", decimal=",")
    assert report["columns_dropped"] == []
    np.testing.assert_array_equal(rows_of(tmp_path / "with.zarr"), [[1.5, 2], [-3.25, 4]])
    report = convert(path, tmp_path / "without.zarr")
    assert [c["name"] for c in report["columns_dropped"]] == ["a"]


def test_without_a_header_columns_are_numbers(tmp_path):
    path = written(tmp_path / "t.csv", "1,2,3\n4,5,6\n")
    with pytest.raises(DataError, match=r"holds numbers, such as 1, .*add --no-header"):
        convert(path, tmp_path / "x.zarr")
    convert(path, tmp_path / "x.zarr", header=False, columns=["2", "0"])
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), [[3, 1], [6, 4]])
    assert sorted(zarr.open_group(tmp_path / "x.zarr", mode="r")) == ["x"]
    convert(path, tmp_path / "named.zarr", header=True)
    assert names_of(tmp_path / "named.zarr") == ["1", "2", "3"]


def test_many_files_are_one_after_another_by_name(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    written(folder / "b.csv", "y,x\n4,3\n")
    written(folder / "a.csv", "x,y\n1,2\n\n7,8\n")
    written(folder / "_notes.csv", "of no use")
    expected = [[1, 2], [7, 8], [3, 4]]
    for source in (folder, folder / "*[ab].csv"):
        report = convert(source, tmp_path / "x.zarr", overwrite=True)
        np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected)
        assert report["n_files"] == 2


# -- missing values -------------------------------------------------------------


GAPS = "a,b,c\n1,2,x\n,4,y\n5,NA,z\n7,8,\n"


def test_a_missing_value_is_an_error_with_its_line(tmp_path):
    path = written(tmp_path / "t.csv", GAPS)
    with pytest.raises(DataError, match=r"t\.csv, line 3: a value of 'a' is missing"):
        convert(path, tmp_path / "x.zarr")


def test_rows_with_missing_values_are_left_out_and_counted(tmp_path):
    report = convert(written(tmp_path / "t.csv", GAPS), tmp_path / "x.zarr", missing="drop")
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), [[1, 2], [7, 8]])
    assert report["rows_dropped"] == {"missing value": 2}
    assert (report["rows_read"], report["rows_written"]) == (4, 2)
    assert [c["n_missing"] for c in report["columns"]] == [1, 1]


def test_missing_values_are_kept_as_nan(tmp_path):
    path = written(tmp_path / "t.csv", GAPS)
    convert(path, tmp_path / "x.zarr", missing="keep")
    expected = pd.read_csv(path)[["a", "b"]].to_numpy()
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected)


def test_texts_that_mean_missing(tmp_path):
    path = written(tmp_path / "t.csv", "a,b\n1,?\n3,4\n")
    report = convert(path, tmp_path / "x.zarr", missing_text=["?"], missing="keep")
    assert report["columns_dropped"] == []
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), [[1, np.nan], [3, 4]])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_number_that_means_missing_is_one_however_it_is_written(tmp_path, dtype, decimal):
    lines = ["a;b", "-9999.9;1", "-9999.90;2", "-9999.8;3", "-9999;-9999.9", "5.5;6"]
    text = "\n".join(lines).replace(".", decimal)
    path, how = written(tmp_path / "t.csv", text + "\n"), {"dtype": dtype, "missing": "keep"}
    given = f"-9999{decimal}9"
    convert(path, tmp_path / "x.zarr", missing_text=[given], separator=";", decimal=decimal, **how)
    nan = np.nan
    expected = np.array([[nan, 1], [nan, 2], [-9999.8, 3], [-9999, nan], [5.5, 6]], dtype)
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected)


def test_a_number_that_means_missing_is_no_truth(tmp_path):
    path = written(tmp_path / "t.csv", "a,b\n1.0,true\n3,false\n")
    convert(path, tmp_path / "x.zarr", missing_text=["1"], missing="keep")
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), [[np.nan, 1], [3, 0]])


def test_rows_that_are_all_left_out_are_refused(tmp_path):
    path = written(tmp_path / "t.csv", "a,b\n1,\n2,\n")
    with pytest.raises(DataError, match=r"each of its 2 rows has a missing value.* 'b'"):
        convert(path, tmp_path / "x.zarr", missing="drop")


def test_ragged_lines_are_skipped_and_counted_if_asked_for(tmp_path):
    """In blocks after the first, beside lines that are whole, and the lines of other errors stay right."""
    n, bad = 400_000, (3, 200_000, 399_999)
    lines = [f"{i},{2 * i}" for i in range(n)]
    for i in bad:
        lines[i] += ",5" if i % 2 else ""
        lines[i] = lines[i] if i % 2 else str(i)
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    report = convert(tmp_path / "t.csv", tmp_path / "x.zarr", ragged="skip")
    assert report["rows_dropped"] == {"line of another count of values": len(bad)}
    assert (report["rows_read"], report["rows_written"]) == (n, n - len(bad))
    expected = np.delete(np.arange(n), bad)
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected[:, None] * [1.0, 2.0])
    lines[300_000] = ",1"
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    with pytest.raises(DataError, match="line 300002: a value of 'a'"):
        convert(tmp_path / "t.csv", tmp_path / "y.zarr", ragged="skip")
    lines[250_000] = "many,1"
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    with pytest.raises(DataError, match="line 250002: 'many' in column 'a'"):
        convert(tmp_path / "t.csv", tmp_path / "y.zarr", ragged="skip", columns=["a", "b"])


# -- what is wrong, and where -----------------------------------------------------


QUOTED = 'a,b,word\n1,2,"two\nlines"\n\n3,4,x\n'
"""Its last line is the fifth."""

FAULTS = {
    "a line that is too short": ("a,b\n1,2\n3\n", {}, r"line 3: 1 value where .* has 2"),
    "a line that is too long": ("a,b\n1,2\n3,4,5\n", {}, r"line 3: 3 values where .* has 2"),
    "after lines in quotes": (QUOTED + "5,6\n", {}, r"line 6: 2 values where"),
    "text in a column that is asked for": (
        QUOTED + "5,many,x\n",
        {"columns": ["a", "b"]},
        r"line 6: 'many' in column 'b' is no number",
    ),
    "times in a column that is asked for": (
        "a,at,b\n1,2024-02-24 23:09:17,2\n",
        {"columns": ["a", "at", "b"]},
        r"line 2: '2024-02-24 23:09:17' in column 'at' is a date or time.*--columns a,b.*--keep at",
    ),
    "days of no format of Arrow's": (
        "a,at,word\n1,24/02/2024,x\n",
        {"columns": ["a", "at", "word"]},
        r"'24/02/2024' in column 'at' is a date or time.*--columns a, ",
    ),
    "a long text": (
        f"a,b\n1,2\n{'x' * 200},2\n",
        {"columns": ["a"]},
        rf"line 3: '{'x' * 40}\.\.\.' in column 'a'",
    ),
    "a missing value after lines in quotes": (QUOTED + ",6,x\n", {}, r"line 6: a value of 'a'"),
    "no header": (
        "1,2\n3,4\n",
        {"header": False, "columns": ["a"]},
        r"without a header.*'a'.*--columns 0,1",
    ),
    "doubled names": ("a,a\n1,2\n", {}, r"2 columns have the name 'a'; rename"),
    "a column that is not there": (
        "temperature,b\n1,2\n",
        {"columns": ["temprature"]},
        r"no column 'temprature'.*did you mean 'temperature'\?",
    ),
    "a column that is asked for twice": ("a,b\n1,2\n", {"columns": ["a", "a"]}, "'a' twice"),
    "no numbers": ("a,b\nx,y\n", {}, r"no column of .* holds numbers: 'a' is text; 'b' is text"),
    "a row where names are expected": (
        "5.1,3.5,setosa\n4.9,3.0,setosa\n",
        {},
        r"first line holds numbers, such as 5\.1, .*--no-header",
    ),
    "an empty file": ("", {}, r"t\.csv is empty"),
    "blank lines alone": ("\n\n\n", {}, r"t\.csv is empty"),
    "a header alone": ("a,b\n", {}, r"has no rows|no column"),
    "a quote that is not closed": ('a,b\n1,2\n3,"x\n5,6\n', {}, r"line 3: a value .* has no end"),
    "blanks between values": ("a b\n1 2\n", {}, r"has one column, 'a b', .*--separator ' '"),
    "a decimal comma": (
        "a;b\n1,5;2\n",
        {"columns": ["a"]},
        r"line 2: '1,5' .*decimal comma with --decimal ,",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_told_with_its_line_and_nothing_is_written(name, tmp_path):
    text, options, words = FAULTS[name]
    written(tmp_path / "t.csv", text)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=words):
        convert(tmp_path / "t.csv", tmp_path / "x.zarr", **options)
    assert tree(tmp_path) == before


def test_a_fault_beyond_the_first_block_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1000)
    lines = [f"{i},{i / 7}" for i in range(5000)]
    lines[4321] = "4321,much"
    written(tmp_path / "t.csv", "\n".join(["a,b", *lines]))
    with pytest.raises(DataError, match=r"line 4323: 'much' in column 'b'"):
        convert(tmp_path / "t.csv", tmp_path / "x.zarr")
    lines[4321] = "4321"
    written(tmp_path / "t.csv", "\n".join(["a,b", *lines]))
    with pytest.raises(DataError, match=r"line 4323: 1 value where"):
        convert(tmp_path / "t.csv", tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def test_files_with_other_columns_are_named(tmp_path):
    written(tmp_path / "a.csv", "x,y\n1,2\n")
    written(tmp_path / "b.csv", "x,z\n1,2\n")
    words = r"b\.csv has other columns than .*a\.csv: it lacks 'y' and has 'z' besides.*--columns x"
    with pytest.raises(DataError, match=words):
        convert(tmp_path / "*.csv", tmp_path / "x.zarr")
    convert(tmp_path / "*.csv", tmp_path / "x.zarr", columns=["x"])
    assert rows_of(tmp_path / "x.zarr").tolist() == [[1], [1]]


def test_files_of_several_formats_are_refused(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    written(folder / "a.csv", "x,y\n1,2\n")
    TABLE.to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"CSV and Parquet: convert those of one by a glob"):
        convert(folder, tmp_path / "x.zarr")


def test_what_is_not_there_or_of_no_known_kind(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        convert(tmp_path / "none.csv", tmp_path / "x.zarr")
    written(tmp_path / "t.doc", "x")
    with pytest.raises(DataError, match=r"no known format.*\.csv.*\.parquet"):
        convert(tmp_path / "t.doc", tmp_path / "x.zarr")


def test_options_of_other_formats_are_refused(source, tmp_path):
    with pytest.raises(ParameterError, match=r"\(--variables\) is of no use for CSV"):
        convert(source, tmp_path / "x.zarr", variables=["a"])
    with pytest.raises(ParameterError, match="separator must be one character"):
        convert(source, tmp_path / "x.zarr", separator="::")
    with pytest.raises(ParameterError, match=r"encoding 'martian' is not known"):
        convert(source, tmp_path / "x.zarr", encoding="martian")


# -- memory ---------------------------------------------------------------------


def test_blocks_are_bounded_whatever_the_length_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1 << 12)
    x = np.random.default_rng(0).normal(size=(4000, 3))
    pd.DataFrame(x, columns=list("abc")).to_csv(tmp_path / "t.csv", index=False)
    blocks = list(DelimitedReader(files_of(tmp_path / "t.csv")[1], How()).blocks())
    assert max(len(block.values) for block in blocks) < 200
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), x)
    assert [b.start for b in blocks] == list(np.cumsum([0, *(len(b.values) for b in blocks[:-1])]))
