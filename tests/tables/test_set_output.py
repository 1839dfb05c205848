"""set_output: results in the containers that were asked for, of the same bits, lazily where it is.

The oracle is the array that comes without it, and the index of what came in.
"""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import xarray as xr
from made_data import write_store
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskgmm import GaussianMixture
from daskgmm.errors import DataError, ParameterError

N, K = 300, 3
PLAIN = {"random_state": 0, "progressive": False}
METHODS = ["predict", "predict_proba", "score_samples"]
NAMES = {"predict": "labels", "score_samples": "log_density"}
COMPONENTS = [f"component_{k}" for k in range(K)]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(c, 1, (N // K, 2)) for c in ((0, 0), (9, 0), (0, 9))])
    index = pd.Index(rng.permutation(N) + 1000, name="id")
    return pd.DataFrame(x, columns=["a", "b"], index=index)


@pytest.fixture(scope="module")
def model_of_frame(frame):
    return GaussianMixture(K, random_state=0).fit(frame)


@pytest.fixture
def fitted(model_of_frame):
    """One that a test may give another choice of containers."""
    return clone_of(model_of_frame)


def _expected(fitted, frame, method):
    return getattr(clone_of(fitted), method)(frame)


def clone_of(fitted):
    return pickle.loads(pickle.dumps(fitted)).set_output(transform="default")


def _in_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def _refuse(*args, **kwargs):
    raise AssertionError("computed at the call")


@pytest.mark.parametrize("method", METHODS)
def test_arrays_come_by_default(method, fitted, frame):
    for data in (frame, pl.from_pandas(frame), _in_arrow(frame)):
        assert isinstance(getattr(fitted, method)(data), np.ndarray)
    assert isinstance(getattr(fitted, method)(dd.from_pandas(frame.sort_index(), 2)), da.Array)


@pytest.mark.parametrize("method", METHODS)
def test_pandas_keeps_the_index(method, fitted, frame):
    expected = _expected(fitted, frame, method)
    found = getattr(fitted.set_output(transform="pandas"), method)(frame)
    if method == "predict_proba":
        oracle = pd.DataFrame(expected, columns=COMPONENTS, index=frame.index)
        pd.testing.assert_frame_equal(found, oracle)
    else:
        oracle = pd.Series(expected, index=frame.index, name=NAMES[method])
        pd.testing.assert_series_equal(found, oracle)


@pytest.mark.parametrize("method", METHODS)
def test_polars(method, fitted, frame):
    data = pl.from_pandas(frame)
    expected = _expected(fitted, frame, method)
    found = getattr(fitted.set_output(transform="polars"), method)(data)
    if method == "predict_proba":
        assert isinstance(found, pl.DataFrame)
        assert found.columns == COMPONENTS
    else:
        assert isinstance(found, pl.Series)
        assert found.name == NAMES[method]
    np.testing.assert_array_equal(found.to_numpy(), expected)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("data", [np.asarray, lambda f: _in_arrow(f), lambda f: pl.from_pandas(f)])
def test_pandas_of_what_has_no_index_counts_rows(data, fitted, frame):
    found = fitted.set_output(transform="pandas").predict(data(frame))
    assert found.index.equals(pd.RangeIndex(N))


def test_fit_predict_is_as_predict(frame):
    model = GaussianMixture(K, **PLAIN).set_output(transform="pandas")
    found = model.fit_predict(frame)
    pd.testing.assert_series_equal(found, model.predict(frame))


# -- lazy data ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_dask_frame_keeps_partitions_and_index_and_computes_nothing(method, fitted, frame):
    lazy = dd.from_pandas(frame.sort_index(), npartitions=4)
    expected = _expected(fitted, frame.sort_index(), method)
    fitted.set_output(transform="pandas")
    with dask.config.set(scheduler=_refuse):
        found = getattr(fitted, method)(lazy)
    assert found.divisions == lazy.divisions
    assert found._name == getattr(fitted, method)(lazy)._name
    computed = found.compute()
    assert computed.index.equals(frame.sort_index().index)
    np.testing.assert_array_equal(computed.to_numpy(), expected)
    if method == "predict_proba":
        assert found.columns.tolist() == computed.columns.tolist() == COMPONENTS
    else:
        assert found.name == computed.name == NAMES[method]
    assert len(found.partitions[1].compute()) == len(lazy.partitions[1].compute())


def test_partitions_are_read_once_for_results_and_index(fitted, frame):
    read = []

    def part(i):
        read.append(i)
        return frame.iloc[100 * i : 100 * (i + 1)]

    lazy = dd.from_map(part, range(3), meta=frame.iloc[:0])
    found = fitted.set_output(transform="pandas").predict(lazy).compute(scheduler="sync")
    assert sorted(read) == [0, 1, 2]
    pd.testing.assert_index_equal(found.index, frame.index)


def test_results_can_be_put_beside_the_data(fitted, frame):
    lazy = dd.from_pandas(frame.sort_index(), npartitions=3)
    labels = fitted.set_output(transform="pandas").predict(lazy)
    counted = lazy.assign(label=labels).groupby("label").size().compute()
    assert counted.tolist() == np.bincount(_expected(fitted, frame, "predict")).tolist()


def test_nullable_columns_and_empty_partitions_on_dask(fitted, frame):
    lazy = dd.from_pandas(frame.sort_index().astype("Float64"), npartitions=3)
    lazy = lazy[lazy["a"] > 4.5]  # of sorted labels, at random
    few = dd.concat([lazy, dd.from_pandas(frame.iloc[:1].astype("Float64")).loc[10**6 :]])
    found = fitted.set_output(transform="pandas").predict(few).compute()
    kept = frame.sort_index()[lambda f: f["a"] > 4.5]
    pd.testing.assert_index_equal(found.index, kept.index)
    np.testing.assert_array_equal(found, _expected(fitted, kept, "predict"))


def test_a_gap_on_dask_is_told_by_its_partition_and_name(fitted, frame):
    wrong = frame.sort_index()
    wrong.iloc[200, 1] = np.nan
    lazy = fitted.set_output(transform="pandas").predict(dd.from_pandas(wrong, npartitions=3))
    first = wrong.index[100 * (200 // 100)]
    with pytest.raises(DataError, match=rf"index begins with {first}, .*row 0, column 'b'"):
        lazy.compute()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_lazy_data_become_dask_frames(fitted, frame, tmp_path):
    x = frame.to_numpy()
    fitted.set_output(transform="pandas")
    for data in (da.from_array(x, chunks=(100, 2)), str(write_store(tmp_path / "x.zarr", x, 100))):
        with dask.config.set(scheduler=_refuse):
            labels, probabilities = fitted.predict(data), fitted.predict_proba(data)
        assert labels.name == "labels"
        np.testing.assert_array_equal(labels.compute(), _expected(fitted, frame, "predict"))
        assert labels.compute().index.equals(pd.RangeIndex(N))
        assert probabilities.columns.tolist() == COMPONENTS


def test_polars_of_lazy_data_is_refused_with_the_way_out(fitted, frame):
    lazy = dd.from_pandas(frame.sort_index(), npartitions=2)
    with pytest.raises(ParameterError, match=r"set_output\(transform='pandas'\)"):
        fitted.set_output(transform="polars").predict(lazy)


def test_grids_stay_grids(fitted, frame):
    cells = xr.Dataset({name: ("row", frame[name]) for name in frame})
    for container in ("pandas", "polars"):
        found = fitted.set_output(transform=container).predict(cells)
        assert isinstance(found, xr.DataArray)


# -- scikit-learn's habits --------------------------------------------------------------------


def test_clones_keep_the_choice(fitted, frame):
    model = clone(GaussianMixture(K, **PLAIN).set_output(transform="pandas")).fit(frame)
    assert isinstance(model.predict(frame), pd.Series)
    assert isinstance(model.set_output().predict(frame), pd.Series)
    assert isinstance(model.set_output(transform="default").predict(frame), np.ndarray)


def test_what_transformers_return_is_no_matter_of_labels(fitted, frame):
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(fitted.predict(frame), np.ndarray)
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(K, **PLAIN))
    pipeline.set_output(transform="pandas").fit(frame)
    assert isinstance(pipeline.predict(frame), np.ndarray)
    assert pipeline[-1].feature_names_in_.tolist() == ["a", "b"]


def test_searches_work_with_any_choice(frame):
    model = GaussianMixture(**PLAIN).set_output(transform="pandas")
    search = GridSearchCV(model, {"n_components": [1, 3]}, cv=3).fit(
        frame.sample(frac=1, random_state=0)
    )
    assert search.best_params_ == {"n_components": 3}
    assert isinstance(search.predict(frame), pd.Series)


@pytest.mark.parametrize("container", ["numpy", "Pandas", 1])
def test_what_is_no_container_is_refused(container, fitted):
    with pytest.raises(ParameterError, match="one of default, pandas, polars"):
        fitted.set_output(transform=container)
