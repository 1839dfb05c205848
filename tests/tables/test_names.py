"""Names of features: kept from all data that have them, and held against other data."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
import zarr

from daskgmm import GaussianMixture, load_model, open_rows, select
from daskgmm.descriptions import info
from daskgmm.errors import DamagedDataError, DataError, ModelFormatError
from daskgmm.tables import known_name

NAMES = ["a", "b", "c"]
PLAIN = {"random_state": 0, "progressive": False}
"""Names are asked for here, and not where fits begin."""


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(150, 3)), rng.normal((8, 0, -4), size=(150, 3))])


def _labelled(x, names):
    return xr.DataArray(x, dims=("row", "feature"), coords={"feature": names})


NAMED = {
    "pandas": lambda x, names: pd.DataFrame(x, columns=names),
    "Dask DataFrame": lambda x, names: dd.from_pandas(
        pd.DataFrame(x, columns=names), npartitions=2
    ),
    "polars": lambda x, names: pl.DataFrame(dict(zip(names, x.T, strict=True))),
    "pyarrow": lambda x, names: pa.table(list(x.T), names),
    "pyarrow, a batch": lambda x, names: pa.RecordBatch.from_arrays(
        list(map(pa.array, x.T)), names
    ),
    "xarray": _labelled,
    "xarray on Dask": lambda x, names: _labelled(x, names).chunk({"row": 100}),
}
NAMELESS = {
    "array": lambda x: x,
    "Dask array": lambda x: da.from_array(x, chunks=(100, 3)),
    "columns that are numbers": lambda x: pd.DataFrame(x),
    "xarray without coordinates": lambda x: xr.DataArray(x),
    "xarray with numbers": lambda x: _labelled(x, [1, 2, 3]),
}


@pytest.fixture(scope="module")
def fitted(x):
    return GaussianMixture(2, **PLAIN).fit(pd.DataFrame(x, columns=NAMES))


def _loaded(fitted, folder):
    fitted.save(folder / "model.zarr")
    return load_model(folder / "model.zarr")


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_names_are_kept(make, x):
    fitted = GaussianMixture(2, **PLAIN).fit(make(x, NAMES))
    assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.feature_names_in_.dtype == object
    assert fitted.to_sklearn().feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("make", NAMELESS.values(), ids=NAMELESS)
def test_a_fit_without_names_forgets_those_of_the_last(make, x):
    model = GaussianMixture(1).fit(pd.DataFrame(x, columns=NAMES)).fit(make(x))
    assert not hasattr(model, "feature_names_in_")


def test_select_keeps_names(x):
    best = select(NAMED["Dask DataFrame"](x, NAMES), [1, 2], **PLAIN).model
    assert best.feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic"])
@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["c", "b", "a"], r"same order.*\n.*X\[list\(model.feature_names_in_\)\]"),
        (
            ["a", "b", "d"],
            "unseen at fit time:\n- d\nFeature names seen at fit time, yet now missi",
        ),
        (["a", "b"], "missing:\n- c"),
        (["a", "b", "c", "d"], "unseen at fit time:\n- d"),
    ],
)
def test_columns_that_are_not_those_of_the_fit_are_refused(method, make, names, said, x, fitted):
    columns = np.column_stack([x, x[:, 0]])[:, : len(names)]
    with pytest.raises(DataError, match=said):
        getattr(fitted, method)(make(columns, names))


def test_a_saved_model_knows_its_names(x, fitted, tmp_path):
    loaded = _loaded(fitted, tmp_path)
    assert loaded.feature_names_in_.tolist() == NAMES
    assert info(str(tmp_path / "model.zarr"))["feature_names"] == NAMES
    with pytest.raises(DataError, match="same order"):
        loaded.score(NAMED["pandas"](x, NAMES[::-1]))
    loaded.save(tmp_path / "again.zarr")
    assert load_model(tmp_path / "again.zarr").feature_names_in_.tolist() == NAMES


def test_a_model_of_before_there_were_names_is_read(x, tmp_path):
    loaded = _loaded(GaussianMixture(1).fit(x), tmp_path)
    assert not hasattr(loaded, "feature_names_in_")


@pytest.mark.parametrize("names", [["a", "b"], "abc", [1, 2, 3]])
def test_a_model_with_names_that_are_none_is_refused(names, fitted, tmp_path):
    fitted.save(tmp_path / "model.zarr")
    zarr.open_group(tmp_path / "model.zarr").attrs["feature_names"] = names
    with pytest.raises(ModelFormatError, match=r"model\.zarr.*feature_names"):
        load_model(tmp_path / "model.zarr")


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_names_that_the_fit_did_not_have_are_said(make, x):
    with pytest.warns(UserWarning, match="fitted without feature names"):
        GaussianMixture(1).fit(x).score(make(x, NAMES))


@pytest.mark.parametrize("make", [NAMELESS["array"], NAMELESS["Dask array"]])
def test_names_that_are_absent_are_said(make, x, fitted):
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.score(make(x))


def test_names_that_are_strings_in_part_are_refused(x):
    with pytest.raises(TypeError, match="only supported if all"):
        GaussianMixture(1).fit(
            dd.from_pandas(pd.DataFrame(x, columns=["a", "b", 3]), npartitions=2)
        )


def test_a_frame_without_names_of_columns_is_fitted_by_their_order(x, fitted):
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(
            fitted.predict(pd.DataFrame(x)), fitted.predict(NAMED["pandas"](x, NAMES))
        )


DOUBLED = {
    "pandas": NAMED["pandas"],
    "Dask DataFrame": NAMED["Dask DataFrame"],
    "pyarrow": NAMED["pyarrow"],
    "xarray": NAMED["xarray"],
    "xarray on Dask": NAMED["xarray on Dask"],
}


@pytest.mark.parametrize("make", DOUBLED.values(), ids=DOUBLED)
def test_names_that_are_doubled_are_refused(make, x, fitted):
    data = make(x, ["a", "b", "a"])
    for door in (GaussianMixture(1).fit, fitted.predict, fitted.score):
        with pytest.raises(DataError, match=r"same name: 'a'; rename") as refused:
            door(data)
        assert "'b'" not in str(refused.value)


def test_names_of_several_levels_are_refused(x):
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")])
    with pytest.raises(DataError, match="2 levels"):
        GaussianMixture(1).fit(pd.DataFrame(x, columns=columns))


def _never():
    raise AssertionError("computed")


def _never_computed(names):
    return dd.from_map(
        lambda i: _never(), range(2), meta=pd.DataFrame({name: [1.0] for name in names})
    )


NEVER_COMPUTED = {
    "Dask DataFrame": _never_computed,
    "xarray on Dask": lambda names: _labelled(
        da.map_blocks(_never, dtype=float, chunks=((5, 5), (len(names),)), meta=np.empty((0, 0))),
        names,
    ),
}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic"])
@pytest.mark.parametrize("make", NEVER_COMPUTED.values(), ids=NEVER_COMPUTED)
@pytest.mark.parametrize("names", [["c", "b", "a"], ["a", "b"], ["a", "b", "d"], ["a", "b", "b"]])
def test_other_names_of_lazy_data_are_refused_before_anything_is_computed(
    method, make, names, fitted
):
    with pytest.raises(DataError, match=r"feature names should match|same name: 'b'"):
        getattr(fitted, method)(make(names))


def test_names_are_held_before_dtypes(x, fitted):
    """As in scikit-learn: who gives a column too many is told that, whatever is in it."""
    data = NAMED["pandas"](x, NAMES).assign(key="text")
    for given in (data, pl.from_pandas(data), dd.from_pandas(data, npartitions=2)):
        with pytest.raises(DataError, match="unseen at fit time:\n- key"):
            fitted.predict(given)


# -- names in errors --------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("make", [NAMED[k] for k in ("pandas", "polars", "pyarrow")])
def test_a_value_that_cannot_be_used_is_told_by_row_and_name(make, value, x, fitted):
    wrong = x.copy()
    wrong[70, 1] = value
    for name in ("fit", "predict", "score_samples", "score", "bic"):
        model = GaussianMixture(2) if name == "fit" else fitted
        with pytest.raises(DataError, match=r"row 70, column 'b' \("):
            getattr(model, name)(make(wrong, NAMES))
    with pytest.raises(DataError, match=r"row 70, column 'b' \("):
        select(make(wrong, NAMES), [1, 2])
    with pytest.raises(DataError, match=r"row 70, column 1 \("):
        GaussianMixture(2).fit(wrong)


def test_a_value_on_dask_is_told_by_name_when_it_is_computed(x, fitted):
    wrong = x.copy()
    wrong[70, 1] = np.nan
    data = NAMED["Dask DataFrame"](wrong, NAMES)
    with pytest.raises(DataError, match=r"row 70, column 'b' \("):
        GaussianMixture(2).fit(data)
    for name in ("predict", "predict_proba", "score_samples"):
        lazy = getattr(fitted, name)(data)
        with pytest.raises(DataError, match=r"row 70, column 'b' \("):
            lazy.compute()


@pytest.mark.parametrize("make", [NAMED[k] for k in ("pandas", "polars", "Dask DataFrame")])
def test_columns_that_are_constant_are_told_by_name(make, x):
    constant = x * [1, 0, 0] + 5.0
    with pytest.raises(
        DataError, match=r"columns 'b', 'c' of the data are constant \(column 'b' is 5"
    ):
        GaussianMixture(1).fit(make(constant, NAMES))


# -- names beside stored rows -------------------------------------------------------------


def _stored(x, names, path, **of_array):
    """Rows in a group, with their names as a coordinate, as xarray writes it."""
    _labelled(x, names).to_dataset(name="x").to_zarr(path, consolidated=False, **of_array)
    return path


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_names_beside_stored_rows_are_kept(zarr_format, x, tmp_path):
    path = _stored(x, NAMES, tmp_path / "x.zarr", zarr_format=zarr_format)
    for data in (path, path / "x", zarr.open_group(path), zarr.open_group(path)["x"]):
        fitted = GaussianMixture(2, **PLAIN).fit(data)
        assert fitted.feature_names_in_.tolist() == NAMES
    fitted.score(x if isinstance(x, pd.DataFrame) else pd.DataFrame(x, columns=NAMES))
    turned = _stored(x, NAMES[::-1], tmp_path / "turned.zarr", zarr_format=zarr_format)
    with pytest.raises(DataError, match="same order"):
        fitted.score(turned)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_names_that_are_lost_are_damage_and_not_names(x, tmp_path):
    path = _stored(x, NAMES, tmp_path / "x.zarr")
    (path / "feature" / "c" / "0").unlink()
    with pytest.raises(DamagedDataError, match="feature"):
        open_rows(path)


@pytest.mark.parametrize("labels", [[1, 2, 3], None], ids=["numbers", "none"])
def test_stored_rows_without_names_have_none(labels, x, tmp_path):
    made = _labelled(x, labels) if labels else xr.DataArray(x, dims=("row", "feature"))
    made.to_dataset(name="x").to_zarr(tmp_path / "x.zarr", consolidated=False)
    assert open_rows(tmp_path / "x.zarr").feature_names is None


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("coslat", ["lat", "lon", "t2m"], "name one of lat, lon, t2m"),
        ("coslatt", ["lat", "lon", "area"], "name one of lat, lon, area"),
        ("aera", ["lat", "area"], "did you mean 'area'?"),
        ("see", ["sea", "ice"], "did you mean 'sea'?"),
    ],
)
def test_names_that_are_near_are_suggested_and_no_others(name, known, said):
    with pytest.raises(DataError) as refused:
        known_name(name, known, "variables")
    assert str(refused.value) == f"there is no {name!r} among the variables; {said}"


def test_a_weight_that_is_like_a_coordinate_alone_gets_all_names():
    data = xr.Dataset({"t": (("lat", "lon"), np.ones((2, 3)))}, {"lat": [0.0, 1.0]})
    with pytest.raises(DataError, match=r"name one of (t, lat|lat, t)$"):
        GaussianMixture().fit(data, sample_weight="coslatt")
