"""Advice of errors in the data: how they are opened, what they hold, and their weights."""

from __future__ import annotations

import re
import warnings

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from following import (
    Case,
    X,
    fit,
    follow,
    group,
    stored,
    with_hole,
    with_nan,
)

from daskgmm import open_rows

CASES = {
    "a group of several arrays, by its path": Case(
        lambda at: open_rows(group(at)),
        r"name one, as (\S+) or member='(\w+)'",
        lambda at, said: open_rows(said[1]),
    ),
    "a group of several arrays, by its member": Case(
        lambda at: open_rows(group(at)),
        r"name one, as (\S+) or member='(\w+)'",
        lambda at, said: open_rows(group(at), member=said[2]),
    ),
    "a group of groups": Case(
        lambda at: open_rows(group(at) + "/deeper"),
        r"open one of its groups: (\w+)",
        lambda at, said: open_rows(f"{group(at)}/deeper/{said[1]}"),
    ),
    "a member that is not there": Case(
        lambda at: open_rows(group(at), member="z"),
        r"no Zarr array or group at .*/z; members of .* are: (\w+), .*; name one of them",
        lambda at, said: open_rows(group(at), member=said[1]),
    ),
    "chunks that were never written": Case(
        lambda at: fit(str(with_hole(at))),
        r"pass missing_chunks='(\w+)'",
        lambda at, said: fit(open_rows(str(with_hole(at)), missing_chunks=said[1])),
    ),
    "one dimension on Dask": Case(
        lambda at: fit(da.from_array(X[:, 0])),
        r"with array(\[:, None\])",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": da.from_array(X[:, 0])})),
    ),
    "one dimension in a store": Case(
        lambda at: open_rows(str(stored(at, X[:, 0], "flat.zarr"))),
        r"reshape a single feature to \(n_rows, 1\)",
        lambda at, said: open_rows(str(stored(at, X[:, :1], "column.zarr"))),
    ),
    "a constant column": Case(
        lambda at: fit(np.column_stack([X, np.ones(len(X))])),
        r"column (\d+) of the data is constant.*drop it",
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
    "no .npy file": Case(
        lambda at: [(at / "x.npy").write_bytes(b"no header"), open_rows(at / "x.npy")],
        r"restore the file from a copy",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy")],
    ),
    "a .npy file that was cut off": Case(
        lambda at: [
            np.save(at / "x.npy", X),
            (at / "x.npy").write_bytes((at / "x.npy").read_bytes()[:-8]),
            open_rows(at / "x.npy"),
        ],
        r"is truncated: .*; restore it from a copy",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy")],
    ),
    "a .npy file behind a URL": Case(
        lambda at: open_rows("https://localhost/x.npy"),
        r"copy it here, or convert it to (Zarr)",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy"), open_rows(stored(at))],
    ),
    "a store that is not there": Case(
        lambda at: open_rows(at / "xx.zarr"),
        r"does not exist; check the path",
        lambda at, said: open_rows(stored(at)),
    ),
    "a folder of stores": Case(
        lambda at: [stored(at), open_rows(at)],
        r"if it is a folder of stores, name one of them",
        lambda at, said: open_rows(at / "x.zarr"),
    ),
    "stored values that are no numbers": Case(
        lambda at: open_rows(stored(at, X.astype(complex), "c.zarr")),
        r"convert the array to one of these",
        lambda at, said: open_rows(stored(at, X.astype(np.float32), "f.zarr")),
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
