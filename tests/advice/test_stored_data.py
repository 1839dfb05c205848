"""Advice of errors in stored data: what lies there, how it is opened, and damage."""

from __future__ import annotations

import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from following import (
    Case,
    X,
    command,
    fit,
    follow,
    found_in,
    group,
    stored,
    with_hole,
    written,
)

from daskgmm import open_rows
from daskgmm.errors import ConversionWarning, DaskGMMError

GAPS = np.random.default_rng(1).integers(0, 30, size=(600, 2)).astype("i2")
"""Whole numbers, of which some are 0."""


def group_of(at: Path, **attributes: dict[str, Any]) -> Path:
    root = zarr.open_group(at / "of.zarr", mode="w")
    for name, own in attributes.items():
        root.create_array(name, data=X, attributes=own)
    return at / "of.zarr"


def _npy_of_version(path: Path, version: tuple[int, int]) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, X, version=version)


def _cut_off_when_open(path: Path) -> None:
    np.save(path, X)
    rows = open_rows(path)
    path.write_bytes(path.read_bytes()[:-800])
    rows.read(0, len(X))


def _damaged(at: Path, file: str, content: bytes | None) -> Path:
    shutil.copytree(stored(at), at / "copy.zarr")
    if content is None:
        (at / "x.zarr" / file).unlink()
    else:
        (at / "x.zarr" / file).write_bytes(content)
    return at / "x.zarr"


def _restored(at: Path, file: str) -> Path:
    shutil.copy(at / "copy.zarr" / file, at / "x.zarr" / file)
    return at / "x.zarr"


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
    "one dimension in a store": Case(
        lambda at: open_rows(str(stored(at, X[:, 0], "flat.zarr"))),
        r"reshape a single feature to \(n_rows, 1\)",
        lambda at, said: open_rows(str(stored(at, X[:, :1], "column.zarr"))),
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
    "an attribute by which values are names": Case(
        lambda at: open_rows(group_of(at, codes={"flag_values": [1, 2]}), member="codes"),
        r"its attribute (\w+)=.* are names in numbers, .*; choose other columns",
        lambda at, said: open_rows(
            group_of(at, codes={}, others={"units": said[1]}), member="others"
        ),
    ),
    "values that the store declares missing": Case(
        lambda at: fit(stored(at, GAPS, "gaps.zarr", attributes={"_FillValue": 0})),
        r"the first at row (\d+), .*by (_FillValue), .*; (remove) or impute these rows",
        lambda at, said: fit(
            stored(at, GAPS[GAPS.all(axis=1)], "none.zarr", attributes={said[2]: 0})
        ),
    ),
    "a file of another kind": Case(
        lambda at: open_rows(written(at / "x.txt", "1 2 3")),
        r"is a file of no known kind; expected a Zarr array or group, or a (\.npy) file",
        lambda at, said: [
            np.save(at / f"x{said[1]}", X),
            open_rows(at / f"x{said[1]}"),
            open_rows(stored(at)),
            open_rows(group(at) + "/a"),
        ],
    ),
    "NetCDF, by its path in Python": Case(
        lambda at: (xr.Dataset({"a": ("x", X[:, 0])}).to_netcdf(at / "x.nc"), fit(at / "x.nc")),
        r"x\.nc is NetCDF, and no store of rows; give (\S+) in Python",
        lambda at, said: fit(eval(said[1], {"xarray": xr})),
    ),
    "CSV, by its path in Python": Case(
        lambda at: fit(written(at / "x.csv", "a,b\n1,2\n3,5\n4,4\n")),
        r"x\.csv is CSV, and no store of rows; .* as of (\S+), or convert it: daskgmm (.*)",
        lambda at, said: [
            fit(eval(said[1], {"pandas": pd})),
            command(*shlex.split(said[2])[:-1], at / "x.zarr"),
            fit(at / "x.zarr"),
        ],
    ),
    "no stored rows at all": Case(
        lambda at: open_rows(5),
        r"a path or URL of a Zarr array, (\.npy) file or Parquet files, or an open (zarr\.Array)",
        lambda at, said: [
            np.save(at / f"x{said[1]}", X),
            open_rows(at / f"x{said[1]}"),
            open_rows(stored(at).as_uri()),
            open_rows(zarr.open_array(stored(at))),
        ],
    ),
    "an unknown meaning of missing chunks": Case(
        lambda at: open_rows(stored(at), missing_chunks="ignore"),
        r"missing_chunks must be '(\w+)' or '(\w+)'",
        lambda at, said: [open_rows(stored(at), missing_chunks=word) for word in said.groups()],
    ),
    "a .npy file of another version": Case(
        lambda at: [_npy_of_version(at / "x.npy", (3, 0)), open_rows(at / "x.npy")],
        r"only \(1, 0\) and \(2, 0\) hold plain numbers - save the array again with numpy\.(\w+)",
        lambda at, said: [getattr(np, said[1])(at / "x.npy", X), open_rows(at / "x.npy")],
    ),
    "a .npy file that is cut off after it was opened": Case(
        lambda at: _cut_off_when_open(at / "x.npy"),
        r"truncated after it was opened - restore it from a copy",
        lambda at, said: [np.save(at / "x.npy", X), fit(open_rows(at / "x.npy"))],
    ),
    "metadata that are damaged": Case(
        lambda at: fit(_damaged(at, "zarr.json", b"{")),
        r"restore (them) from a copy or write the array anew",
        lambda at, said: [fit(_restored(at, "zarr.json")), fit(stored(at, X, "anew.zarr"))],
    ),
    "a chunk that is empty": Case(
        lambda at: fit(_damaged(at, "c/0/0", b"")),
        r"the first is '(\S+)'; restore the array from a copy or write it anew",
        lambda at, said: [fit(_restored(at, said[1])), fit(stored(at, X, "anew.zarr"))],
    ),
    "a chunk that does not decode": Case(
        lambda at: fit(_damaged(at, "c/0/0", b"nothing")),
        r"chunk '(\S+)' .*; restore the array from a copy or write it anew",
        lambda at, said: [fit(_restored(at, said[1])), fit(stored(at, X, "anew.zarr"))],
    ),
    "a chunk that is missing, from a copy": Case(
        lambda at: fit(_damaged(at, "c/0/0", None)),
        r"the first is '(\S+)'; restore the array from a copy; or",
        lambda at, said: fit(_restored(at, said[1])),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_stored_data_works(case, tmp_path):
    follow(case, tmp_path)


@pytest.mark.parametrize(
    ("attribute", "wrong", "right"),
    [
        ("scale_factor", 0.0, 0.5),
        ("add_offset", "much", 2.0),
        ("_Unsigned", "maybe", "true"),
        ("missing_value", "none", 9),
        ("valid_range", [1], [-100, 100]),
    ],
)
def test_an_attribute_that_is_corrected_is_read(attribute, wrong, right, tmp_path):
    store = stored(tmp_path, GAPS, attributes={attribute: wrong})
    with pytest.raises(DaskGMMError) as caught:
        open_rows(store)
    said = found_in(str(caught.value), r"its attribute (\w+)=.*; correct the attribute")
    zarr.open_array(store).attrs[said[1]] = right
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        assert open_rows(store).shape == GAPS.shape
