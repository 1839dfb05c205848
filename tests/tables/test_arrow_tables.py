"""Columns of polars, pyarrow and whatever exports Arrow's stream: numbers of every type, or refused.

The oracle is Python's float() of each value. Asserted: nothing but numbers is taken, whatever is
refused is named with its dtype before a row is read, and missing values are NaN.
"""

from __future__ import annotations

import datetime
import decimal
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone

from daskgmm import GaussianMixture, select
from daskgmm.errors import DataError, MissingDependencyError

N = 200


@pytest.fixture(scope="module")
def values():
    """Whole numbers of two clusters, of which some are repeated."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(20, 4, (N // 2, 2)), rng.normal(70, 6, (N // 2, 2))])
    return x.round().clip(0, 100)


POLARS = {
    str(dtype): dtype
    for dtype in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
        *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Decimal(12, 2)),
    )
}
ARROW = {
    str(dtype): dtype
    for dtype in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64()),
        *(pa.decimal32(8, 2), pa.decimal64(12, 2), pa.decimal128(12, 2), pa.decimal256(40, 2)),
    )
}


def _in_polars(values, dtype):
    return pl.DataFrame({name: values[:, i] for i, name in enumerate("ab")}).cast(dtype)


def _in_arrow(values, dtype):
    made = [decimal.Decimal(int(v)) if "decimal" in str(dtype) else v for v in values.T.ravel()]
    column = pa.array(made if "decimal" in str(dtype) else values.T.ravel()).cast(dtype)
    return pa.table([column[: len(values)], column[len(values) :]], ["a", "b"])


TYPES = [
    *(pytest.param(_in_polars, dtype, id=f"polars {name}") for name, dtype in POLARS.items()),
    *(pytest.param(_in_arrow, dtype, id=f"arrow {name}") for name, dtype in ARROW.items()),
]


@pytest.mark.parametrize(("make", "dtype"), TYPES)
def test_numbers_of_every_type_are_rows(make, dtype, values):
    narrow = str(dtype) in ("halffloat", "float", "Float32")
    plain = GaussianMixture(2, random_state=0, progressive=False)
    oracle = clone(plain).fit(values.astype("f4" if narrow else "f8"))
    model = clone(plain).fit(make(values, dtype))
    np.testing.assert_array_equal(model.means_, oracle.means_)
    np.testing.assert_array_equal(model.covariances_, oracle.covariances_)


def test_booleans_beside_numbers_are_0_and_1(values):
    truth = values[:, 0] > 50
    oracle = GaussianMixture(1).fit(np.column_stack([values, truth]))
    for table in (
        pl.DataFrame({"a": values[:, 0], "b": values[:, 1], "c": truth}),
        pa.table({"a": values[:, 0], "b": values[:, 1], "c": truth}),
        pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "c": truth}),
    ):
        np.testing.assert_array_equal(GaussianMixture(1).fit(table).means_, oracle.means_)


def test_integers_beyond_the_digits_of_float64_are_rounded_to_it():
    whole = 2**60 + np.arange(N) ** 3
    oracle = GaussianMixture(1).fit(whole[:, None].astype(np.float64))
    for table in (pl.DataFrame({"a": whole}), pa.table({"a": whole}), pd.DataFrame({"a": whole})):
        np.testing.assert_array_equal(GaussianMixture(1).fit(table).means_, oracle.means_)


@pytest.mark.parametrize(("make", "dtype"), TYPES)
def test_a_value_that_is_missing_is_told_by_row_and_name(make, dtype, values):
    table = make(values, dtype)
    if isinstance(table, pl.DataFrame):
        table = table.with_columns(
            pl.when(pl.int_range(pl.len()) == 70).then(None).otherwise(pl.col("b")).alias("b")
        )
    else:
        gap = pa.nulls(1, table["b"].type)
        column = pa.chunked_array([*table["b"][:70].chunks, gap, *table["b"][71:].chunks])
        table = table.set_column(1, "b", column)
    with pytest.raises(DataError, match=r"1 value, the first at row 70, column 'b'"):
        GaussianMixture(2).fit(table)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_a_truth_that_is_missing_is_told(make):
    table = make({"a": list(range(9)), "b": [True, None, *[False] * 7]})
    with pytest.raises(DataError, match=r"row 1, column 'b'"):
        GaussianMixture(1).fit(table)


DAY = datetime.date(2020, 1, 1)
NO_NUMBERS = {
    "text": ["u", "v"],
    "text of numbers": ["1", "2"],
    "dates": [DAY, DAY],
    "times": [datetime.datetime(2020, 1, 1)] * 2,
    "times of day": [datetime.time(1)] * 2,
    "durations": [datetime.timedelta(1)] * 2,
    "None": [None, None],
    "lists": [[1.0], [2.0]],
    "structs": [{"u": 1.0}, {"u": 2.0}],
    "bytes": [b"u", b"v"],
}
OF_LIBRARIES = {
    "categories of polars": pl.DataFrame({"a": ["u"], "c": ["v"]}).with_columns(
        a=pl.lit(1.0), c=pl.col("c").cast(pl.Categorical)
    ),
    "an Enum": pl.DataFrame({"a": [1.0]}).with_columns(c=pl.lit("u").cast(pl.Enum(["u"]))),
    "an Array": pl.DataFrame({"a": [1.0], "c": [[1.0, 2.0]]}).cast({"c": pl.Array(pl.Float64, 2)}),
    "an Object": pl.DataFrame({"a": [1.0]}).with_columns(pl.Series("c", [object()])),
    "a dictionary": pa.table({"a": [1.0], "c": pa.array(["u"]).dictionary_encode()}),
    "a dictionary of numbers": pa.table({"a": [1.0], "c": pa.array([5.0]).dictionary_encode()}),
}
REFUSED = {
    **{
        f"{name} in {make.__module__.split('.')[0]}": make({"a": [1.0, 2.0], "c": column})
        for name, column in NO_NUMBERS.items()
        for make in (pl.DataFrame, pa.table, pd.DataFrame)
    },
    **OF_LIBRARIES,
}


@pytest.mark.parametrize("table", REFUSED.values(), ids=REFUSED)
def test_what_is_no_number_is_refused_by_name_and_dtype(table):
    model = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], np.eye(2)[None])
    for door in (GaussianMixture(1).fit, lambda data: select(data, [1]), model.predict):
        with pytest.raises(DataError, match=r"no numbers: 'c' has dtype [\w(\[<]") as refused:
            door(table)
        assert "'a'" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_lazy_frame_is_refused_with_the_way_out(values):
    lazy = _in_polars(values, pl.Float64).lazy()
    with pytest.raises(DataError, match=r"LazyFrame.*\.collect\(\)"):
        GaussianMixture(1).fit(lazy)
    assert GaussianMixture(1).fit(lazy.collect()).n_rows_ == N


@pytest.mark.parametrize("column", [pl.Series([1.0, 2.0]), pa.chunked_array([[1.0, 2.0]])])
def test_a_single_column_is_no_table(column):
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        GaussianMixture(1).fit(column)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame])
def test_tables_without_rows_or_columns_are_refused(make):
    with pytest.raises(ValueError, match="0 sample"):
        GaussianMixture(1).fit(make({"a": np.empty(0), "b": np.empty(0)}))
    with pytest.raises(ValueError, match=r"0 sample|0 feature"):
        GaussianMixture(1).fit(make({}))


def test_a_stream_needs_pyarrow_and_says_so(monkeypatch):
    class Exported:
        def __arrow_c_stream__(self, requested_schema=None):
            raise AssertionError

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MissingDependencyError, match=r"Exported.*pip install 'daskgmm\[dataframe\]'"
    ):
        GaussianMixture(1).fit(Exported())


def test_sparse_columns_are_refused_with_the_way_out(values):
    frame = pd.DataFrame(values, columns=["a", "b"]).assign(b=pd.arrays.SparseArray(values[:, 1]))
    with pytest.raises(DataError, match=r"sparse.*\.astype\({'b': 'float64'}\)"):
        GaussianMixture(1).fit(frame)
    assert GaussianMixture(1).fit(frame.astype({"b": "float64"})).n_rows_ == N


# -- memory ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        pl.DataFrame,
        pa.table,
        pd.DataFrame,
        lambda columns: pd.DataFrame(columns).astype("Float64"),
        lambda columns: pd.DataFrame(columns).astype("double[pyarrow]"),
        lambda columns: pd.DataFrame(columns).assign(x0=np.arange(len(columns["x0"]), dtype="i4")),
    ],
)
def test_a_table_is_copied_once(make):
    """NumPy's memory is traced; what Arrow and polars hold is the table that was there before."""
    import tracemalloc

    from daskgmm.execution import MixtureSize, Work
    from daskgmm.tables import open_input

    n, d = 20_000, 20
    table = make({f"x{j}": np.random.default_rng(j).normal(size=n) for j in range(d)})
    work = Work((MixtureSize("diag", 1),), sampled=True)
    open_input(table[:100], work)  # what is imported
    tracemalloc.start()
    try:
        opened = open_input(table, work)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert opened.rows.n_rows == n
    assert peak < 1.25 * n * d * 8  # and a column or two
