"""Files behind URLs are converted as their copies here are, by ranges, and in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr
from commands import forked
from faulty_proxy import faulty_proxy

from daskgmm import load_model, open_rows
from daskgmm.conversion import inputs
from daskgmm.conversion.convert import convert
from daskgmm.errors import (
    DaskGMMWarning,
    DataError,
    NotFoundError,
    ParameterError,
    StorageError,
)
from daskgmm.settings import TIMEOUT_VARIABLE
from daskgmm.storage import Location

X = np.random.default_rng(0).normal(size=(3000, 3)).round(3)
FRAME = pd.DataFrame(X, columns=list("abc"))
TEXT = FRAME.assign(word="text").to_csv(index=False).encode()


def _grid(path, engine):
    cells = {name: (("t", "y"), X[:, j].reshape(300, 10)) for j, name in enumerate("abc")}
    xr.Dataset(cells).to_netcdf(path, engine=engine)


def _hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(100, 3), compression="gzip")


FILES = {
    "t.csv": lambda path: path.write_bytes(TEXT),
    "t.csv.gz": lambda path: path.write_bytes(gzip.compress(TEXT, mtime=0)),
    "t.csv.bz2": lambda path: path.write_bytes(bz2.compress(TEXT)),
    "t.csv.xz": lambda path: path.write_bytes(lzma.compress(TEXT)),
    "t.csv.zst": lambda path: path.write_bytes(pa.compress(TEXT, "zstd", asbytes=True)),
    "t.parquet": lambda path: FRAME.to_parquet(path, row_group_size=700),
    "t.nc": lambda path: _grid(path, "h5netcdf"),
    "t.h5": _hdf5,
}


def _put(bucket, name, content):
    fs, root = Location.parse(bucket).filesystem()
    public = {"ACL": "public-read"} if bucket.startswith("s3") else {}  # by HTTP, too
    fs.pipe_file(f"{root}/{name}", content, **public)
    return f"{bucket}/{name}"


@pytest.fixture(params=["s3", "http", "memory"])
def place(request, bucket, object_store, tmp_path):
    """How a file that is put somewhere is called there."""

    def put(name, content):
        if request.param == "memory":
            return _put(f"memory://{tmp_path.name}", name, content)
        url = _put(bucket, name, content)
        here = f"http://127.0.0.1:{object_store.port}/"
        return url if request.param == "s3" else url.replace("s3://", here)

    return put


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, "memory") for name in FILES),
        ("t.csv.gz", "http"),
        ("t.parquet", "s3"),
        ("t.h5", "s3"),
    ],
    indirect=["place"],
)
def test_each_format_gives_the_rows_of_a_local_file(name, place, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "_BLOCK", 1000)  # else it would be one of each of these
    FILES[name](tmp_path / name)
    url = place(name, (tmp_path / name).read_bytes())
    report = convert(url, tmp_path / "x.zarr", rows=name == "t.nc")
    assert report["source"] == url
    assert report["bytes_read"] == (tmp_path / name).stat().st_size
    np.testing.assert_array_equal(open_rows(tmp_path / "x.zarr").read(0, len(X)), X)


def test_a_folder_and_a_glob_of_a_bucket(bucket, tmp_path):
    for name in ("in/2/b.csv", "in/1.csv", "in/.hidden.csv", "in/notes.md"):
        _put(bucket, name, TEXT)
    for source in (f"{bucket}/in", f"{bucket}/in/**/*.csv"):
        report = convert(source, tmp_path / "x.parquet", overwrite=True, missing="keep")
        assert (report["n_files"], report["rows_written"]) == (2, 2 * len(X))
    _put(bucket, "in/2/b.csv", TEXT.replace(b"\n", b"\n1,2\n", 1))
    with pytest.raises(DataError, match=re.escape(f"{bucket}/in/2/b.csv, line 2: 2 values")):
        convert(f"{bucket}/in", tmp_path / "x.parquet", overwrite=True)
    for name in ("none.csv", "none*.csv"):
        with pytest.raises(NotFoundError, match=r"none.*check the URL"):
            convert(f"{bucket}/{name}", tmp_path / "y.zarr")
    with pytest.raises(ParameterError, match="overlap"):
        convert(f"{bucket}/in", f"{bucket}/in/x.parquet")


def test_a_fit_converts_csv_of_a_bucket_for_the_time_of_the_command(bucket, object_store, tmp_path):
    url = _put(bucket, "t.csv", TEXT)
    done = forked(
        *("fit", url, "--columns", "a,b", "--components", 1, "--output", "m.zarr"),
        cwd=tmp_path,
        env=object_store.environment,
    )
    assert f"daskgmm convert {url} --columns a,b --output t.zarr" in done.stderr
    np.testing.assert_allclose(load_model(tmp_path / "m.zarr").means_, [X[:, :2].mean(axis=0)])


def test_netcdf_of_version_3_is_refused(bucket, tmp_path):
    _grid(tmp_path / "three.nc", "scipy")
    url = _put(bucket, "three.nc", (tmp_path / "three.nc").read_bytes())
    with pytest.raises(
        DataError, match=r"version 3, which is read from local files alone: download"
    ):
        convert(url, tmp_path / "x.zarr")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.h5"])
def test_a_service_that_goes_away_is_named_and_not_the_file(
    name, bucket, object_store, tmp_path, monkeypatch
):
    """A library that reads would have it for the end of the file."""
    FILES[name](tmp_path / name)
    url = _put(bucket, name, (tmp_path / name).read_bytes())
    monkeypatch.setattr(inputs, "_BLOCK", 1000)
    monkeypatch.setenv(TIMEOUT_VARIABLE, "1")
    n_answered = 0

    def fault(handler):
        nonlocal n_answered
        n_answered += 1
        if n_answered < 12:
            return False
        handler.answer(503, b"")
        return True

    with faulty_proxy(object_store.port, fault) as port:
        there = url.replace("s3://", f"http://127.0.0.1:{port}/")
        with (
            pytest.warns(DaskGMMWarning, match="gives no answer"),
            pytest.raises(StorageError, match="no answer for 1 s"),
        ):
            convert(there, tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


class Whole(SimpleHTTPRequestHandler):
    """Gives whole files alone, as Python's server does."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_that_gives_whole_files_alone_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(TEXT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Whole, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever).start()
    try:
        with pytest.raises(StorageError, match=r"gives no parts of files .*download it"):
            convert(f"http://127.0.0.1:{server.server_address[1]}/t.csv", tmp_path / "x.zarr")
    finally:
        server.shutdown()
        server.server_close()
