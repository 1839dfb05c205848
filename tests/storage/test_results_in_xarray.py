"""Results for each row open in xarray, and in plain zarr, without this package.

Warnings are errors here, as everywhere in these tests: an opening that warns fails.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from daskgmm.storage import ResultArray, RowAxes, RowOutput, Variable, open_source

N_ROWS = 250
LABELS = ResultArray(np.dtype("i4"), -2, attributes={"long_name": "label", "flag_values": [0, 1]})
DENSITY = ResultArray(np.dtype("f8"), np.nan)
BY_COMPONENT = ResultArray(np.dtype("f4"), np.nan, ("component",), (2,), {"units": "1"})


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"memory://results-{tmp_path.name}"


def test_results_lie_side_by_side(root):
    rng = np.random.default_rng(0)
    values = {
        "labels": rng.integers(-2, 2, size=N_ROWS).astype("i4"),
        "density": np.where(rng.random(N_ROWS) < 0.2, np.nan, rng.normal(size=N_ROWS)),
        "probabilities": rng.random((N_ROWS, 2)).astype("f4"),
    }
    results = {"labels": LABELS, "density": DENSITY, "probabilities": BY_COMPONENT}
    axes = RowAxes((N_ROWS,), coordinates={"component": Variable(("component",), np.arange(2))})
    about = {"model": "m.zarr", "n": np.int64(3)}
    with RowOutput.create(
        f"{root}/r.zarr", axes, results, partition_rows=100, attributes=about
    ) as output:
        for start in range(0, N_ROWS, 100):
            block = {name: v[start : start + 100] for name, v in values.items()}
            output.writer.write(start, block)
    plain = zarr.open_group(f"{root}/r.zarr", mode="r")
    for name, expected in values.items():
        np.testing.assert_array_equal(plain[name][...], expected)
        assert plain[name].chunks[0] == 100
    assert plain["labels"].fill_value == -2
    found = xr.open_zarr(f"{root}/r.zarr")
    assert found.attrs["model"], found.attrs["n"] == ("m.zarr", 3)
    assert dict(found.sizes) == {"row": N_ROWS, "component": 2}
    assert found.probabilities.dims == ("row", "component")
    assert found.labels.chunks is not None  # lazily, on Dask
    assert set(found.coords) == {"component"}
    gaps = values["labels"] == -2
    np.testing.assert_array_equal(np.isnan(found.labels), gaps)
    np.testing.assert_array_equal(found.labels[~gaps], values["labels"][~gaps])
    assert found.labels.encoding["_FillValue"] == -2
    assert np.isnan(found.density.encoding["_FillValue"])
    assert found.labels.attrs == {"long_name": "label", "flag_values": [0, 1]}
    as_stored = xr.open_zarr(f"{root}/r.zarr", mask_and_scale=False)
    np.testing.assert_array_equal(as_stored.labels, values["labels"])
    assert as_stored.labels.dtype == np.int32


def test_results_can_lie_on_a_grid(tmp_path):
    """Written along its first dimension, with the coordinates of whoever has the grid."""
    values = np.arange(6 * 4 * 5, dtype="i4").reshape(6, 4, 5)
    coordinates = {"lat": Variable(("lat",), np.linspace(-3, 3, 4), {"units": "degrees_north"})}
    axes = RowAxes(values.shape, ("time", "lat", "lon"), coordinates)
    results = {"labels": LABELS, "p": BY_COMPONENT}
    with RowOutput.create(tmp_path / "r.zarr", axes, results, partition_rows=2) as output:
        for start in (0, 2, 4):
            block = values[start : start + 2]
            output.writer.write(start, {"labels": block, "p": np.zeros((*block.shape, 2), "f4")})
    found = xr.open_zarr(tmp_path / "r.zarr")
    assert found.p.dims == ("time", "lat", "lon", "component")
    assert found.lat.attrs["units"] == "degrees_north"
    np.testing.assert_array_equal(found.labels, values)


def test_one_result_beside_its_coordinates_is_the_array_of_the_group(tmp_path):
    probabilities = np.random.default_rng(0).random((40, 2)).astype("f4")
    axes = RowAxes((40,), coordinates={"component": Variable(("component",), np.arange(2))})
    results = {"probabilities": BY_COMPONENT}
    with RowOutput.create(tmp_path / "p.zarr", axes, results, partition_rows=40) as output:
        output.writer.write(0, {"probabilities": probabilities})
    for data in (tmp_path / "p.zarr", zarr.open_group(tmp_path / "p.zarr", mode="r")):
        source = open_source(data)
        np.testing.assert_array_equal(source.read(0, 40), probabilities)
