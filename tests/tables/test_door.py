"""One door: whatever takes rows takes the same, and refuses the same by the same words."""

from __future__ import annotations

import decimal

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import xarray as xr

from daskgmm import GaussianMixture, select
from daskgmm.errors import DataError

N = 60
PLAIN = {"random_state": 0, "progressive": False}
"""How rows are read is asked here, and not where fits of them begin."""


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(N, 2)), rng.normal(size=(N, 2)) + 8])


@pytest.fixture(scope="module")
def fitted(x):
    return GaussianMixture(2, **PLAIN).fit(x)


class ByArray:
    """What a torch tensor is: no ndarray, with an exact way to one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class ByDlpack:
    """An array of the array API without ``__array__``."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnADevice:
    """What a CuPy array is: its ``__array__`` refuses."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion to a NumPy array is not allowed")


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _reversed(x):
    return x[::-1, ::-1]


TAKEN = {
    "list": lambda x: x.tolist(),
    "tuple of arrays": tuple,
    "read-only": _read_only,
    "strides below 0": lambda x: _reversed(_reversed(x).copy()),
    "other byte order": lambda x: x.astype(">f8"),
    "objects that are numbers": lambda x: x.astype(object),
    "by __array__": ByArray,
    "by DLPack": ByDlpack,
    "pandas": pd.DataFrame,
    "xarray": xr.DataArray,
}
REFUSED = {
    "masked": lambda x: np.ma.masked_greater(x, 9),
    "list of masked rows": lambda x: list(np.ma.masked_greater(x, 9)),
    "list with masked values": lambda x: [[np.ma.masked, 1.0], *x.tolist()],
    "masked by __array__": lambda x: ByArray(np.ma.masked_greater(x, 9)),
    "on a device": lambda x: OnADevice(),
    "complex": lambda x: x + 5j,
    "datetime64": lambda x: (x * 1e9).astype("i8").astype("M8[ns]"),
    "timedelta64": lambda x: (x * 1e9).astype("i8").astype("m8[ns]"),
    "text": lambda x: x.astype("U8"),
    "objects that are text": lambda x: x.astype("U8").astype(object),
    "matrix": np.matrix,
    "sparse": scipy.sparse.csr_matrix,
    "0-D": lambda x: np.float64(1.0),
    "1-D": lambda x: x[:, 0],
    "3-D": lambda x: x.reshape(2, N, 2),
    "no rows": lambda x: x[:0],
    "no features": lambda x: x[:, :0],
    "Dataset without variables": lambda x: xr.Dataset(),
    "Dataset of text": lambda x: xr.Dataset({"a": ("n", x[:, 0].astype("U8"))}),
    "Series": lambda x: pd.Series(x[:, 0]),
    "ragged": lambda x: [[1.0, 2.0], [3.0]],
}
DOORS = {
    "fit": lambda fitted, data: GaussianMixture(2, **PLAIN).fit(data).means_,
    "select": lambda fitted, data: select(data, [2], **PLAIN).model.means_,
    "predict": lambda fitted, data: fitted.predict(data),
    "predict_proba": lambda fitted, data: fitted.predict_proba(data),
    "score_samples": lambda fitted, data: fitted.score_samples(data),
    "score": lambda fitted, data: fitted.score(data),
    "criteria": lambda fitted, data: fitted.criteria(data).bic,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_what_is_rows_is_taken_by_every_door(door, make, x, fitted):
    np.testing.assert_array_equal(door(fitted, make(x)), door(fitted, x))


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_what_is_no_rows_is_refused_by_every_door_in_the_same_words(make, x, fitted):
    said = set()
    for door in DOORS.values():
        with pytest.raises((ValueError, TypeError)) as refused:
            door(fitted, make(x))
        said.add((type(refused.value), str(refused.value)))
    assert len(said) == 1


def test_an_array_of_a_device_is_refused_by_its_name():
    with pytest.raises(DataError, match=r"OnADevice.*not allowed.*NumPy array first"):
        GaussianMixture(1).fit(OnADevice())


def test_masked_weights_are_refused_however_they_come(x):
    for weights in (np.ma.masked_equal(np.ones(2 * N), 1), [np.ma.masked, *np.ones(2 * N - 1)]):
        with pytest.raises(DataError, match="sample_weight is masked"):
            GaussianMixture(1).fit(x, sample_weight=weights)


# -- data frames -----------------------------------------------------------------

FRAMES = {
    "Float64": lambda f: f.astype("Float64"),
    "Float32": lambda f: f.astype("Float32"),
    "Int64": lambda f: (f * 10).round().astype("Int64"),
    "UInt8": lambda f: f.abs().round().astype("UInt8"),
    "int16[pyarrow]": lambda f: (f * 10).round().astype("int16[pyarrow]"),
    "double[pyarrow]": lambda f: f.astype("double[pyarrow]"),
    "float[pyarrow]": lambda f: f.astype("float[pyarrow]"),
    "decimal[pyarrow]": lambda f: (
        f.round(3).astype("string").astype(pd.ArrowDtype(pa.decimal128(12, 3)))
    ),
    "boolean beside numbers": lambda f: f.assign(c=(f["a"] > 4).astype("boolean")),
    "bool beside numbers": lambda f: f.assign(c=f["a"] > f["b"]),
    "bool[pyarrow] beside float32": lambda f: f.astype("float32").assign(
        c=(f["a"] > f["b"]).astype("bool[pyarrow]")
    ),
    "numbers of several widths": lambda f: f.assign(c=(f["a"] * 10).astype("int8")),
}


@pytest.fixture(scope="module")
def frame(x):
    return pd.DataFrame(x, columns=["a", "b"])


def _exact(frame):
    return np.array([[float(v) for v in row] for row in frame.to_numpy(dtype=object)])


@pytest.mark.parametrize("convert", FRAMES.values(), ids=FRAMES)
def test_columns_of_every_dtype_of_numbers_are_rows(convert, frame):
    converted = convert(frame)
    oracle = GaussianMixture(1).fit(_exact(converted))
    for data in (converted, dd.from_pandas(converted, npartitions=3)):
        found = GaussianMixture(1).fit(data)
        np.testing.assert_allclose(found.means_, oracle.means_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.covariances_, oracle.covariances_, rtol=1e-5, atol=1e-6)


def test_decimals_of_python_are_rows_in_memory(frame):
    exact = frame.round(3).map(lambda v: decimal.Decimal(repr(v)))
    np.testing.assert_array_equal(
        GaussianMixture(1).fit(exact).means_, GaussianMixture(1).fit(frame.round(3)).means_
    )


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_a_gap_among_objects_is_told_by_row_and_name(gap, frame):
    objects = frame.astype(object)
    objects.loc[70, "b"] = gap
    with pytest.raises(DataError, match="row 70, column 'b'"):
        GaussianMixture(1).fit(objects)


NO_NUMBERS = {
    "a column of None": lambda f: f.assign(c=None),
    "lists": lambda f: f.assign(c=[[1.0]] * 2 * N),
    "periods": lambda f: f.assign(c=pd.period_range("2020", periods=2 * N)),
    "category of numbers": lambda f: f.assign(c=pd.Categorical([1.0, 2.0] * N)),
    "category": lambda f: f.assign(c=pd.Categorical(["u", "v"] * N)),
    "text": lambda f: f.assign(c="u"),
    "text of numbers": lambda f: f.assign(c="1"),
    "dates": lambda f: f.assign(c=pd.Timestamp("2020-01-01")),
    "dates with a zone": lambda f: f.assign(c=pd.Timestamp("2020-01-01", tz="UTC")),
    "durations": lambda f: f.assign(c=pd.Timedelta(1, "s")),
    "complex": lambda f: f.assign(c=1j),
    "date32[pyarrow]": lambda f: f.assign(
        c=pd.array([18000] * 2 * N, dtype=pd.ArrowDtype(pa.date32()))
    ),
}


@pytest.mark.parametrize("convert", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_column_that_is_no_numbers_is_refused_by_its_name(convert, frame):
    converted = convert(frame)
    for data in (converted, dd.from_pandas(converted, npartitions=3)):
        with pytest.raises(DataError, match=r"'c' has dtype") as refused:
            GaussianMixture(1).fit(data)
        assert "'a'" not in str(refused.value)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "double[pyarrow]", "float64"])
def test_a_value_that_is_missing_is_named(dtype, frame):
    whole = frame.round().astype(dtype)
    whole.loc[70, "b"] = pd.NA if dtype != "float64" else np.nan
    for data in (whole, dd.from_pandas(whole, npartitions=3)):
        with pytest.raises(DataError, match=r"row 70"):
            GaussianMixture(1).fit(data)


@pytest.mark.parametrize(
    ("dtype", "progressive"), [("f2", True), (">f2", False), (">f4", False), ("<f4", False)]
)
def test_narrow_floats_are_fitted_alike_in_memory_and_on_dask(dtype, progressive):
    x = np.random.default_rng(0).normal(size=(500, 3))
    x[::2] += 5
    x = x.astype(dtype)
    here, there = (
        GaussianMixture(2, random_state=0, progressive=progressive).fit(data)
        for data in (x, da.from_array(x, chunks=-1))
    )
    np.testing.assert_array_equal(here.means_, there.means_)
    np.testing.assert_array_equal(here.covariances_, there.covariances_)
