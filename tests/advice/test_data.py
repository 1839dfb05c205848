"""Advice of errors in rows, whatever they come from, and in their weights."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from following import (
    Case,
    X,
    fit,
    follow,
    stored,
    with_nan,
)
from scipy import sparse


def with_value(row: int, value: float) -> np.ndarray:
    x = X.copy()
    x[row, 1] = value
    return x


def _mixed_names() -> pd.DataFrame:
    return pd.DataFrame({0: X[:, 0], "a": X[:, 1]})


def _after(statement: str, x: pd.DataFrame) -> pd.DataFrame:
    exec(statement, {"X": x})
    return x


def _with_text(make: Callable[[Any], Any]) -> Any:
    return make({"a": X[:, 0], "b": ["text"] * len(X), "c": X[:, 1]})


def _sparse() -> pd.DataFrame:
    return pd.DataFrame({"a": X[:, 0], "b": pd.arrays.SparseArray(X[:, 1])})


def _levels() -> pd.DataFrame:
    return pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a"], ["x", "y"]]))


def _with_index(order: int) -> pd.DataFrame:
    return pd.DataFrame(X, columns=["a", "b"], index=range(len(X))[::order])


def _blocks(function: Callable[..., Any], dtype: Any = float, **how: Any) -> da.Array:
    how = {"meta": np.empty((0, 0), dtype)} | how
    return da.from_array(X, chunks=300).map_blocks(function, dtype=dtype, **how)


def _is(found: object, said: str) -> None:
    assert str(found) == said


CASES = {
    "one dimension on Dask": Case(
        lambda at: fit(da.from_array(X[:, 0])),
        r"with array(\[:, None\])",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": da.from_array(X[:, 0])})),
    ),
    "a constant column": Case(
        lambda at: fit(np.column_stack([X, np.ones(len(X))])),
        r"column (\d+) of the data is constant.*leave such columns out of the data",
        lambda at, said: fit(np.delete(np.column_stack([X, np.ones(len(X))]), int(said[1]), 1)),
    ),
    "NaN": Case(
        lambda at: fit(with_nan(77)),
        r"the first at row (\d+), column 1.*remove or impute",
        lambda at, said: fit(np.delete(with_nan(77), int(said[1]), 0)),
    ),
    "a negative weight": Case(
        lambda at: fit(X, sample_weight=np.where(np.arange(len(X)) == 5, -1.0, 1.0)),
        r"at row (\d+); weights must be finite and 0 or more: (0) leaves a row out",
        lambda at, said: fit(
            with_nan(int(said[1])),
            sample_weight=np.where(np.arange(len(X)) == int(said[1]), float(said[2]), 1.0),
        ),
    ),
    "values whose squares overflow": Case(
        lambda at: fit(X * 1e160),
        r"rescale the data",
        lambda at, said: fit(X * 1e160 / 1e160),
    ),
    "a masked array": Case(
        lambda at: fit(np.ma.masked_greater(X, 5.0)),
        r"drop or impute the masked rows",
        lambda at, said: fit(np.ma.compress_rows(np.ma.masked_greater(X, 5.0))),
    ),
    "a masked block": Case(
        lambda at: fit(da.ma.masked_greater(da.from_array(X, chunks=100), 5.0)),
        r"drop or impute the masked rows",
        lambda at, said: fit(
            da.ma.masked_greater(da.from_array(X, chunks=100), 5.0).map_blocks(
                np.ma.filled, 5.0, dtype=float
            )
        ),
    ),
    "values that are no numbers": Case(
        lambda at: fit(X.astype(str)),
        r"rows are numbers: convert them first",
        lambda at, said: fit(X.astype(str).astype(float)),
    ),
    "columns that are no numbers": Case(
        lambda at: fit(pd.DataFrame({"a": X[:, 0], "b": "text", "c": X[:, 1]})),
        r"no numbers: '(\w+)' has dtype .*; leave them out",
        lambda at, said: fit(
            pd.DataFrame({"a": X[:, 0], "b": "text", "c": X[:, 1]}).drop(columns=said[1])
        ),
    ),
    **{
        f"columns that are no numbers in {make.__module__.partition('.')[0]}": Case(
            lambda at, make=make: fit(_with_text(make)),
            r"leave them out with (\.\w+\(.*\)), or convert",
            lambda at, said, make=make: fit(eval(f"x{said[1]}", {"x": _with_text(make)})),
        )
        for make in (pd.DataFrame, pl.DataFrame, pa.table)
    },
    "sparse columns": Case(
        lambda at: fit(_sparse()),
        r"use (\.astype\(.*\)) first",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": _sparse()})),
    ),
    "names of several levels": Case(
        lambda at: fit(_levels()),
        r"by using (X\.columns = .*) for example",
        lambda at, said: fit(_after(said[1], _levels())),
    ),
    "names that are doubled": Case(
        lambda at: fit(pd.DataFrame(X, columns=["a", "a"])),
        r"same name: '(\w+)'; rename them, or leave all but one of them out",
        lambda at, said: [
            fit(pd.DataFrame(X, columns=[said[1], f"{said[1]}_2"])),
            fit(pd.DataFrame(X, columns=[said[1]] * 2).iloc[:, :1]),
        ],
    ),
    "a lazy frame": Case(
        lambda at: fit(pl.DataFrame(X).lazy()),
        r"give (\.collect\(\)) of it",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": pl.DataFrame(X).lazy()})),
    ),
    "weights of another index": Case(
        lambda at: fit(_with_index(1), sample_weight=_with_index(-1)["a"].abs()),
        r"align it with (\.reindex\(X\.index\)), or give (\.to_numpy\(\)) of it",
        lambda at, said: [
            fit(
                _with_index(1),
                sample_weight=eval(
                    f"w{way}", {"w": _with_index(-1)["a"].abs(), "X": _with_index(1)}
                ),
            )
            for way in said.groups()
        ],
    ),
    "weights of another length": Case(
        lambda at: fit(X, sample_weight=np.ones(5)),
        r"has 5 weights, but .* has (\d+) rows; give one weight for each row",
        lambda at, said: fit(X, sample_weight=np.ones(int(said[1]))),
    ),
    "weights that are masked": Case(
        lambda at: fit(X, sample_weight=np.ma.masked_less(np.arange(len(X)), 5)),
        r"give a row that does not count the weight (0)",
        lambda at, said: fit(
            X, sample_weight=np.ma.masked_less(np.arange(len(X)), 5).filled(int(said[1]))
        ),
    ),
    "weights that are no numbers": Case(
        lambda at: fit(X, sample_weight=np.full(len(X), "1.5")),
        r"weights are numbers: convert them first",
        lambda at, said: fit(X, sample_weight=np.full(len(X), "1.5").astype(float)),
    ),
    "values whose squares overflow, removed": Case(
        lambda at: fit(with_value(77, 1e200)),
        r"the first at row (\d+), .*rescale the data, or remove these rows",
        lambda at, said: fit(np.delete(with_value(77, 1e200), int(said[1]), 0)),
    ),
    "rows of several lengths": Case(
        lambda at: fit([[1.0, 2.0], [3.0]]),
        r"convert it to a NumPy array first, with as many numbers in each row",
        lambda at, said: fit(np.array([[1.0, 2.0], [3.0, 4.0]]), reg_covar=0.1),
    ),
    "names of columns of several types": Case(
        lambda at: fit(_mixed_names()),
        r"by using (X\.columns = X\.columns\.astype\(str\)) for example",
        lambda at, said: fit(_after(said[1], _mixed_names())),
        TypeError,
    ),
    "names of columns of several types, removed": Case(
        lambda at: fit(_mixed_names()),
        r"you can remove feature / column names .*, or convert them all to a non-string data type",
        lambda at, said: [
            fit(_mixed_names().to_numpy()),
            fit(_after("X.columns = range(2)", _mixed_names())),
        ],
        TypeError,
    ),
    "a sparse matrix": Case(
        lambda at: fit(sparse.csr_matrix(X)),
        r"Use '(\.toarray\(\))' to convert to a dense numpy array",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": sparse.csr_matrix(X)})),
        TypeError,
    ),
    "a single row": Case(
        lambda at: fit(X[:1]),
        r"a mixture needs (\d+) rows or more",
        lambda at, said: fit(X[: int(said[1])]),
    ),
    "weights of two dimensions": Case(
        lambda at: fit(X, sample_weight=np.ones((len(X), 2))),
        r"must be a 1D array, \(n_rows,\), of one weight for each row",
        lambda at, said: fit(X, sample_weight=np.ones(len(X))),
    ),
    "no weights": Case(
        lambda at: fit(X, sample_weight=np.ones(0)),
        r"sample_weight is empty; give one weight for each row",
        lambda at, said: fit(X, sample_weight=np.ones(len(X))),
    ),
    "weights in two columns": Case(
        lambda at: fit(stored(at), sample_weight=stored(at, X, "w.zarr")),
        r"one number for each row is expected, \(n_rows,\)",
        lambda at, said: fit(
            stored(at), sample_weight=stored(at, np.ones(len(X)), "one.zarr", rows=300)
        ),
    ),
    "a block of another shape": Case(
        lambda at: fit(_blocks(lambda block: block[:7])),
        r"block (\d+) of the Dask array has shape (\(7, 2\)) .*; compute that block to see",
        lambda at, said: [
            _is(_blocks(lambda block: block[:7]).blocks[int(said[1])].compute().shape, said[2]),
            fit(_blocks(lambda block: block)),
        ],
    ),
    "a block of another dtype": Case(
        lambda at: fit(_blocks(lambda block: block.astype(str))),
        r"where (\w+) is declared; convert it with (astype), or declare what it is",
        lambda at, said: fit(
            _blocks(lambda block: getattr(block.astype(str), said[2])(said[1]), dtype=said[1])
        ),
    ),
    "a block of wider numbers": Case(
        lambda at: fit(_blocks(lambda block: block, dtype="float32")),
        r"has dtype (\w+) where float32 .*; convert it with (astype), or declare what it is",
        lambda at, said: [
            fit(_blocks(lambda block: getattr(block, said[2])("float32"), dtype="float32")),
            fit(_blocks(lambda block: block, dtype=said[1])),
        ],
    ),
    "a block that is no array": Case(
        lambda at: fit(_blocks(pd.DataFrame, meta=np.empty((0, 0)))),
        r"is a pandas.DataFrame, not a NumPy array; convert its blocks with (map_blocks) first",
        lambda at, said: fit(
            getattr(_blocks(pd.DataFrame, meta=np.empty((0, 0))), said[1])(np.asarray, dtype=float)
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_data_works(case, tmp_path):
    follow(case, tmp_path)


def test_weights_scaled_as_the_warning_says_raise_none():
    model, weights = fit(X), np.full(len(X), 1e-3)
    with pytest.warns(UserWarning, match=r"multiply them by") as caught:
        model.bic(X, weights)
    factor = float(re.search(r"multiply them by ([\d.e+]+)", str(caught[0].message))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.bic(X, factor * weights) == pytest.approx(model.bic(X), rel=1e-3)
