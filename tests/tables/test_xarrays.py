"""xarray: cells of any dimensions, whose results lie where an independent computation puts them."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from daskgmm import GaussianMixture
from daskgmm.errors import DaskGMMWarning, DataError

PLAIN = {"random_state": 0, "progressive": False}
"""For what is asked of cells as rows, wherever fits of them begin."""
DIMS = ("time", "lat", "lon")
SIZES = (4, 5, 60)
CHUNKS = {"time": 2, "lat": 3, "lon": 25}


@pytest.fixture(scope="module")
def ocean():
    """Two variables on a grid, with gaps in either, coordinates, and one that is no dimension's."""
    rng = np.random.default_rng(0)
    temp = rng.normal(size=SIZES) + 5 * (rng.random(SIZES) < 0.4)
    salt = rng.normal(size=SIZES)
    temp[1, 2, 3] = salt[0, 0, :10] = np.nan
    coords = {"time": np.arange(4), "lat": np.linspace(-10, 10, 5), "depth": ("lon", np.arange(60))}
    variables = {"temp": (DIMS, temp, {"units": "degC"}), "salt": (DIMS, salt)}
    return xr.Dataset(variables, coords)


def _table(ocean):
    """Complete cells as rows, by NumPy alone, and where they are."""
    x = np.stack([ocean[name].to_numpy().ravel() for name in ("temp", "salt")], axis=1)
    there = ~np.isnan(x).any(axis=1)
    return pd.DataFrame(x[there], columns=["temp", "salt"]), there.reshape(SIZES)


@pytest.fixture(scope="module")
def fitted(ocean):
    return GaussianMixture(2, random_state=0).fit(_table(ocean)[0])


FORMS = {
    "Dataset": lambda ocean: ocean,
    "features along the last dimension": lambda ocean: ocean.to_dataarray("v").transpose(..., "v"),
    "one dimension of cells": lambda ocean: ocean.stack(cell=DIMS).reset_index("cell"),
    "other order of dimensions in one": lambda ocean: ocean.assign(
        salt=ocean.salt.transpose("lon", "time", "lat")
    ),
}
of_forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@of_forms
def test_a_fit_has_the_bits_of_one_to_the_complete_cells(form, ocean):
    expected = GaussianMixture(2, **PLAIN).fit(_table(ocean)[0])
    model = GaussianMixture(2, **PLAIN).fit(form(ocean))
    np.testing.assert_array_equal(model.means_, expected.means_)
    assert model.n_rows_ == _table(ocean)[1].sum()
    assert list(model.feature_names_in_) == ["temp", "salt"]


@of_forms
@pytest.mark.parametrize("chunks", [None, CHUNKS], ids=["in memory", "on Dask"])
def test_results_lie_where_their_cells_are_and_gaps_where_gaps_were(form, chunks, ocean, fitted):
    data = form(ocean)
    if chunks is not None:
        own = {dim: n for dim, n in chunks.items() if dim in data.dims}
        data = data.chunk(own or {"cell": 70})
    rows, there = _table(ocean)
    for method, fill in (("predict", -2), ("predict_proba", np.nan), ("score_samples", np.nan)):
        found = getattr(fitted, method)(data)
        expected = getattr(fitted, method)(rows)
        if "cell" in found.dims:
            found = found.set_index(cell=DIMS).unstack("cell")
        found = found.transpose(*DIMS, ...)
        assert (found.chunks is not None) == (chunks is not None)
        for name in ("time", "lat"):
            np.testing.assert_array_equal(found[name], ocean[name])
        np.testing.assert_allclose(found.to_numpy()[there], expected, rtol=1e-12)
        np.testing.assert_array_equal(found.to_numpy()[~there], fill)


def test_coordinates_attributes_and_the_fill_come_along(ocean, fitted):
    label, probability = fitted.predict(ocean), fitted.predict_proba(ocean)
    np.testing.assert_array_equal(label.depth, ocean.depth)
    assert label.attrs["flag_meanings"] == "component_0 component_1"
    assert label.encoding["_FillValue"] == -2
    assert probability.dims == (*DIMS, "component")
    assert probability.component.to_numpy().tolist() == [0, 1]


