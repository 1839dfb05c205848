"""Stores of every kind that rows can be in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numcodecs import BZ2, LZ4, LZMA, Blosc
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.storage import ZipStore

N_ROWS, N_FEATURES = 103, 5

CHUNKED: dict[str, dict[str, Any]] = {
    "v3": {"chunks": (10, 5)},
    "v3-crc32c": {"chunks": (10, 5), "compressors": [ZstdCodec(), Crc32cCodec()]},
    "v3-zstd-checksum": {"chunks": (10, 5), "compressors": [ZstdCodec(checksum=True)]},
    "v3-gzip": {"chunks": (10, 5), "compressors": [GzipCodec()]},
    "v3-blosc": {"chunks": (10, 5), "compressors": [BloscCodec()]},
    "v3-uncompressed": {"chunks": (10, 5), "compressors": None},
    "v3-uncompressed-crc32c": {"chunks": (10, 5), "compressors": [Crc32cCodec()]},
    "v3-big-endian": {"chunks": (10, 5), "serializer": BytesCodec(endian="big")},
    "v3-features": {"chunks": (27, 2)},
    "v3-one-chunk": {"chunks": (500, 500)},
    "v3-sharded": {"chunks": (5, 5), "shards": (20, 5)},
    "v3-sharded-features": {"chunks": (15, 2), "shards": (30, 4)},
    "v3-sharded-crc32c": {
        "chunks": (5, 5),
        "shards": (20, 5),
        "compressors": [ZstdCodec(), Crc32cCodec()],
    },
    "v3-sharded-index-first": {
        "chunks": (5, 5),
        "shards": {"shape": (20, 5), "index_location": "start"},
        "compressors": [BloscCodec()],
    },
    "v2": {"chunks": (10, 5), "zarr_format": 2},
    "v2-features": {"chunks": (10, 2), "zarr_format": 2},
    "v2-uncompressed-fortran": {
        "chunks": (10, 5),
        "zarr_format": 2,
        "compressors": None,
        "order": "F",
    },
    "v2-blosc": {"chunks": (10, 5), "zarr_format": 2, "compressors": Blosc()},
    "v2-lz4": {"chunks": (10, 5), "zarr_format": 2, "compressors": LZ4()},
    "v2-lzma": {"chunks": (10, 5), "zarr_format": 2, "compressors": LZMA()},
    "v2-bz2": {"chunks": (10, 5), "zarr_format": 2, "compressors": BZ2()},
    "v2-nested": {
        "chunks": (10, 5),
        "zarr_format": 2,
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
}
"""How to write a Zarr array: keyword arguments of zarr.create_array."""

_counter = itertools.count()


def write_chunked(path: Path, x: np.ndarray, layout: str) -> Path:
    array = zarr.create_array(path, shape=x.shape, dtype=x.dtype, fill_value=0, **CHUNKED[layout])
    array[:] = x
    return path


@dataclass(frozen=True)
class Victim:
    """A stored object in the middle of an array, its key, and the rows of which it holds some."""

    array: Path
    chunk: Path
    key: str
    rows: slice

    @classmethod
    def of(cls, path: Path) -> Victim:
        array = zarr.open_array(path, mode="r")
        cell = array.shards or array.chunks
        index = math.ceil(N_ROWS / cell[0]) // 2
        key = array.metadata.encode_chunk_key((index, 0))
        rows = slice(index * cell[0], min((index + 1) * cell[0], N_ROWS))
        return cls(path, path / key, key, rows)


def _npy(path: Path, x: np.ndarray) -> Path:
    path = path.with_suffix(".npy")
    np.save(path, x)
    return path


def _npy_fortran(path: Path, x: np.ndarray) -> Path:
    return _npy(path, np.asfortranarray(x))


def _zip(path: Path, x: np.ndarray) -> Path:
    path = path.with_suffix(".zip")
    with ZipStore(path, mode="w") as store:
        zarr.create_array(store, data=x, chunks=(10, 5))
    return path


def _memory_url(path: Path, x: np.ndarray) -> str:
    url = f"memory://{path.name}-{next(_counter)}/x.zarr"
    zarr.create_array(url, data=x, chunks=(10, 2))
    return url


def _file_url(path: Path, x: np.ndarray) -> str:
    return write_chunked(path, x, "v3").as_uri()


def _group(path: Path, x: np.ndarray) -> Path:
    zarr.create_group(path).create_array("x", data=x, chunks=(10, 5))
    return path


def _member_of_group(path: Path, x: np.ndarray) -> Path:
    return _group(path, x) / "x"


def _open_array(path: Path, x: np.ndarray) -> zarr.Array:
    return zarr.open_array(write_chunked(path, x, "v3-sharded"))


def _open_group(path: Path, x: np.ndarray) -> zarr.Group:
    return zarr.open_group(_group(path, x))


def _in_memory(path: Path, x: np.ndarray) -> zarr.Array:
    return zarr.create_array({}, data=x, chunks=(10, 5))


def _table(x: np.ndarray) -> pa.Table:
    return pa.table({f"x{j}": x[:, j] for j in range(x.shape[1])})


def _parquet(path: Path, x: np.ndarray) -> Path:
    path = path.with_suffix(".parquet")
    pq.write_table(_table(x), path, row_group_size=17)
    return path


def _parquet_folder(path: Path, x: np.ndarray) -> Path:
    """Files and row groups of unequal sizes, in hive's folders."""
    table = _table(x)
    for i, (start, stop, size) in enumerate([(0, 1, 1), (1, 60, 25), (60, len(x), 100)]):
        folder = path / f"part={i}"
        folder.mkdir(parents=True)
        pq.write_table(table[start:stop], folder / "rows.parquet", row_group_size=size)
    (path / "_SUCCESS").touch()
    return path


def _parquet_glob(path: Path, x: np.ndarray) -> str:
    return f"{_parquet_folder(path, x)}/*/*.parquet"


def _parquet_url(path: Path, x: np.ndarray) -> str:
    url = f"memory://{path.name}-{next(_counter)}/x.parquet"
    with fsspec.open(url, "wb") as file:
        pq.write_table(_table(x), file, row_group_size=40)
    return url


@dataclass(frozen=True)
class Kind:
    """A kind of store: writes rows, returns what a user would pass."""

    name: str
    write: Callable[[Path, np.ndarray], Any]
    is_place: bool = True
    """Whether that is a path or URL."""


def _chunked(layout: str) -> Callable[[Path, np.ndarray], Path]:
    return lambda path, x: write_chunked(path, x, layout)


KINDS = [
    *(Kind(layout, _chunked(layout)) for layout in CHUNKED),
    Kind("npy", _npy),
    Kind("npy-fortran", _npy_fortran),
    Kind("zip", _zip),
    Kind("memory-url", _memory_url),
    Kind("file-url", _file_url),
    Kind("group", _group),
    Kind("member", _member_of_group),
    Kind("open-array", _open_array, is_place=False),
    Kind("open-group", _open_group, is_place=False),
    Kind("in-memory", _in_memory, is_place=False),
    Kind("parquet", _parquet),
    Kind("parquet-folder", _parquet_folder),
    Kind("parquet-glob", _parquet_glob),
    Kind("parquet-url", _parquet_url),
]
