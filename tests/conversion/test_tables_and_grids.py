"""Parquet, NetCDF and HDF5: what the libraries that wrote them read is what is written."""

from __future__ import annotations

import decimal

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from commands import tree
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.conversion.convert import convert
from daskgmm.conversion.files import files_of
from daskgmm.conversion.options import How
from daskgmm.conversion.readers import hdf5, netcdf, parquet
from daskgmm.conversion.readers.grids import cell_of, cuts
from daskgmm.conversion.readers.hdf5 import Hdf5Reader
from daskgmm.conversion.readers.netcdf import NetcdfReader
from daskgmm.conversion.readers.parquet import ParquetReader
from daskgmm.errors import DamagedDataError, DataError

RNG = np.random.default_rng(0)


def rows_of(path):
    return zarr.open_group(path, mode="r")["x"][:]


def names_of(path):
    return [str(name) for name in zarr.open_group(path, mode="r")["feature"][:]]


# -- Parquet ------------------------------------------------------------------------


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "f": RNG.normal(size=500),
            "i": np.arange(500),
            "flag": np.arange(500) % 2 == 0,
            "d": [decimal.Decimal(i).scaleb(-2) for i in range(500)],
            "when": pd.date_range("2000", periods=500),
            "word": ["x"] * 500,
        }
    )


def test_parquet_of_several_types(frame, tmp_path):
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=70)
    report = convert(tmp_path / "t.parquet", tmp_path / "x.zarr")
    expected = frame[["f", "i", "flag", "d"]].astype(float).to_numpy()
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected)
    assert names_of(tmp_path / "x.zarr") == ["f", "i", "flag", "d"]
    reasons = {c["name"]: c["reason"] for c in report["columns_dropped"]}
    assert reasons.keys() == {"when", "word"}
    assert reasons["when"].startswith("is of times")


def test_parquet_folders_in_order_with_gaps(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    x = RNG.normal(size=(60, 2)).astype(np.float32)
    x[7, 1] = np.nan
    frame = pd.DataFrame(x, columns=["a", "b"])
    frame[:40].to_parquet(folder / "part-0.parquet")
    frame[40:][["b", "a"]].to_parquet(folder / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-0\.parquet, row 7: a value of 'b' is missing"):
        convert(folder, tmp_path / "x.zarr")
    report = convert(folder, tmp_path / "x.zarr", missing="drop")
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), np.delete(x, 7, axis=0))
    assert report["dtype"] == "float32"
    assert report["rows_dropped"] == {"missing value": 1}


def test_parquet_files_with_other_types_are_named(tmp_path):
    pd.DataFrame({"a": [1.0], "b": [1]}).to_parquet(tmp_path / "0.parquet")
    pd.DataFrame({"a": [1.0], "b": ["x"]}).to_parquet(tmp_path / "1.parquet")
    with pytest.raises(
        DataError, match=r"1\.parquet has other columns .*has 'b' as \w+, which is int64 there"
    ):
        convert(tmp_path / "*.parquet", tmp_path / "x.zarr")
    convert(tmp_path / "*.parquet", tmp_path / "x.zarr", columns=["a"])


@pytest.mark.parametrize("options", [{}, {"columns": ["a"], "keep": ["b"]}])
def test_parquet_files_that_lack_a_column_are_named(tmp_path, options):
    pd.DataFrame({"a": [1.0], "b": [1.0]}).to_parquet(tmp_path / "0.parquet")
    pd.DataFrame({"a": [1.0]}).to_parquet(tmp_path / "1.parquet")
    output = tmp_path / f"x.{'parquet' if options else 'zarr'}"
    with pytest.raises(DataError, match=r"1\.parquet has other columns .*it lacks 'b'; convert"):
        convert(tmp_path / "*.parquet", output, **options)
    assert not output.exists()
    convert(tmp_path / "*.parquet", output, columns=["a"])


def test_parquet_text_that_is_asked_for_is_refused(frame, tmp_path):
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column 'word' of .* is text; features are numbers"):
        convert(tmp_path / "t.parquet", tmp_path / "x.zarr", columns=["f", "word"])


