"""Files of which bytes are changed, cut or put in are converted, or refused by errors of our own.

Not asserted: that every change is seen. Text, and formats without checksums, show few of them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from contextlib import suppress

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from daskgmm.conversion.convert import convert
from daskgmm.errors import DaskGMMError

X = np.random.default_rng(0).normal(size=(200, 3)).round(3)
FRAME = pd.DataFrame(X, columns=list("abc")).assign(word="text")
TEXT = FRAME.to_csv(index=False).encode()
N_CHANGED = 30


def _parquet(path):
    FRAME.to_parquet(path)


def _netcdf(engine):
    def write(path):
        grid = {name: (("t", "y"), X[:, j].reshape(20, 10)) for j, name in enumerate("abc")}
        xr.Dataset(grid).to_netcdf(path, engine=engine)

    return write


def _hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, compression="gzip")


FILES = {
    "t.csv": lambda path: path.write_bytes(TEXT),
    "t16.csv": lambda path: path.write_bytes(TEXT.decode().encode("utf-16")),
    "t.csv.gz": lambda path: path.write_bytes(gzip.compress(TEXT, mtime=0)),
    "t.csv.bz2": lambda path: path.write_bytes(bz2.compress(TEXT)),
    "t.csv.xz": lambda path: path.write_bytes(lzma.compress(TEXT)),
    "t.csv.zst": lambda path: path.write_bytes(pa.compress(TEXT, "zstd", asbytes=True)),
    "t.parquet": _parquet,
    "four.nc": _netcdf("h5netcdf"),
    "three.nc": _netcdf("scipy"),
    "t.h5": _hdf5,
}


def changed(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(made) or 1)
        if rng.randrange(4) == 0:
            del made[at:]
        elif rng.randrange(2):
            made[at : at + 1] = bytes([rng.randrange(256)])
        else:
            made[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(made)


# h5netcdf closes what it could not open, and Python says so when it is collected.
@pytest.mark.filterwarnings("ignore:.*File.close:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", FILES)
def test_changed_files_leave_a_whole_output_or_none(name, tmp_path):
    rng = random.Random(name)
    place = tmp_path / name
    FILES[name](place)
    content = place.read_bytes()
    for _ in range(N_CHANGED):
        place.write_bytes(changed(content, rng))
        with suppress(DaskGMMError):
            convert(
                place, tmp_path / "x.zarr", overwrite=True, missing=rng.choice(["drop", "keep"])
            )
        assert {path.name for path in tmp_path.iterdir()} <= {name, "x.zarr"}
