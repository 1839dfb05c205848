"""What is written: whole or not at all, with names and units, for fits, xarray and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from commands import tree

from daskgmm import GaussianMixture, load_model, open_rows
from daskgmm.conversion import convert as conversion
from daskgmm.conversion.convert import convert
from daskgmm.conversion.writers import parquet_file, zarr_rows
from daskgmm.descriptions import check, info
from daskgmm.errors import (
    DataError,
    MissingDependencyError,
    NotFoundError,
    OutputExistsError,
    ParameterError,
)
from daskgmm.storage import Location

X = np.random.default_rng(0).normal(size=(700, 2)) * [1, 5]


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pd.DataFrame(X, columns=["a", "b"]).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_rows_are_fitted_by_their_names(source, tmp_path):
    convert(source, tmp_path / "x.zarr")
    for data in (tmp_path / "x.zarr", tmp_path / "x.zarr" / "x"):
        fitted = GaussianMixture(1, random_state=0).fit(data)
        assert fitted.feature_names_in_.tolist() == ["a", "b"]
    in_memory = GaussianMixture(1, random_state=0).fit(pd.read_csv(source))
    np.testing.assert_allclose(fitted.means_, in_memory.means_, rtol=1e-12)
    fitted.save(tmp_path / "m.zarr")
    load_model(tmp_path / "m.zarr").predict(tmp_path / "x.zarr").compute()
    convert(source, tmp_path / "turned.zarr", columns=["b", "a"])
    with pytest.raises(DataError, match="same order"):
        fitted.score(tmp_path / "turned.zarr")


def test_xarray_opens_it_with_names_and_units(tmp_path):
    made = xr.Dataset(
        {
            "t": ("row", np.arange(9.0), {"units": "degC"}),
            "s": ("row", np.arange(9.0) ** 2),
        }
    )
    made.to_netcdf(tmp_path / "o.nc")
    convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True)
    with xr.open_zarr(tmp_path / "x.zarr") as found:
        assert list(found.data_vars) == ["x"]
        assert found.x.dims == ("row", "feature")
        assert found.feature.values.tolist() == ["t", "s"]
        assert found.units.values.tolist() == ["degC", ""]
        np.testing.assert_array_equal(found.x.sel(feature="s"), made.s)
    assert open_rows(tmp_path / "x.zarr").feature_names == ("t", "s")
    assert info(str(tmp_path / "x.zarr"))["feature_names"] == ["t", "s"]


def test_every_chunk_is_there_and_has_a_checksum(source, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_rows, "chunk_rows", lambda *_: 64)
    monkeypatch.setattr(zarr_rows, "_GROWTH", 2)
    convert(source, tmp_path / "x.zarr")
    found = check(open_rows(tmp_path / "x.zarr"))
    assert found["damage"] is None
    assert found["has_checksum"]
    assert (found["n_chunks"], tuple(found["shape"])) == (11, (700, 2))
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "x.zarr")["x"][:], X)


def test_a_small_store_has_a_small_chunk(source, tmp_path):
    convert(source, tmp_path / "x.zarr")
    assert open_rows(tmp_path / "x.zarr").unit_rows == 700
    assert zarr.open_group(tmp_path / "x.zarr")["x"].chunks == (700, 2)


def test_parquet_with_row_groups(source, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_file, "_GROUP_ROWS", 300)
    report = convert(source, tmp_path / "x.parquet", dtype="float32")
    found = pd.read_parquet(tmp_path / "x.parquet")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found.to_numpy(), X.astype(np.float32))
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    assert report["bytes_written"] == (tmp_path / "x.parquet").stat().st_size
    convert(tmp_path / "x.parquet", tmp_path / "again.zarr")
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "again.zarr")["x"][:], found)


@pytest.mark.parametrize("name", ["x.zarr", "x.parquet"])
def test_an_output_that_exists_is_replaced_only_where_that_is_asked(name, source, tmp_path):
    convert(source, tmp_path / name)
    before = tree(tmp_path)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        convert(source, tmp_path / name, columns=["a"])
    assert tree(tmp_path) == before
    assert convert(source, tmp_path / name, columns=["a"], overwrite=True)["n_features"] == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["x.zarr", "x.parquet"])
def test_an_interruption_leaves_nothing(name, source, tmp_path, monkeypatch):
    convert(source, tmp_path / name)
    before = tree(tmp_path)

    def interrupt(self, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion._Rows, "check_some", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / name, columns=["a"], overwrite=True)
    assert tree(tmp_path) == before


BAD = {
    "no parent": ("no/x.zarr", NotFoundError, "create .*no first"),
    "an unknown ending": ("x.csv", ParameterError, r"name it .*x\.zarr or .*x\.parquet"),
    "no ending": ("x", ParameterError, r"name it .*x\.zarr"),
    "inside the input": ("in/x.zarr", ParameterError, "overlap"),
}


@pytest.mark.parametrize("name", BAD)
def test_outputs_that_cannot_be(name, source, tmp_path):
    output, kind, words = BAD[name]
    before = tree(tmp_path)
    with pytest.raises(kind, match=words):
        convert(source.parent, tmp_path / output)
    assert tree(tmp_path) == before


def test_numbers_that_are_too_large_for_the_dtype_are_refused(tmp_path):
    pd.DataFrame({"a": [1.0, 1e300]}).to_csv(tmp_path / "t.csv", index=False)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"too large for float32; .*--dtype float64"):
        convert(tmp_path / "t.csv", tmp_path / "x.zarr", dtype="float32")
    assert tree(tmp_path) == before
    convert(tmp_path / "t.csv", tmp_path / "x.zarr", dtype="float64")


@pytest.mark.parametrize("ending", ["parquet", "nc"])
def test_files_in_mixed_units_are_refused(ending, tmp_path):
    for number, units in ((1, "m"), (2, "km")):
        place = tmp_path / "in" / f"{number}.{ending}"
        place.parent.mkdir(exist_ok=True)
        if ending == "nc":
            xr.Dataset({"a": ("x", X[:, 0], {"units": units})}).to_netcdf(place, engine="h5netcdf")
        else:
            field = pa.field("a", pa.float64(), metadata={"units": units})
            pq.write_table(pa.table([X[:, 0]], schema=pa.schema([field])), place)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=rf"2\.{ending} has 'a' in 'km', which is in 'm' in .*1\."):
        convert(tmp_path / "in", tmp_path / "x.zarr", rows=ending == "nc")
    assert tree(tmp_path) == before


def test_an_output_behind_a_url(source, bucket):
    report = convert(source, f"{bucket}/x.zarr")
    assert report["bytes_written"] is None
    for place in (f"{bucket}/x.zarr", f"{bucket}/x.zarr/x"):
        rows = open_rows(place)
        assert rows.feature_names == ("a", "b")
        np.testing.assert_array_equal(rows.read(0, 700), X)
    with pytest.raises(OutputExistsError):
        convert(source, f"{bucket}/x.zarr")
    for overwrite in (False, True):
        convert(source, f"{bucket}/x.parquet", overwrite=overwrite)
    np.testing.assert_array_equal(open_rows(f"{bucket}/x.parquet").read(0, 700), X)
    with pytest.raises(OutputExistsError):
        convert(source, f"{bucket}/x.parquet")
    assert Location.parse(bucket).children() == ["x.parquet", "x.zarr"]
    with pytest.raises(ParameterError, match="is memory of this process"):
        convert(source, "memory://x.zarr")


@pytest.mark.parametrize("output", ["x.zarr", "x.parquet"])
def test_an_output_among_the_files_of_a_glob(output, source, tmp_path):
    place = tmp_path / "in" / output
    assert convert(tmp_path / "in" / "*.csv", place)["n_files"] == 1


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("pyarrow", "t.csv", "parquet"),
        ("xarray", "t.nc", "netcdf"),
        ("h5netcdf", "t.nc", "netcdf"),
        ("h5py", "t.h5", "netcdf"),
    ],
)
def test_a_library_that_is_not_there_is_named_with_its_extra(
    module, name, extra, source, tmp_path, monkeypatch
):
    path = source if name == "t.csv" else tmp_path / name
    if path != source:
        path.write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'daskgmm\[{extra}\]'"):
        convert(path, tmp_path / "x.zarr")
