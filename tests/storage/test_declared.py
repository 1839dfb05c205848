"""What storage says of its values: they are decoded as xarray decodes them, or refused by name."""

from __future__ import annotations

import base64
import pickle
import struct

import numpy as np
import pytest
import xarray as xr
import zarr

from daskgmm import GaussianMixture
from daskgmm.errors import DataError, NonFiniteError
from daskgmm.storage import open_source

N = 600


def _rows(gaps: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = 283.7 + rng.normal(size=(N, 2))
    x[N // 2 :] += [8, -4]
    if gaps:
        x[7::20, 1] = np.nan
    return x


def _written(path, x, encoding, version, attrs=None):
    data = xr.Dataset({"x": (("n", "f"), x, attrs or {})})
    chunks = {"chunks": (100, 2)}
    data.to_zarr(
        path, zarr_format=version, encoding={"x": {**encoding, **chunks}}, consolidated=False
    )
    return path / "x"


ENCODINGS = {
    "packed": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 283.73, "_FillValue": -32768},
    "packed-uint8": {"dtype": "uint8", "scale_factor": 0.2, "add_offset": 270.0, "_FillValue": 255},
    "scale": {"dtype": "int32", "scale_factor": 0.5, "_FillValue": -1},
    "offset": {"dtype": "int32", "add_offset": -200.0, "_FillValue": -999},
    "packed-float": {"dtype": "float32", "scale_factor": 2.0, "_FillValue": 1e20},
    "fill": {"dtype": "float32", "_FillValue": -9999.0},
    "fill-int": {"dtype": "int16", "_FillValue": -1},
    "big-endian": {"dtype": ">i2", "scale_factor": 0.01, "add_offset": 283.7, "_FillValue": -7},
    "nan": {"dtype": "float64", "_FillValue": np.nan},
    "missing_value": {"dtype": "int16", "missing_value": -5, "_FillValue": -5},
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ENCODINGS)
def test_rows_are_what_xarray_reads(tmp_path, name, version):
    place = _written(tmp_path / "a.zarr", _rows(gaps=True), ENCODINGS[name], version)
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as data:
        expected = data["x"].to_numpy()
    source = pickle.loads(pickle.dumps(open_source(place)))
    got = source.read(0, N)
    assert got.dtype == source.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)  # xarray packs small ones in float32
    np.testing.assert_array_equal(source.read(150, 333), got[150:333])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["packed", "fill", "fill-int"])
def test_missing_values_are_refused_by_row(tmp_path, name, version):
    place = _written(tmp_path / "a.zarr", _rows(gaps=True), ENCODINGS[name], version)
    declared = r"row 7, column 1 \(nan\); the store declares values missing by \w*[fF]ill"
    with pytest.raises(NonFiniteError, match=declared):
        GaussianMixture(1).fit(place)
    model = GaussianMixture(1).fit(_rows())
    with pytest.raises(NonFiniteError, match="the store declares values missing"):
        model.score(place)
    with pytest.raises(NonFiniteError, match="the store declares values missing"):
        model.predict(place).compute()


def test_a_missing_row_of_weight_0_is_absent(tmp_path):
    x = _rows(gaps=True)
    place = _written(tmp_path / "a.zarr", x, ENCODINGS["packed"], 3)
    weight = np.isfinite(x).all(axis=1).astype(float)
    model = GaussianMixture(1).fit(place, sample_weight=weight)
    kept = x[weight > 0]
    np.testing.assert_allclose(model.means_[0], kept.mean(axis=0), atol=0.01)


def test_the_fit_of_packed_rows_is_that_of_the_numbers(tmp_path):
    place = _written(tmp_path / "a.zarr", _rows(), ENCODINGS["packed"], 3)
    packed = GaussianMixture(2, random_state=0).fit(place)
    plain = GaussianMixture(2, random_state=0).fit(open_source(place).read(0, N))
    np.testing.assert_allclose(packed.means_, plain.means_, rtol=1e-8)


def _array(path, values, **attributes):
    array = zarr.create_array(path, data=np.asarray(values), chunks=(100, 2))
    array.attrs.update(attributes)
    return path


def test_unsigned_integers_of_netcdf_3(tmp_path):
    values = np.array([[-1, 5], [-128, 3], [7, 1]], np.int8)
    place = _array(tmp_path / "x", values, _Unsigned="true", _FillValue=-128, scale_factor=0.5)
    np.testing.assert_array_equal(
        open_source(place).read(0, 3), [[127.5, 2.5], [np.nan, 1.5], [3.5, 0.5]]
    )


BOUNDS = {
    "range of codes": {"valid_range": [0, 9]},
    "ends": {"valid_min": 0, "valid_max": 9},
    "range of numbers": {"valid_range": [100.0, 104.5]},
}


@pytest.mark.parametrize("name", BOUNDS)
def test_values_that_are_not_valid_are_missing(tmp_path, name):
    values = np.array([[-1, 0], [9, 10], [4, 5]], np.int16)
    place = _array(tmp_path / "x", values, scale_factor=0.5, add_offset=100.0, **BOUNDS[name])
    np.testing.assert_array_equal(
        open_source(place).read(0, 3), [[np.nan, 100.0], [104.5, np.nan], [102.0, 102.5]]
    )


def test_one_end_of_a_range(tmp_path):
    place = _array(tmp_path / "x", np.array([[-3.0, 0.0], [1.0, 2.0]], np.float32), valid_min=0)
    source = open_source(place)
    assert source.dtype == np.float32
    np.testing.assert_array_equal(source.read(0, 2), [[np.nan, 0.0], [1.0, 2.0]])


def test_several_missing_values_beside_a_fill_value(tmp_path):
    text = base64.b64encode(struct.pack("<d", -9999.0)).decode()
    x = np.array([[1.0, -9999.0], [-8.0, 2.0], [-7.0, 3.0]])
    place = _array(tmp_path / "x", x, _FillValue=text, missing_value=[-8, -7.0])
    assert np.isnan(open_source(place).read(0, 3)).tolist() == [[0, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("scale_factor", "fast"),
        ("scale_factor", [0.1, 0.2]),
        ("scale_factor", 0.0),
        ("scale_factor", float("nan")),
        ("add_offset", {"of": 3}),
        ("add_offset", float("inf")),
        ("_FillValue", "none"),
        ("missing_value", ["a", 3]),
        ("valid_range", [1, 2, 3]),
        ("valid_min", "low"),
        ("_Unsigned", "perhaps"),
        ("flag_values", [0, 1, 2]),
        ("flag_masks", [1, 2, 4]),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_name(tmp_path, attribute, value):
    place = _array(tmp_path / "x", np.ones((4, 2), np.int16), **{attribute: value})
    with pytest.raises(DataError, match=attribute):
        open_source(place)


def test_a_fill_value_of_plain_zarr_is_a_value(tmp_path):
    x = np.array([[0.0, 1.0], [2.0, 0.0]])
    for version in (2, 3):
        place = tmp_path / f"v{version}"
        zarr.create_array(place, data=x, zarr_format=version, fill_value=0)
        np.testing.assert_array_equal(open_source(place).read(0, 2), x)


def test_other_attributes_are_another_fingerprint(tmp_path):
    values = np.arange(20, dtype=np.int16).reshape(10, 2)
    one = open_source(_array(tmp_path / "one", values, scale_factor=0.5, valid_max=100))
    two = open_source(_array(tmp_path / "two", values, scale_factor=0.5, valid_max=101))
    rows = [source.fingerprint().partition(" ")[0] for source in (one, two)]
    assert rows[0] != rows[1]
