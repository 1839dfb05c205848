"""A group with one array beside coordinates along its dimensions is that array."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from daskgmm.errors import DataError
from daskgmm.storage import open_source


@pytest.mark.parametrize("version", [2, 3])
def test_what_xarray_wrote_is_one_array_beside_coordinates(tmp_path, version):
    x = np.random.default_rng(0).normal(size=(30, 2))
    data = xr.Dataset({"x": (("row", "feature"), x)}, {"feature": [1.5, 2.5], "row": np.arange(30)})
    data.to_zarr(tmp_path / "x.zarr", zarr_format=version, consolidated=False)
    np.testing.assert_array_equal(open_source(tmp_path / "x.zarr").read(0, 30), x)


def test_coordinates_are_not_among_the_arrays_to_name(tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    for name, dims in (("x", ("row", "f")), ("y", ("row", "f")), ("f", ("f",))):
        group.create_array(name, data=np.ones((2,) * len(dims)), dimension_names=dims)
    with pytest.raises(DataError, match=r"holds 2 arrays: x \(2, 2\) float64, y \(2, 2\) float64;"):
        open_source(tmp_path / "g.zarr")


def test_a_coordinate_alone_is_an_array_like_any_other(tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("x", data=np.ones(3), dimension_names=["x"])
    with pytest.raises(DataError, match=r"g.zarr/x has shape \(3,\)"):
        open_source(tmp_path / "g.zarr")