def test_parquet_times_that_are_asked_for_can_be_kept(tmp_path):
    at = pd.date_range("2024-02-24", periods=3)
    pd.DataFrame({"a": [0.0, 1.0, 2.0], "at": at}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"'at' of .* is of times .*; --keep at copies it"):
        convert(tmp_path / "t.parquet", tmp_path / "x.parquet", columns=["a", "at"])
    convert(tmp_path / "t.parquet", tmp_path / "x.parquet", columns=["a"], keep=["at"])
    assert pd.read_parquet(tmp_path / "x.parquet")["at"].tolist() == at.tolist()


@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_parquet_that_is_cut_off(kept, tmp_path):
    pd.DataFrame(RNG.normal(size=(900, 2)), columns=["a", "b"]).to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: int(kept * len(whole))])
    before = tree(tmp_path)
    with pytest.raises(DamagedDataError, match=r"t\.parquet cannot be read"):
        convert(tmp_path / "t.parquet", tmp_path / "x.zarr")
    assert tree(tmp_path) == before


# -- grids ----------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    most=st.integers(1, 40),
)
def test_cuts_are_all_cells_in_their_order(shape, most):
    grid = np.arange(np.prod(shape)).reshape(shape)
    parts = [grid[cut].reshape(-1) for cut in cuts(shape, most)]
    np.testing.assert_array_equal(np.concatenate(parts), grid.reshape(-1))
    assert max(map(len, parts)) <= most
    for row in (0, grid.size - 1, grid.size // 2):
        assert grid[cell_of(row, shape)] == row


@pytest.fixture
def ocean():
    shape = (3, 4, 5)
    temp = xr.DataArray(
        RNG.normal(size=shape).astype(np.float32),
        dims=("time", "lat", "lon"),
        attrs={"units": "degC"},
    )
    salt = xr.DataArray(
        (RNG.normal(size=shape).round(2)), dims=("time", "lat", "lon"), attrs={"units": "1e-3"}
    ).transpose("lat", "time", "lon")
    mask = xr.DataArray(
        np.ones(shape, np.int8),
        dims=("time", "lat", "lon"),
        attrs={"flag_values": [0, 1], "flag_meanings": "land sea"},
    )
    area = xr.DataArray(np.ones((4, 5)), dims=("lat", "lon"))
    made = {"temp": temp.where(temp.lat > 0), "salt": salt, "mask": mask, "area": area}
    return xr.Dataset(made | {"scale": xr.DataArray(2.0)})


PACKED = {"salt": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -9999}}
ENGINES = ["h5netcdf", "scipy"]


@pytest.mark.parametrize("engine", ENGINES)
def test_netcdf_cells_as_xarray_decodes_them(engine, ocean, tmp_path, monkeypatch):
    monkeypatch.setattr(netcdf, "BLOCK_BYTES", 200)
    ocean.to_netcdf(tmp_path / "o.nc", engine=engine, encoding=PACKED)
    report = convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True, missing="keep")
    with xr.open_dataset(tmp_path / "o.nc", engine=engine) as read:
        names = [name for name in read.data_vars if name in ("temp", "salt")]  # as they are stored
        dims = read[names[0]].dims
        columns = [read[n].transpose(*dims).to_numpy() for n in names]
    expected = np.stack([column.reshape(-1) for column in columns], axis=1)
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), expected)
    assert names_of(tmp_path / "x.zarr") == names
    units = {c["name"]: c["units"] for c in report["columns"]}
    assert units == {"temp": "degC", "salt": "1e-3"}
    reasons = {c["name"]: c["reason"] for c in report["columns_dropped"]}
    assert reasons == {
        "mask": "holds names of classes, as numbers",
        "area": f"is over (lat, lon), not ({', '.join(dims)}), and can be a mask or weights of the grid",
        "scale": f"is over (), not ({', '.join(dims)})",
    }


def test_netcdf_gaps_are_an_error_at_their_cell_or_left_out(ocean, tmp_path):
    ocean.to_netcdf(tmp_path / "o.nc")
    with pytest.raises(DataError, match=r"o\.nc, time 0, lat 0, lon 0 .*: a value of 'temp'"):
        convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True)
    report = convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True, missing="drop")
    assert report["rows_written"] == 45
    frame = ocean[["temp", "salt"]].to_dataframe(dim_order=["time", "lat", "lon"]).dropna()
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr"), frame[["temp", "salt"]])


