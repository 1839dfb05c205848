"""Advice of errors in Parquet: columns, types, gaps, files and outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from following import Case, X, command, fit, follow

from daskgmm import open_rows

NAMES = ["temp", "salt"]


def table(at: Path, name: str = "x.parquet", x: np.ndarray = X, **columns: Any) -> Path:
    (at / name).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(x, columns=NAMES).assign(**columns).to_parquet(at / name)
    return at / name


def with_null(at: Path, **columns: Any) -> Path:
    x = X.copy()
    x[7, 1] = np.nan
    return table(at, "null.parquet", x, **columns)


def unequal(at: Path) -> Path:
    table(at, "many/1.parquet")
    pd.DataFrame(X.astype(int), columns=NAMES).assign(temp=X[:, 0]).to_parquet(
        at / "many/2.parquet"
    )
    return at / "many"


def mixed(at: Path) -> Path:
    (at / "units").mkdir(exist_ok=True)
    for number, units in ((1, "K"), (2, "degC")):
        fields = [pa.field(name, pa.float64()) for name in NAMES]
        fields[0] = fields[0].with_metadata({"units": units})
        rows = pa.table([*X.T], schema=pa.schema(fields))
        pq.write_table(rows, at / f"units/{number}.parquet")
    return at / "units"


def more(at: Path) -> Path:
    """Files of which neither has all columns."""
    table(at, "more/1.parquet", first=1.0)
    table(at, "more/2.parquet", second=1.0)
    return at / "more"


def cut_off(at: Path) -> Path:
    path = table(at)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def converted(at: Path, said: re.Match[str]) -> Path:
    assert command(*said[1].split(), at / said[2]) == ""
    return at / said[2]


def fitted(at: Path) -> Path:
    fit(table(at)).save(at / "m.zarr", overwrite=True)
    return at / "m.zarr"


def predict(at: Path, output: Path | str, *more: Any, data: Path | None = None) -> None:
    said = command(
        *("predict", data or table(at), "--model", fitted(at), "--output", output), *more
    )
    if said:
        raise ValueError(said)


def keeping(names: str, advice: str) -> Case:
    """Columns to keep that cannot be, of rows that have a key; the advice names one that can."""

    def keep(at: Path, names: str) -> None:
        predict(at, at / "l.parquet", "--keep", names, data=table(at, "k.parquet", key="x"))

    return Case(lambda at: keep(at, names), advice, lambda at, said: keep(at, said[1]), ValueError)


CASES = {
    "a column that is in the names of folders": Case(
        lambda at: open_rows(table(at, "hive/year=2020/1.parquet").parents[1], columns=["year"]),
        r"'year' in the names of its folders, such as year=2020, .*: python -c \"(.*)\"",
        lambda at, said: [
            exec(said[1].replace("'with_year'", repr(str(at / "with_year")))),
            open_rows(at / "with_year", columns=["year"]),
        ],
    ),
    "columns that are no numbers": Case(
        lambda at: fit(table(at, id="x")),
        r"name the others with columns= \(--columns (\S+)\)",
        lambda at, said: fit(open_rows(table(at, id="x"), columns=said[1])),
    ),
    "a column that is no number": Case(
        lambda at: open_rows(table(at, id="x"), columns=["temp", "id"]),
        r"leave it out: those that are numbers: (\w+), (\w+)$",
        lambda at, said: open_rows(table(at, id="x"), columns=[said[1], said[2]]),
    ),
    "a column that is not there": Case(
        lambda at: open_rows(table(at), columns=["tmp"]),
        r"did you mean '(\w+)'",
        lambda at, said: open_rows(table(at), columns=[said[1]]),
    ),
    "a column twice": Case(
        lambda at: open_rows(table(at), columns=["temp", "temp"]),
        r"name each column once",
        lambda at, said: open_rows(table(at), columns=["temp"]),
    ),
    "columns of what has no names": Case(
        lambda at: [np.save(at / "x.npy", X), open_rows(at / "x.npy", columns=["temp"])],
        r"leave it out",
        lambda at, said: open_rows(at / "x.npy"),
    ),
    "nulls, left out": Case(
        lambda at: fit(with_null(at)),
        r"'(\w+)' has 1 .* or leave the columns out with columns=",
        lambda at, said: fit(open_rows(with_null(at), columns=[n for n in NAMES if n != said[1]])),
    ),
    "nulls, dropped": Case(
        lambda at: fit(with_null(at)),
        r"drop or impute them when the files are written",
        lambda at, said: fit(table(at, "dropped.parquet", np.delete(X, 7, axis=0))),
    ),
    "nulls, left out of a copy": Case(
        lambda at: fit(with_null(at)),
        r"daskgmm (convert \S+ --columns temp,salt --missing drop --output) (\S+)$",
        lambda at, said: fit(converted(at, said)),
    ),
    "files of unequal types": Case(
        lambda at: fit(unequal(at)),
        r"has '(\w+)' as int64.* leave the column out with columns=",
        lambda at, said: fit(open_rows(unequal(at), columns=[n for n in NAMES if n != said[1]])),
    ),
    "files in mixed units": Case(
        lambda at: fit(mixed(at)),
        r"has '(\w+)' in 'degC', .* leave the column out with columns=",
        lambda at, said: fit(open_rows(mixed(at), columns=[n for n in NAMES if n != said[1]])),
    ),
    "files with columns of their own": Case(
        lambda at: fit(more(at)),
        r"name the features with columns= \(--columns (\S+)\)",
        lambda at, said: fit(open_rows(more(at), columns=said[1])),
    ),
    "a file that was cut off": Case(
        lambda at: open_rows(cut_off(at)),
        r"is truncated.*restore it from a copy, or write it again",
        lambda at, said: open_rows(table(at)),
    ),
    "weights that are no column": Case(
        lambda at: fit(table(at, w=1.0), sample_weight="ww"),
        r"did you mean '(\w+)'",
        lambda at, said: fit(table(at, w=1.0), sample_weight=said[1]),
    ),
    "labels in Parquet of rows in Zarr": Case(
        lambda at: [np.save(at / "x.npy", X), predict(at, at / "l.parquet", data=at / "x.npy")],
        r"name it (\S+l\.zarr)",
        lambda at, said: predict(at, said[1], data=at / "x.npy"),
        Exception,
    ),
    "columns to keep that are not there": keeping("salty", r"did you mean '(\w+)'"),
    "columns to keep that are like none": keeping(
        "nonsense", r"no column 'nonsense'; it has temp, salt, (key)\s*$"
    ),
    "a column to keep twice": keeping(
        "salt,salt", r"keep has '(\w+)' twice; name each column once"
    ),
    "columns to keep in Zarr": Case(
        lambda at: predict(at, at / "l.zarr", "--keep", "salt"),
        r"name the output (\S+/l\.parquet), or leave keep out",
        lambda at, said: [
            predict(at, said[1], "--keep", "salt"),
            predict(at, at / "l.zarr"),
        ],
        Exception,
    ),
    "columns to keep in what has no ending": Case(
        lambda at: predict(at, at / "labels", "--keep", "salt"),
        r"name the output (\S+/labels\.parquet), or",
        lambda at, said: predict(at, said[1], "--keep", "salt"),
        ValueError,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_parquet_works(case, tmp_path):
    follow(case, tmp_path)
