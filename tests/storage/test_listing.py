"""A store that tells no size of an object, or one that is not the chunk's, is not damaged."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading

import numpy as np
import pytest
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

from daskgmm.errors import DamagedDataError
from daskgmm.storage import open_source

X = np.random.default_rng(0).normal(size=(60, 2))
COMPRESSORS = {"compressed": "auto", "plain": None}


def _write(path, version, compressors):
    return zarr.create_array(
        path, data=X, chunks=(10, 2), zarr_format=version, compressors=compressors
    )


class _Index(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class _NoIndex(_Index):
    def list_directory(self, path):
        self.send_error(404)


@pytest.fixture(params=[_Index, _NoIndex], ids=["index", "no index"])
def url(request, tmp_path):
    handler = functools.partial(request.param, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # It looks that often whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("compressors", COMPRESSORS.values(), ids=COMPRESSORS)
@pytest.mark.parametrize("version", [2, 3])
def test_an_array_behind_a_web_server_is_whole(tmp_path, url, version, compressors):
    _write(tmp_path / "x.zarr", version, compressors)
    source = open_source(f"{url}/x.zarr")
    found = source.survey()
    found.raise_for_damage()
    stored = sum(p.stat().st_size for p in (tmp_path / "x.zarr").rglob("*") if p.is_file())
    assert 0 < found.stored_bytes < stored
    np.testing.assert_array_equal(source.read(0, 60), X)
    assert source.fingerprint() == open_source(f"{url}/x.zarr").fingerprint()


@pytest.mark.parametrize("version", [2, 3])
def test_damage_behind_a_web_server_is_seen(tmp_path, url, version):
    array = _write(tmp_path / "x.zarr", version, None)
    keys = [array.metadata.encode_chunk_key((i, 0)) for i in range(3)]
    (tmp_path / "x.zarr" / keys[0]).unlink()
    (tmp_path / "x.zarr" / keys[1]).write_bytes(b"")
    (tmp_path / "x.zarr" / keys[2]).write_bytes(b"short")
    found = open_source(f"{url}/x.zarr").survey()
    assert (found.missing, found.empty, found.wrong_size) == tuple((key,) for key in keys)


def _references(path, how, drop=()):
    """An array in a file of references: chunks within it, whole files, or parts of one file."""
    refs, blob = {}, b""
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        key, raw = file.relative_to(path).as_posix(), file.read_bytes()
        if file.name in (".zarray", ".zattrs", "zarr.json"):
            refs[key] = raw.decode()
        elif key in drop:
            continue
        elif how == "inlined":
            refs[key] = "base64:" + base64.b64encode(raw).decode()
        elif how == "files":
            refs[key] = [file.as_uri()]
        else:
            refs[key] = [(path.parent / "blob").as_uri(), len(blob), len(raw)]
            blob += raw
    (path.parent / "blob").write_bytes(blob)
    (path.parent / "refs.json").write_text(json.dumps({"version": 1, "refs": refs}))
    fs = ReferenceFileSystem(
        fo=str(path.parent / "refs.json"), remote_protocol="file", asynchronous=True
    )
    return zarr.open_array(FsspecStore(fs, read_only=True), mode="r", zarr_format=2)


@pytest.mark.parametrize("compressors", COMPRESSORS.values(), ids=COMPRESSORS)
@pytest.mark.parametrize("how", ["inlined", "files", "parts"])
def test_an_array_in_references_is_whole(tmp_path, how, compressors):
    _write(tmp_path / "x.zarr", 2, compressors)
    source = open_source(_references(tmp_path / "x.zarr", how))
    source.survey().raise_for_damage()
    np.testing.assert_array_equal(source.read(0, 60), X)
    assert (source.survey().stored_bytes > 0) == (how == "parts")


@pytest.mark.parametrize("how", ["inlined", "files", "parts"])
def test_a_chunk_that_no_reference_names_is_missing(tmp_path, how):
    _write(tmp_path / "x.zarr", 2, None)
    source = open_source(_references(tmp_path / "x.zarr", how, drop=("3.0",)))
    with pytest.raises(DamagedDataError, match=r"1 of 6 chunks is missing .* '3\.0'"):
        source.survey().raise_for_damage()
