"""Containers: rows a second of a pass over the same rows in each, beside the bare Zarr array.

The stored ones are made once and kept. What is in memory is as large as the rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr
import zarr
from dask.utils import format_bytes

from daskgmm.errors import IntegrityWarning
from daskgmm.execution import MixtureSize, Work
from daskgmm.tables import open_input, open_rows

from .made import start_of, truth
from .parquet import counted, one_pass, parquet_of, seconds_of
from .stores import CODECS, MadeStore
from .table import Column, Table

__all__ = ["CONTAINERS", "containers_table"]

_ZARR = "Zarr array"
_DIMS = ("time", "cell", "level")
_ROW_GROUP = 250_000


def _grid(store: MadeStore) -> Path:
    """The rows as the values of one variable along a dimension of features, a time for each chunk."""
    path = store.path.with_suffix(".grid.zarr")
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    source, n = open_rows(store.path), store.chunk_rows
    group = zarr.open_group(partial, mode="w")
    array = group.create_array(
        "x",
        shape=(store.n_rows // n, n, store.n_features),
        chunks=(1, n, store.n_features),
        dtype=store.dtype,
        compressors=CODECS[store.codec],
        dimension_names=_DIMS,
    )
    for i, start in enumerate(range(0, store.n_rows, n)):
        array[i] = source.read(start, start + n)
    return partial.rename(path)


def _on_grid(store: MadeStore) -> Any:
    return open_rows(_grid(store), variables="x", feature_dim="level")


def _dataset(store: MadeStore) -> Any:
    data = xr.open_zarr(_grid(store), consolidated=False)
    return open_rows(data, variables="x", feature_dim="level")


def _pandas(store: MadeStore) -> Any:
    names = [f"x{j}" for j in range(store.n_features)]
    return pd.DataFrame(open_rows(store.path).read(0, store.n_rows), columns=names)


def _group(i: int, path: Path) -> Any:
    return pq.ParquetFile(path).read_row_group(i).to_pandas()


def _dask_dataframe(store: MadeStore) -> Any:
    """By a function for each row group: Dask's own reader calls what pandas warns of."""
    path = parquet_of(store, _ROW_GROUP)
    groups = range(pq.ParquetFile(path).num_row_groups)
    return dd.from_map(_group, groups, path=path, meta=_group(0, path).iloc[:0])


CONTAINERS: dict[str, Callable[[MadeStore], Any]] = {
    _ZARR: lambda store: store.path,
    "grid by path": _on_grid,
    "Dataset on Dask": _dataset,
    "Parquet": lambda store: parquet_of(store, _ROW_GROUP),
    "Dask DataFrame": _dask_dataframe,
    "pandas": _pandas,
}
"""What the rows of a store are opened as."""


def containers_table(store: MadeStore, rounds: int) -> Table:
    """A read and a pass over each container in each round, and the medians over rounds."""
    store.made()
    start = start_of(truth(store.n_features, store.n_components), "full")
    work = Work((MixtureSize("full", store.n_components),), sampled=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrityWarning)
        opened = {name: open_input(of(store), work).rows for name, of in CONTAINERS.items()}
    for rows in opened.values():
        rows.fold(counted)  # warms up
    found = []
    for number in range(rounds):
        of_round = []
        for name, rows in opened.items():
            read, _ = seconds_of(lambda rows=rows: rows.fold(counted))
            whole, _ = seconds_of(lambda rows=rows: one_pass(rows, start))
            of_round.append(
                {"round": number + 1, "container": name}
                | {"read": store.n_rows / read, "pass": store.n_rows / whole}
            )
        found += [_with_ratios(row, of_round[0]) for row in of_round]
    rate, ratio = "{:,.0f}", "{:.2f}"
    columns = [
        Column("round", "round"),
        Column("container", "container"),
        Column("read", "read rows/s", rate),
        Column("read_ratio", "of Zarr's", ratio),
        Column("pass", "pass rows/s", rate),
        Column("pass_ratio", "of Zarr's", ratio),
    ]
    notes = [
        f"{store.n_rows:,} rows x {store.n_features} {store.dtype} ({format_bytes(store.n_bytes)}) in "
        f"chunks of {store.chunk_rows:,}, {store.codec}; Parquet in row groups of {_ROW_GROUP:,}; pass "
        f"of {store.n_components} full components; pandas in memory; ratios are within a round",
    ]
    return Table("Rows in containers", columns, [*found, *_medians(found)], notes)


def _with_ratios(row: dict[str, Any], bare: dict[str, Any]) -> dict[str, Any]:
    return row | {f"{key}_ratio": row[key] / bare[key] for key in ("read", "pass")}


def _medians(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("read", "read_ratio", "pass", "pass_ratio")
    return [
        {"round": "median", "container": name}
        | {key: median(row[key] for row in found if row["container"] == name) for key in keys}
        for name in CONTAINERS
    ]
