"""Every kind of data: its rows come once, in order, as they were; a new kind adds an example."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_data import write_store

from daskgmm.errors import ParameterError
from daskgmm.execution import MixtureSize, Work, sample_rows
from daskgmm.tables import Stage, is_lazy, open_input, open_rows
from daskgmm.tables.grids import GRIDS
from daskgmm.tables.opening import KINDS
from daskgmm.testing.rows import assert_once_in_order

N, D, K = 5000, 3, 2
WORK = Work((MixtureSize("diag", K),), sampled=True)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def _variables(x):
    return xr.Dataset({f"x{j}": ("row", x[:, j]) for j in range(x.shape[1])})


def _stored_variables(x, folder):
    encoding = {f"x{j}": {"chunks": (900,)} for j in range(x.shape[1])}
    _variables(x).to_zarr(folder / "x.zarr", encoding=encoding, consolidated=False)
    return open_rows(folder / "x.zarr", variables=list(encoding))


EXAMPLES = {
    "stored rows": [
        lambda x, folder: write_store(folder / "x.zarr", x, 700),
        lambda x, folder: open_rows(write_store(folder / "x.zarr", x, 700)),
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
    assert opened.n_sampled == sample_rows(N, K, D)
    assert (opened.fingerprint is not None) == (kind.is_stored or kind is GRIDS)
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