WRONG = {
    "other dimensions": (["temp", "area"], r"'area' of .* is over \(lat, lon\), not \(time"),
    "not there": (["tmp"], r"no column 'tmp', which --variables names; did you mean 'temp'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_netcdf_variables_that_cannot_be_features(name, ocean, tmp_path):
    asked, words = WRONG[name]
    ocean.to_netcdf(tmp_path / "o.nc")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=words):
        convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True, variables=asked)
    assert tree(tmp_path) == before


def test_netcdf_over_different_dimensions_needs_a_choice(tmp_path):
    made = xr.Dataset({"a": ("x", np.arange(3.0)), "b": ("y", np.arange(4.0))})
    made.to_netcdf(tmp_path / "o.nc")
    with pytest.raises(DataError, match=r"choose those that are, as --variables a$"):
        convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True)
    convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True, variables=["b"])
    np.testing.assert_array_equal(rows_of(tmp_path / "x.zarr")[:, 0], np.arange(4.0))


def test_netcdf_that_is_cut_off(ocean, tmp_path):
    ocean.to_netcdf(tmp_path / "o.nc")
    whole = (tmp_path / "o.nc").read_bytes()
    (tmp_path / "o.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedDataError, match=r"o\.nc cannot be read"):
        convert(tmp_path / "o.nc", tmp_path / "x.zarr", rows=True)


# -- HDF5 ------------------------------------------------------------------------------


def test_hdf5_datasets(tmp_path):
    x = RNG.normal(size=(300, 3)).astype(np.float32)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["deep/x"] = x
        file["one"] = np.arange(4)
    convert(tmp_path / "t.h5", tmp_path / "x.zarr")
    found = rows_of(tmp_path / "x.zarr")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x)
    convert(tmp_path / "t.h5", tmp_path / "two.zarr", columns=["2", "0"], member="deep/x")
    np.testing.assert_array_equal(rows_of(tmp_path / "two.zarr"), x[:, [2, 0]])
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file["y"] = x
    with pytest.raises(DataError, match=r"2 datasets; .*: deep/x, y; name one, as --member deep/x"):
        convert(tmp_path / "t.h5", tmp_path / "x.zarr", overwrite=True)
    with pytest.raises(DataError, match=r"no dataset 'z' .*deep/x, y; name one with --member"):
        convert(tmp_path / "t.h5", tmp_path / "x.zarr", overwrite=True, member="z")


def test_hdf5_names_of_fields_and_of_scales(tmp_path):
    table = np.zeros(50, dtype=[("a", "f8"), ("word", "S3"), ("b", "i4")])
    table["a"], table["b"] = RNG.normal(size=50), np.arange(50)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["table"] = table
    report = convert(tmp_path / "t.h5", tmp_path / "x.zarr")
    np.testing.assert_array_equal(
        rows_of(tmp_path / "x.zarr"), np.stack([table["a"], table["b"]], 1)
    )
    assert names_of(tmp_path / "x.zarr") == ["a", "b"]
    assert [c["name"] for c in report["columns_dropped"]] == ["word"]
    xr.DataArray(np.eye(3), dims=("row", "feature"), coords={"feature": list("uvw")}).to_dataset(
        name="x"
    ).to_netcdf(tmp_path / "named.h5", engine="h5netcdf")
    convert(tmp_path / "named.h5", tmp_path / "named.zarr")
    assert names_of(tmp_path / "named.zarr") == ["u", "v", "w"]


# -- memory ------------------------------------------------------------------------------


def test_blocks_are_bounded(ocean, tmp_path, monkeypatch):
    for module in (netcdf, parquet, hdf5):
        monkeypatch.setattr(module, "BLOCK_BYTES", 320)
    x = RNG.normal(size=(200, 2))
    ocean.to_netcdf(tmp_path / "o.nc")
    pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1]}), tmp_path / "t.parquet")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = x
    for reader, name in (
        (NetcdfReader, "o.nc"),
        (ParquetReader, "t.parquet"),
        (Hdf5Reader, "t.h5"),
    ):
        sizes = [
            block.values.nbytes for block in reader(files_of(tmp_path / name)[1], How()).blocks()
        ]
        assert max(sizes) <= 320
        assert len(sizes) > 2
