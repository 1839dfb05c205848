"""Units go with a model; data in other units are warned of, by feature, and taken as they are."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from daskgmm import GaussianMixture, job, load_model, open_rows
from daskgmm.conversion.convert import convert
from daskgmm.errors import DaskGMMWarning

CELSIUS = {"temp": "degC", "salt": ""}


def _grid(units):
    rng = np.random.default_rng(0)
    made = {name: (("lat", "lon", "level"), rng.normal(size=(30, 20, 2))) for name in units}
    ocean = xr.Dataset(made)
    for name, unit in units.items():
        if unit:
            ocean[name].attrs["units"] = unit
    return ocean


def _stored_grid(units, folder):
    path = folder / f"{'-'.join(units.values())}.zarr"
    _grid(units).to_zarr(path, consolidated=False)
    return open_rows(path, variables=list(units), feature_dim="level")


def _parquet(units, folder):
    path = folder / f"{'-'.join(units.values())}.parquet"
    x = np.random.default_rng(0).normal(size=(600, 2))
    fields = [
        pa.field(n, pa.float64(), metadata={"units": u} if u else None) for n, u in units.items()
    ]
    pq.write_table(pa.table(list(x.T), schema=pa.schema(fields)), path)
    return path


def _converted(units, folder):
    rows = _parquet(units, folder)
    convert(str(rows), str(rows.with_suffix(".zarr")))
    return rows.with_suffix(".zarr")


FORMS = {
    "Dataset": lambda units, folder: _grid(units).isel(level=0),
    "Dataset on Dask": lambda units, folder: _grid(units).isel(level=0).chunk(lat=10),
    "features along a dimension": lambda units, folder: open_rows(
        _grid(units), feature_dim="level"
    ),
    "stored grid": _stored_grid,
    "Parquet": _parquet,
    "rows that were converted": _converted,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_units_are_warned_of_and_equal_or_absent_ones_are_not(form, tmp_path):
    data = form(CELSIUS, tmp_path)
    GaussianMixture(1).fit(data).save(tmp_path / "model.zarr")
    model = load_model(tmp_path / "model.zarr")
    names, units = model.feature_names_in_, model.record()["feature_units"]
    assert all(
        CELSIUS[name.partition("_")[0]] == unit for name, unit in zip(names, units, strict=True)
    )
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "model.zarr").units, units)
    expected = model.score(data)  # warnings are errors here
    model.score(form({"temp": "", "salt": "1e-3"}, tmp_path))
    for unit in ("K", "celsius"):
        other = form({"temp": unit, "salt": ""}, tmp_path)
        said = rf"temp\w* is in '{unit}' and was in 'degC'.*convert the values first"
        with pytest.warns(DaskGMMWarning, match=said):
            assert model.score(other) == expected
        with pytest.warns(DaskGMMWarning, match=said):
            model.predict(other)
    with pytest.warns(DaskGMMWarning, match="is in 'celsius'"):
        model.update(other)
    assert model.record()["feature_units"] == units


def test_results_that_are_written_are_warned_of_too(tmp_path):
    GaussianMixture(1).fit(_parquet(CELSIUS, tmp_path)).save(tmp_path / "model.zarr")
    other = _parquet({"temp": "K", "salt": ""}, tmp_path)
    model, labels = str(tmp_path / "model.zarr"), {"labels": str(tmp_path / "labels.zarr")}
    with pytest.warns(DaskGMMWarning, match="temp is in 'K' and was in 'degC'"):
        job.predict(str(other), model, labels)


def test_a_model_of_rows_without_units_says_nothing_of_any(tmp_path):
    data = _parquet({"temp": "K", "salt": ""}, tmp_path)
    model = GaussianMixture(1).fit(data)
    plain = np.random.default_rng(0).normal(size=(600, 2))
    model.fit(plain)
    assert "feature_units" not in model.record()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has names
        warnings.simplefilter("error", DaskGMMWarning)
        model.score(data)