def test_what_is_written_opens_with_gaps_where_gaps_were(ocean, fitted, tmp_path):
    fitted.predict(ocean).to_dataset().to_zarr(tmp_path / "labels.zarr", zarr_format=2)
    again = xr.open_zarr(tmp_path / "labels.zarr").labels
    np.testing.assert_array_equal(np.isnan(again), ~_table(ocean)[1])


def test_on_dask_a_fit_is_the_same_to_rounding_and_chunks_stay(ocean, fitted):
    lazy = ocean.chunk(CHUNKS)
    model = GaussianMixture(2, random_state=0).fit(lazy)
    by_weight = np.argsort(model.weights_), np.argsort(fitted.weights_)
    np.testing.assert_allclose(
        model.means_[by_weight[0]], fitted.means_[by_weight[1]], rtol=0, atol=0.05
    )
    assert model.n_rows_ == fitted.n_rows_
    assert fitted.predict(lazy).chunks == lazy.temp.chunks


def test_nothing_is_computed_before_it_is_asked_for(ocean, fitted):
    def refuse(*args, **kwargs):
        raise AssertionError("computed at the call")

    lazy = ocean.chunk(CHUNKS)
    with dask.config.set(scheduler=refuse):
        found = fitted.predict_proba(lazy)
    assert found.name == "probabilities"
    assert fitted.predict(lazy).data.name == fitted.predict(lazy).data.name


def test_variables_in_memory_beside_others_on_dask(ocean, fitted):
    mixed = ocean.assign(temp=ocean.temp.chunk(CHUNKS))
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.predict(ocean))


def test_scores_are_of_the_complete_cells(ocean, fitted):
    rows = _table(ocean)[0]
    for data in (ocean, ocean.chunk(CHUNKS)):
        np.testing.assert_allclose(fitted.score(data), fitted.score(rows), rtol=1e-13)
        np.testing.assert_allclose(fitted.bic(data), fitted.bic(rows), rtol=1e-13)


def test_packed_values_are_decoded_as_xarray_decodes_them(ocean, fitted, tmp_path):
    packed = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 3.0, "_FillValue": -9999}
    how = {"temp": packed, "salt": packed}
    ocean.to_zarr(tmp_path / "packed.zarr", encoding=how, zarr_format=2)
    codes = xr.open_zarr(tmp_path / "packed.zarr", mask_and_scale=False)
    assert codes.temp.dtype == "i2"
    decoded = xr.open_zarr(tmp_path / "packed.zarr")
    np.testing.assert_array_equal(fitted.predict(codes), fitted.predict(decoded))
    np.testing.assert_array_equal(
        fitted.predict(codes.temp.to_dataset().assign(salt=codes.salt)) < 0, ~_table(ocean)[1]
    )


def test_infinity_is_no_gap(ocean, fitted):
    wrong = ocean.copy(deep=True)
    wrong.temp[3, 4, 59] = np.inf
    with pytest.raises(DataError, match=r"row 1,?199"):
        fitted.predict(wrong)


