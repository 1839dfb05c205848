"""NetCDF to Zarr: xarray opens the copy as it opens the files, and the memory does not grow with them."""

from __future__ import annotations

import re

import h5netcdf
import numpy as np
import pytest
import xarray as xr
from commands import tree

from daskgmm.conversion import netcdf_to_zarr
from daskgmm.conversion.convert import convert, told
from daskgmm.conversion.grid_files import GridFiles
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.netcdf_to_zarr import chunks_of
from daskgmm.errors import DataError
from daskgmm.storage import Location

SHAPE = (7, 4, 5)
DIMS = ("time", "lat", "lon")
PACKED = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 3.0, "_FillValue": -9999}


@pytest.fixture
def ocean():
    rng = np.random.default_rng(0)
    temp = rng.normal(size=SHAPE).round(1)
    temp[2, 1, 3] = np.nan
    return xr.Dataset(
        {
            "temp": (DIMS, temp, {"units": "degC"}),
            "salt": (DIMS, rng.normal(size=SHAPE).astype(np.float32)),
            "sea": (("lat", "lon"), np.ones(SHAPE[1:], np.int8), {"flag_values": [0, 1]}),
            "projection": ((), np.int32(0), {"grid_mapping_name": "latitude_longitude"}),
        },
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(7) * np.timedelta64(1, "D"),
            "lat": ("lat", [10.0, 5.0, 0.0, -5.0], {"units": "degrees_north"}),
            "basin": ("lat", ["north", "north", "south", "south"]),
        },
        {"title": "made"},
    )


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_the_grid_stays_what_it_is(engine, ocean, tmp_path, monkeypatch):
    monkeypatch.setattr(netcdf_to_zarr, "_CHUNK_BYTES", 200)
    encoding = {"temp": PACKED}
    if engine == "h5netcdf":
        encoding["salt"] = {"chunksizes": (3, 4, 5)}
    ocean.to_netcdf(tmp_path / "o.nc", engine=engine, encoding=encoding)
    report = convert(tmp_path / "o.nc", tmp_path / "x.zarr")
    assert report["sizes"] == dict(zip(DIMS, SHAPE, strict=True))
    assert "temp (time, lat, lon) int16 [degC]" in told(report)
    with (
        xr.open_zarr(tmp_path / "x.zarr") as found,
        xr.open_dataset(tmp_path / "o.nc", engine=engine) as expected,
    ):
        xr.testing.assert_identical(found.load(), expected.load())
    with xr.open_zarr(tmp_path / "x.zarr", mask_and_scale=False) as stored:
        assert stored.temp.dtype == np.int16
        assert {k: stored.temp.attrs[k] for k in PACKED if k != "dtype"} == {
            k: v for k, v in PACKED.items() if k != "dtype"
        }


def test_integers_whose_fill_value_is_nan_have_none(tmp_path):
    """So files of ERA-Interim are; the copy ended in a traceback."""
    with h5netcdf.File(tmp_path / "o.nc", "w") as file:
        file.dimensions = {"x": 3}
        file.create_variable("a", ("x",), np.int16, data=np.arange(3)).attrs.update(
            {"scale_factor": 0.5, "_FillValue": np.nan}
        )
    convert(tmp_path / "o.nc", tmp_path / "x.zarr")
    with xr.open_zarr(tmp_path / "x.zarr") as found:
        np.testing.assert_array_equal(found.a, [0.0, 0.5, 1.0])


def test_files_follow_one_another_along_time(ocean, tmp_path):
    (tmp_path / "in").mkdir()
    parts = {"b": slice(0, 3), "a": slice(3, 7)}  # not in the order of their names
    for offset, (name, part) in enumerate(parts.items()):
        packed = {**PACKED, "add_offset": float(offset)}
        first = str(ocean.time.values[part.start])[:10]
        encoding = {"temp": packed, "time": {"units": f"hours since {first}"}}
        ocean.isel(time=part).to_netcdf(tmp_path / "in" / f"{name}.nc", encoding=encoding)
    convert(tmp_path / "in", tmp_path / "x.zarr")
    with xr.open_zarr(tmp_path / "x.zarr") as found:
        np.testing.assert_array_equal(found.time, ocean.time)
        np.testing.assert_allclose(found.temp, ocean.temp, atol=1e-12)
        np.testing.assert_array_equal(found.salt, ocean.salt)
        np.testing.assert_array_equal(found.sea, ocean.sea)


WRONG = {
    "two dimensions": (lambda o: o.isel(lat=slice(0, 2)), r"differ along time and lat dimensions"),
    "units": (lambda o: o.assign(temp=o.temp.assign_attrs(units="K")), r"'temp' in 'K'"),
    "a variable": (lambda o: o.drop_vars("salt"), r"variable 'salt' is not in it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_of_other_grids_are_refused_with_a_way_out(name, ocean, tmp_path):
    change, words = WRONG[name]
    (tmp_path / "in").mkdir()
    ocean.isel(time=slice(0, 3)).to_netcdf(tmp_path / "in" / "a.nc")
    change(ocean.isel(time=slice(3, 7))).to_netcdf(tmp_path / "in" / "b.nc")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=rf"{words}.*convert them apart, or .*\(--rows\)"):
        convert(tmp_path / "in", tmp_path / "x.zarr")
    assert tree(tmp_path) == before


def test_what_belongs_to_a_variable_goes_with_it(ocean, tmp_path):
    ocean.temp.attrs["grid_mapping"] = "projection"
    ocean.to_netcdf(tmp_path / "o.nc")
    convert(tmp_path / "o.nc", tmp_path / "x.zarr", variables="temp")
    with xr.open_zarr(tmp_path / "x.zarr") as found:
        assert set(found.variables) == {"temp", "time", "lat", "projection", "basin"}
    with pytest.raises(DataError, match=re.escape("no column 'tmp'") + ".*did you mean 'temp'"):
        convert(tmp_path / "o.nc", tmp_path / "y.zarr", variables="tmp")


@pytest.mark.parametrize("most", [1, 100, 480, 3000, 10**6])
@pytest.mark.parametrize("stored", [(1, 1, 1), (50, 20, 30), (7, 6, 4), (100, 20, 30)])
def test_regions_are_whole_chunks_of_both(stored, most):
    shape = (100, 20, 30)
    chunk, region = chunks_of(shape, stored, 4, most)
    assert 4 * np.prod(chunk) <= max(most, 4)
    for n, own, c, r in zip(shape, stored, chunk, region, strict=True):
        assert r % c == 0
        assert r == n or r % own == 0
    assert 4 * np.prod(region) <= max(most, 4 * np.prod(stored))


def test_no_more_than_a_region_is_read_at_once(ocean, tmp_path):
    ocean.to_netcdf(tmp_path / "o.nc")
    files = GridFiles([Input(Location.parse(tmp_path / "o.nc"))])
    found = np.full(SHAPE, np.inf)
    for where, values in files.blocks("temp", (2, 3, 5)):
        assert values.size <= 30
        assert np.isinf(found[where]).all()
        found[where] = values
    np.testing.assert_array_equal(found, ocean.temp)
