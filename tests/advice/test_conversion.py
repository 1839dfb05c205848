"""Advice of conversions."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from following import CommandCase, X, command, fitted, follow_command, written


def converted(at: Path, text: str, *more: object, name: str = "t.csv") -> tuple[object, ...]:
    """Words of the conversion of a table."""
    return ("convert", written(at / name, text), "--output", at / "x.zarr", *more)


def again(at: Path, *more: object, source: str = "t.csv") -> tuple[object, ...]:
    return ("convert", at / source, "--output", at / "x.zarr", *more)


def cells(at: Path) -> tuple[object, ...]:
    made = xr.Dataset(
        {"a": ("x", np.arange(3.0)), "b": ("y", np.arange(4.0)), "c": ("x", X[:3, 0])}
    )
    made.to_netcdf(at / "o.nc")
    return again(at, "--rows", source="o.nc")


def datasets(at: Path) -> tuple[object, ...]:
    with h5py.File(at / "t.h5", "w") as file:
        file["one/x"], file["two"] = X, X
    return again(at, source="t.h5")


def tables(at: Path) -> tuple[object, ...]:
    (at / "in").mkdir()
    written(at / "in" / "a.csv", "x,y\n1,2\n")
    written(at / "in" / "b.csv", "x,z\n1,2\n")
    return again(at, source="in")


def mixed(at: Path) -> tuple[object, ...]:
    (at / "in").mkdir()
    written(at / "in" / "a.csv", "x,y\n1,2\n")
    pd.DataFrame(X, columns=["a", "b"]).to_parquet(at / "in" / "b.parquet")
    return again(at, source="in")


TEXT = "a,b\n1,2\n3,?\n"

COMMANDS: dict[str, CommandCase] = {
    "a missing value": (
        lambda at: converted(at, "a,b\n1,2\n,4\n"),
        r"\((--missing) (drop)\), or write NaN with missing='keep' \((--missing) (keep)\)",
        lambda at, said: [again(at, said[1], said[2]), again(at, said[3], said[4], "--overwrite")],
    ),
    "text among numbers": (
        lambda at: converted(at, TEXT, "--columns", "a,b"),
        r"(--missing-text) (\S+), or leave the column out with (--columns) (\S+)",
        lambda at, said: [
            again(at, said[1], *shlex.split(said[2]), "--missing", "drop"),
            again(at, said[3], *shlex.split(said[4]), "--overwrite"),
        ],
    ),
    "times among numbers": (
        lambda at: converted(at, "a,at,b\n1,2024-02-24 23:09:17,3\n", "--columns", "a,at,b"),
        r"with (--columns) (\S+), and add (--keep) (\S+) where the output is Parquet",
        lambda at, said: [
            again(at, said[1], said[2]),
            ("convert", at / "t.csv", "--output", at / "x.parquet", *said.groups()),
        ],
    ),
    "a decimal comma": (
        lambda at: converted(at, "a;b\n1,5;2\n", "--columns", "a"),
        r"with (--decimal) (,)",
        lambda at, said: again(at, "--columns", "a", said[1], said[2]),
    ),
    "no header": (
        lambda at: converted(at, "1,2\n3,4\n"),
        r"add (--no-header), and if these are names, (--header)",
        lambda at, said: [again(at, said[1]), again(at, said[2], "--overwrite")],
    ),
    "names without a header": (
        lambda at: converted(at, "1,2\n3,4\n", "--no-header", "--columns", "a"),
        r"as (--columns) (\S+)",
        lambda at, said: again(at, "--no-header", said[1], said[2]),
    ),
    "an encoding": (
        lambda at: ((at / "t.csv").write_bytes("é,b\n1,2\n".encode("latin-1")), again(at))[1],
        r"(--encoding) (\S+)",
        lambda at, said: again(at, said[1], said[2]),
    ),
    "a line of another count of values": (
        lambda at: converted(at, "a,b\n1,2\n3\n4,5\n"),
        r"line 3: .* leave such lines out with (--ragged) (\w+), or",
        lambda at, said: again(at, said[1], said[2]),
    ),
    "names with commas and blanks": (
        lambda at: converted(
            at, '"a,b",c d,"e""f"\n1,2,3\nx,4,5\n', "--columns", '"a,b",c d,"e""f"'
        ),
        r"leave the column out with (--columns) (.+)$",
        lambda at, said: again(at, said[1], *shlex.split(said[2])),
    ),
    "a separator": (
        lambda at: converted(at, "a b\n1 2\n"),
        r"as (--separator) ('.*')",
        lambda at, said: again(at, said[1], *shlex.split(said[2])),
    ),
    "a column that is misspelt": (
        lambda at: converted(at, "temperature,b\n1,2\n", "--columns", "temprature"),
        r"which (--columns) names; did you mean '(\w+)'",
        lambda at, said: again(at, said[1], said[2]),
    ),
    "doubled names": (
        lambda at: converted(at, "a,a,b\n1,2,3\n"),
        r"rename all but one of them in the file, or take others with (--columns)",
        lambda at, said: [again(at, said[1], "b"), converted(at, "a,a2,b\n1,2,3\n", "--overwrite")],
    ),
    "an option of another format": (
        lambda at: converted(at, "a,b\n1,2\n", "--member", "a"),
        r"\(--member\) is of no use for CSV, .*; leave it out",
        lambda at, said: again(at),
    ),
    "columns of NetCDF": (
        lambda at: (*cells(at), "--columns", "a,c"),
        r"\(--columns\) is of no use for NetCDF, .*; use variables \((--variables)\)",
        lambda at, said: (*again(at, source="o.nc"), said[1], "a,c"),
    ),
    "files of other columns": (
        tables,
        r"take what both have with (--columns) (\S+)",
        lambda at, said: again(at, said[1], said[2], source="in"),
    ),
    "files of several formats": (
        mixed,
        r"by a glob such as '(\S+)'",
        lambda at, said: ("convert", said[1], "--output", at / "x.zarr"),
    ),
    "an output of another format": (
        lambda at: (*converted(at, "a,b\n1,2\n")[:3], at / "x.h5"),
        r"name it (\S+) or (\S+)$",
        lambda at, said: [(*again(at)[:3], place) for place in said.groups()],
    ),
    "an output that is there": (
        lambda at: (command(*converted(at, "a,b\n1,2\n"), "--overwrite"), again(at))[1],
        r"\((--overwrite)\)",
        lambda at, said: again(at, said[1]),
    ),
    "variables over other dimensions": (
        cells,
        r"choose those that are, as (--variables) (\S+)",
        lambda at, said: again(at, "--rows", said[1], said[2], source="o.nc"),
    ),
    "several datasets": (
        datasets,
        r"name one, as (--member) (\S+)",
        lambda at, said: again(at, said[1], said[2], source="t.h5"),
    ),
    "a table where rows are asked for": (
        lambda at: ("check", written(at / "t.csv", "a,b\n1,2\n3,4\n")),
        r"daskgmm convert (\S+) --output (\S+)",
        lambda at, said: [
            ("convert", said[1], "--output", at / said[2]),
            ("check", at / said[2]),
        ],
    ),
    "a table with gaps that is fitted": (
        lambda at: ("fit", written(at / "t.csv", "a,b\n1,2\n,4\n7,7\n0,9\n"), *fitted(at)[2:]),
        r"with (--missing) (drop), or take .* not known with (--missing) (em)",
        lambda at, said: [
            ("fit", at / "t.csv", *fitted(at)[2:], said[1], said[2]),
            ("fit", at / "t.csv", *fitted(at)[2:], "--overwrite", said[3], said[4]),
        ],
    ),
    "columns of a table with gaps that are fitted": (
        lambda at: (
            *(
                "select",
                written(at / "t.csv", "a,b,c\n1,2,\n,4,1\n7,7,\n0,9,\n"),
                "--columns",
                "b,a",
            ),
            *("--components", "1"),
        ),
        r"with (--missing) (drop)",
        lambda at, said: (
            *("select", at / "t.csv", "--columns", "b,a", "--components", "1", said[1], said[2]),
        ),
    ),
    "a table with gaps that a model is held against": (
        lambda at: (
            command("fit", written(at / "w.csv", "a,b\n1,2\n5,4\n7,7\n0,9\n"), *fitted(at)[2:]),
            ("update", at / "m.zarr", written(at / "t.csv", "a,b\n1,2\n,4\n7,7\n0,9\n")),
        )[1],
        r"give what this writes: daskgmm (convert \S+ --columns a,b --missing drop --output) (\S+)",
        lambda at, said: [
            (*said[1].split(), at / said[2]),
            ("update", at / "m.zarr", at / said[2]),
        ],
    ),
    "options of rows for a grid": (
        lambda at: (*cells(at)[:-1], "--missing", "keep"),
        r"\(--missing\) .*or write rows \((--rows)\)",
        lambda at, said: again(at, said[1], "--missing", "keep", "--variables", "a", source="o.nc"),
    ),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_advice_of_a_command_works(case, tmp_path):
    follow_command(case, tmp_path)


def test_every_option_that_is_named_exists():
    """What messages call by its flag."""
    from daskgmm.cli import main

    flags = {o for p in main.commands["convert"].params for o in (*p.opts, *p.secondary_opts)}
    files = Path(__import__("daskgmm").__file__).parent.joinpath("conversion").rglob("*.py")
    said = {flag for f in files for flag in re.findall(r"--[a-z][a-z-]+", f.read_text())}
    assert said <= flags | {"--output"}