REFUSED = {
    "another shape": (
        lambda ocean: ocean.assign(area=("lat", np.ones(5))),
        r"variable 'area' has dimensions .*leave it out with \.drop_vars\('area'\)",
    ),
    "text": (
        lambda ocean: ocean.assign(ship=(DIMS, np.full(SIZES, "a"))),
        r"variable 'ship' has dtype <U1; features are numbers: leave it out",
    ),
    "dates": (
        lambda ocean: ocean.assign(when=(DIMS, np.zeros(SIZES, "M8[ns]"))),
        r"variable 'when' has dtype datetime64\[ns\]",
    ),
    "no variables": (lambda ocean: ocean[[]], "no data variables"),
    "no dimensions": (lambda ocean: ocean.isel(time=0, lat=0, lon=0), "no dimensions"),
    "features of no size": (
        lambda ocean: ocean.to_dataarray("v").transpose(..., "v")[..., :0],
        r"the DataArray has no features: .*'v': 0",
    ),
    "cells of no size": (lambda ocean: ocean.isel(lat=[]), r"the Dataset has no cells: .*'lat': 0"),
    "no complete cell": (lambda ocean: ocean * np.nan, "each of the 1,200 rows has a gap"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_feature_is_refused_by_name(make, said, ocean):
    for data in (make(ocean), make(ocean).chunk()):
        with pytest.raises(DataError, match=said):
            GaussianMixture(2).fit(data)


@pytest.mark.parametrize("name", [None, "v"])
def test_a_dataarray_of_classes_or_dates_cannot_leave_itself_out(name):
    x = np.random.default_rng(0).normal(size=(50, 2))
    flags = {"flag_values": [1, 2], "flag_meanings": "a b"}
    named = xr.DataArray(x, dims=("row", "v"), name=name, attrs=flags)
    with pytest.raises(DataError, match="has flag_meanings") as refused:
        GaussianMixture(1).fit(named)
    assert "drop_vars" not in str(refused.value)
    assert "drop flag_meanings and flag_values from its attrs" in str(refused.value)
    named.attrs = {}
    GaussianMixture(1).fit(named)
    with pytest.raises(DataError, match=r"features are numbers: convert it first$"):
        GaussianMixture(1).fit(named.astype("M8[s]"))


def test_variables_are_taken_by_their_names(ocean, fitted):
    expected = fitted.predict(ocean)
    np.testing.assert_array_equal(fitted.predict(ocean[["salt", "temp"]]), expected)
    beside = ocean.assign(ship=(DIMS, np.full(SIZES, "a")))
    np.testing.assert_array_equal(fitted.predict(beside), expected)
    with pytest.raises(DataError, match="unseen at fit time:\n- speed"):
        fitted.predict(ocean.rename(salt="speed"))


# -- weights ----------------------------------------------------------------------------


def _weights(ocean):
    return np.random.default_rng(1).uniform(0.5, 2.0, ocean.temp.size)


def test_weights_are_those_of_cells_with_gaps_or_without(ocean):
    weights = _weights(ocean)
    rows, there = _table(ocean)
    expected = np.average(rows, axis=0, weights=weights[there.ravel()])
    found = GaussianMixture(1).fit(ocean, sample_weight=weights)
    np.testing.assert_allclose(found.means_[0], expected, rtol=1e-12)
    whole = ocean.fillna(0.0)
    lazy = whole.chunk(time=2, lat=-1, lon=-1)
    by_cells = GaussianMixture(1).fit(lazy, sample_weight=weights)
    expected = GaussianMixture(1).fit(whole, sample_weight=weights)
    np.testing.assert_allclose(by_cells.means_, expected.means_, rtol=1e-12)


def test_weights_that_cannot_be_aligned_are_refused_with_a_way_out(ocean):
    whole, weights = ocean.fillna(0.0).chunk(CHUNKS), _weights(ocean)
    with pytest.raises(DataError, match=r"along 'time' alone, as \.chunk\((.*)\)$") as refused:
        GaussianMixture(1).fit(whole, sample_weight=weights)
    chunks = eval(str(refused.value).rpartition(".chunk(")[2][:-1])
    GaussianMixture(1).fit(whole.chunk(chunks), sample_weight=weights)


NO_WEIGHTS = {
    "a Dataset": (lambda w: xr.Dataset({"w": ("x", w)}), "Dataset; give one of its variables"),
    "dates": (lambda w: w.astype("M8[s]"), "has dtype datetime64"),
    "ragged": (lambda w: [1, [2, 3]], "no array of numbers"),
    "masked": (lambda w: np.ma.masked_less(w, 1.0), "masked"),
}


@pytest.mark.parametrize(("spoil", "said"), NO_WEIGHTS.values(), ids=NO_WEIGHTS)
@pytest.mark.parametrize("chunks", [None, {}], ids=["memory", "Dask"])
def test_weights_that_are_no_numbers_for_cells_are_refused(spoil, said, chunks, ocean):
    data = ocean.fillna(0.0) if chunks is None else ocean.fillna(0.0).chunk()
    with pytest.raises(DataError, match=said):
        GaussianMixture(1).fit(data, sample_weight=spoil(_weights(ocean)))


# -- names and declarations that are in the way -----------------------------------------


def test_a_dimension_of_any_name_is_decoded(ocean, fitted):
    features = ocean.to_dataarray("v").transpose(..., "v").rename(lat="x", lon="data")
    codes = features.fillna(-999.0).assign_attrs(_FillValue=-999.0)
    np.testing.assert_array_equal(fitted.predict(codes), fitted.predict(features))


def test_subclasses_are_known(ocean, fitted):
    class Own(xr.DataArray):
        __slots__ = ()

    own = Own(ocean.to_dataarray("v").transpose(..., "v"))
    np.testing.assert_array_equal(fitted.predict(own), fitted.predict(ocean))


def test_coordinates_on_dask_cut_no_chunks(ocean, fitted):
    area = xr.DataArray(np.ones(SIZES[1:]), dims=DIMS[1:]).chunk(lat=1, lon=7)
    lazy = ocean.chunk(CHUNKS)
    assert fitted.predict(lazy.assign_coords(area=area)).chunks == lazy.temp.chunks


DOUBTFUL = {
    "labels of another fit": (
        lambda ocean, model: model.fit(ocean.assign(label=model.predict(ocean))),
        r"variable 'label' has flag_\w+, .*\.drop_vars\('label'\)",
    ),
    "decoded by hand": (
        lambda ocean, model: model.fit(
            ocean.assign(temp=ocean.temp.assign_attrs(scale_factor=0.001))
        ),
        r"variable 'temp' has dtype float64 and scale_factor",
    ),
    "a dimension of components": (
        lambda ocean, model: model.predict_proba(ocean.rename(lat="component")),
        r"rename it with \.rename\(component=\.\.\.\)",
    ),
    "weights for other rows": (
        lambda ocean, model: model.fit(ocean, sample_weight=np.ones(7)),
        r"7 weights, but the grid of cells has 1200 rows",
    ),
}


@pytest.mark.parametrize(("use", "said"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_is_doubtful_is_refused(use, said, ocean):
    model = GaussianMixture(2, **PLAIN).fit(ocean)
    with pytest.raises(DataError, match=said):
        use(ocean, model)


@pytest.mark.parametrize("chunks", [None, {"x": 5}], ids=["memory", "Dask"])
def test_cells_that_all_have_gaps_are_refused_in_the_same_words(chunks):
    """On Dask it was an array without rows."""
    x = np.arange(20.0)
    data = xr.Dataset({"a": ("x", x), "b": ("x", np.full(20, np.nan))})
    with pytest.raises(DataError, match="each of the 20 rows has a gap"):
        GaussianMixture(1).fit(data if chunks is None else data.chunk(chunks))


@pytest.mark.parametrize("told_by", ["name", "axis", "standard_name"])
def test_features_along_a_dimension_of_places_are_warned_of(told_by):
    """A field (time, lat, lon) of one variable is easily taken for rows of one feature."""
    dim = "lon" if told_by == "name" else "i"
    x = np.random.default_rng(0).normal(size=(5, 40, 3))
    field = xr.DataArray(x, {dim: np.arange(3.0)}, ("time", "lat", dim), "t")
    if told_by != "name":
        field[dim].attrs[told_by] = {"axis": "X", "standard_name": "longitude"}[told_by]
    with pytest.warns(
        DaskGMMWarning, match=f"the 3 values along '{dim}'.*are taken for the features"
    ):
        model = GaussianMixture(1).fit(field)
    model.predict(field)  # it is known by then
    # Both ways out work.
    assert GaussianMixture(1).fit(field.to_dataset(name="x")).n_features_in_ == 1
    assert GaussianMixture(1).fit(field.transpose("lat", dim, "time")).n_features_in_ == 5
