"""Columns that a conversion to Parquet keeps as they are; asserted against pandas and pyarrow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from daskgmm.conversion.choice import chosen, kept_of
from daskgmm.conversion.convert import convert
from daskgmm.conversion.reader import Column
from daskgmm.conversion.readers import delimited, parquet
from daskgmm.conversion.writers import parquet_file
from daskgmm.errors import DataError, ParameterError

N = 5000
KEPT = ["word", "id", "when"]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """So that blocks of reading end within row groups of writing, and the other way round."""
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 3000)
    monkeypatch.setattr(parquet, "BLOCK_BYTES", 8 * 5 * 170)
    monkeypatch.setattr(parquet_file, "_GROUP_ROWS", 450)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 2))
    x[rng.random(N) < 0.1, 1] = np.nan
    word = np.where(rng.random(N) < 0.2, None, rng.choice(["x,y", 'a "quote"', "é"], N))
    return pd.DataFrame(
        {
            "a": x[:, 0],
            "word": word,
            "id": 2**60 + np.arange(N),  # which float64 cannot hold
            "b": x[:, 1],
            "when": pd.date_range("2020", periods=N, freq="h"),
        }
    )


@pytest.mark.parametrize("missing", ["drop", "keep"])
@pytest.mark.parametrize("source", ["t.csv", "t.parquet", "many"])
def test_rows_keep_what_they_had(source, missing, frame, tmp_path):
    if source == "many":
        (tmp_path / "many").mkdir()
        frame[:1700].to_csv(tmp_path / "many" / "1.csv", index=False)
        frame[["when", "b", "a", "id", "word"]][1700:].to_csv(
            tmp_path / "many" / "2.csv", index=False
        )
    elif source == "t.csv":
        frame.to_csv(tmp_path / source, index=False)
    else:
        frame.to_parquet(tmp_path / source, row_group_size=1234)
    output = tmp_path / "x.parquet"
    report = convert(tmp_path / source, output, keep=KEPT, missing=missing)
    assert report["columns_kept"] == KEPT
    assert report["columns_dropped"] == []
    expected = frame.dropna(subset=["a", "b"]) if missing == "drop" else frame
    found = pd.read_parquet(output)
    assert found.columns.tolist() == [*KEPT, "a", "b"]
    assert str(found.id.dtype) == "int64"
    for name in ("a", "b", "id"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.word.fillna("").tolist() == expected.word.fillna("").tolist()
    assert (found.when.to_numpy() == expected.when.to_numpy()).all()
    assert pq.ParquetFile(output).metadata.num_row_groups == -(-len(expected) // 450)


@pytest.mark.parametrize(
    ("how", "error", "why"),
    [
        ({"keep": "wrd"}, DataError, "'wrd', which --keep names; did you mean 'word'"),
        ({"keep": "id,id"}, DataError, "--keep names 'id' twice"),
        ({"keep": "a", "columns": "a,id"}, DataError, "--columns and --keep both name 'a'"),
        ({"output": "x.zarr"}, ParameterError, "name an output that ends in .parquet"),
    ],
)
def test_what_cannot_be_kept_is_refused(how, error, why, frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    output = tmp_path / how.pop("output", "x.parquet")
    with pytest.raises(error, match=why):
        convert(tmp_path / "t.csv", output, **({"keep": "id", "missing": "drop"} | how))
    assert not output.exists()


def test_a_column_to_keep_has_a_name_of_its_own(tmp_path):
    """The first of two columns was taken without a word."""
    (tmp_path / "t.csv").write_text("a,id,id\n1,x,y\n2,z,w\n")
    with pytest.raises(DataError, match=r"2 columns have the name 'id'; .* others with --keep"):
        convert(tmp_path / "t.csv", tmp_path / "x.parquet", keep="id")
    assert not (tmp_path / "x.parquet").exists()


def test_the_choice_among_many_columns_compares_no_pairs():
    """16,000 columns took 9 s: each name was compared with all the others."""
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Name(f"x{j}") for j in range(16_000)]
    columns = [Column(name, "double", is_number=True) for name in names]
    kept = kept_of(columns, names[:8000], "t.csv")
    found, left_out = chosen(columns, names[8000:], "t.csv", "--columns", kept)
    assert (kept, found, left_out) == ([*range(8000)], [*range(8000, 16_000)], ())
    assert chosen(columns, None, "t.csv", "--columns", kept)[0] == found
    assert compared < 16_000
