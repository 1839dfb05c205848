"""Every kind of data: its rows come once, in order, as they were; a new kind adds an example."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from made_data import write_store

from daskgmm import GaussianMixture, select
from daskgmm.errors import ParameterError
from daskgmm.execution import MixtureSize, Work, sample_rows
from daskgmm.tables import Stage, is_lazy, open_input, open_rows
from daskgmm.tables.opening import KINDS
from daskgmm.testing.rows import assert_once_in_order

N, D, K = 5000, 3, 2
WORK = Work((MixtureSize("diag", K),), sampled=True)


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    x[::3] += 5
    return x


class Exported:
    """What exports Arrow's stream and is nothing else that is known."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def _variables(x):
    return xr.Dataset({f"x{j}": ("row", x[:, j]) for j in range(x.shape[1])})


def _stored_variables(x, folder):
    encoding = {f"x{j}": {"chunks": (900,)} for j in range(x.shape[1])}
    _variables(x).to_zarr(folder / "x.zarr", encoding=encoding, consolidated=False)
    return open_rows(folder / "x.zarr", variables=list(encoding))


def _arrow(x):
    return pa.table({f"x{j}": x[:, j] for j in range(x.shape[1])})


def _parquet(path, x):
    pd.DataFrame(x, columns=["a", "b", "c"]).to_parquet(path, row_group_size=700)
    return path


EXAMPLES = {
    "stored rows": [
        lambda x, folder: write_store(folder / "x.zarr", x, 700),
        lambda x, folder: open_rows(write_store(folder / "x.zarr", x, 700)),
        lambda x, folder: _parquet(folder / "x.parquet", x),
    ],
    "stored variables on a grid": [
        _stored_variables,
    ],
    "Dask array": [
        lambda x, folder: da.from_array(x, chunks=(900, 2)),
    ],
    "Dask DataFrame": [
        lambda x, folder: dd.from_pandas(pd.DataFrame(x), npartitions=4),
    ],
    "xarray on Dask": [
        lambda x, folder: xr.DataArray(x, dims=("row", "feature")).chunk({"row": 900}),
        lambda x, folder: _variables(x).chunk({"row": 900}),
    ],
    "xarray in memory": [
        lambda x, folder: xr.DataArray(x),
        lambda x, folder: _variables(x),
    ],
    "pandas DataFrame": [
        lambda x, folder: pd.DataFrame(x),
        lambda x, folder: pd.DataFrame(x).astype("Float32"),
        lambda x, folder: pd.DataFrame({j: x[:, j] for j in range(D)}, index=range(N, 0, -1)),
    ],
    "Arrow table": [
        lambda x, folder: pl.DataFrame(x),
        lambda x, folder: pl.concat([pl.DataFrame(x[:900]), pl.DataFrame(x[900:])], rechunk=False),
        lambda x, folder: _arrow(x),
        lambda x, folder: pa.Table.from_batches(_arrow(x).to_batches(max_chunksize=900)),
        lambda x, folder: _arrow(x).to_batches()[0],
        lambda x, folder: Exported(_arrow(x)),
    ],
    "array in memory": [
        lambda x, folder: x,
    ],
}
PAIRS = [
    pytest.param(kind, make, id=f"{kind.name} {i}")
    for kind in KINDS
    for i, make in enumerate(EXAMPLES.get(kind.name, [None]))
]


@pytest.mark.parametrize(("kind", "make"), PAIRS)
def test_rows_come_once_in_order_and_as_they_were(kind, make, x, tmp_path):
    assert make is not None, f"add an example of {kind.name}"
    data = make(x, tmp_path)
    assert next(k for k in KINDS if k.matches(data)) is kind
    assert is_lazy(data) == kind.is_lazy
    opened = open_input(data, WORK)
    assert opened.n_sampled == sample_rows(N, WORK, D)
    assert (opened.fingerprint is not None) == kind.is_stored
    assert_once_in_order(opened.rows, x)


@pytest.mark.parametrize(("kind", "make"), PAIRS)
def test_only_stored_rows_are_staged(kind, make, x, tmp_path):
    data, stage = make(x, tmp_path), Stage("auto", dtype="float32")
    if kind.is_stored:
        with open_input(data, WORK, stage=stage).staging() as report:
            pass
        assert report.n_lost == 0
    else:
        with pytest.raises(ParameterError, match="are for stored rows"):
            open_input(data, WORK, stage=stage)


# -- fits and results: those of the same rows in an array -----------------------------

OPTIONS = {"n_components": K, "random_state": 0, "progressive": False}


@pytest.fixture(scope="module")
def fitted(x):
    return GaussianMixture(**OPTIONS).fit(x)


def _same(kind, found, expected):
    # Rows on Dask and in stores are summed in other pieces, and work in float32.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if kind.is_lazy else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize(("kind", "make"), PAIRS)
def test_fits_are_those_of_the_same_rows_in_an_array(kind, make, x, fitted, tmp_path):
    model = GaussianMixture(**OPTIONS).fit(make(x, tmp_path))
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        _same(kind, getattr(model, name), getattr(fitted, name))
    assert model.n_rows_ == N


@pytest.mark.parametrize(("kind", "make"), PAIRS)
@pytest.mark.filterwarnings("ignore:X does not have valid:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_results_are_those_of_the_same_rows_in_an_array(kind, make, x, fitted, tmp_path):
    data = make(x, tmp_path)
    for name in ("predict", "predict_proba", "score_samples"):
        found = np.asarray(getattr(fitted, name)(data))
        np.testing.assert_array_equal(found, getattr(fitted, name)(x))
    for name in ("score", "aic", "bic"):
        _same(kind, getattr(fitted, name)(data), getattr(fitted, name)(x))
    chosen = select(data, [K], random_state=0, progressive=False).model
    _same(kind, chosen.means_, select(x, [K], random_state=0, progressive=False).model.means_)


@pytest.mark.parametrize(("kind", "make"), PAIRS)
def test_rows_that_were_fitted_are_labelled(kind, make, x, fitted, tmp_path):
    found = np.asarray(GaussianMixture(**OPTIONS).fit_predict(make(x, tmp_path)))
    np.testing.assert_array_equal(found, fitted.predict(x))


@pytest.mark.parametrize(("kind", "make"), PAIRS)
def test_weights_count_rows_of_every_kind(kind, make, x, tmp_path):
    counts = np.arange(N) % 4  # which leaves rows of both clusters
    model = GaussianMixture(**OPTIONS).fit(make(x, tmp_path), sample_weight=counts)
    oracle = GaussianMixture(**OPTIONS).fit(x, sample_weight=counts)
    _same(kind, model.means_, oracle.means_)
