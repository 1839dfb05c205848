"""Stores: Zarr arrays of made rows, written once and kept, resumed where interrupted."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import zarr
from dask.system import CPU_COUNT
from zarr.codecs import BloscCodec

from .made import draw, truth

__all__ = ["CODECS", "MadeStore", "rows_of"]

CODECS: dict[str, Any] = {
    "zstd": "auto",  # what Zarr chooses by itself
    "lz4": BloscCodec(cname="lz4", shuffle="shuffle"),
    "none": None,
}

BLOCK_ROWS = 1 << 19
_SEED = 3


@dataclass(frozen=True)
class MadeStore:
    """Rows of a known mixture in a Zarr array; what they are is in the array's name."""

    folder: Path
    n_rows: int
    n_features: int
    n_components: int
    dtype: str
    codec: str
    chunk_rows: int

    @property
    def path(self) -> Path:
        """Where the array lies when it is complete."""
        return self.folder / (
            f"{self.n_rows}x{self.n_features}-{self.dtype}-K{self.n_components}-{self.codec}"
            f"-{self.chunk_rows}.zarr"
        )

    @property
    def n_bytes(self) -> int:
        """Of the rows, decoded."""
        return self.n_rows * self.n_features * np.dtype(self.dtype).itemsize

    def made(self) -> Path:
        """Write what is not there yet; return :attr:`path`.

        Each block of rows has its own seed, and is noted in a journal once it is
        written: an interrupted run goes on where it was, to the same rows.
        """
        if self.path.exists():
            return self.path
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        journal = self.path.with_suffix(".journal")
        done = {int(line) for line in journal.read_text().split()} if journal.exists() else set()
        array = zarr.open_array(partial, mode="r+") if done else self._created(partial)
        rows = self.chunk_rows * max(1, BLOCK_ROWS // self.chunk_rows)
        starts = [start for start in range(0, self.n_rows, rows) if start not in done]
        with (
            click.progressbar(length=self.n_rows, label=f"writing {self.path}") as progress,
            journal.open("a") as written,
            ThreadPoolExecutor(CPU_COUNT) as pool,
        ):
            progress.update(self.n_rows - sum(min(rows, self.n_rows - s) for s in starts))
            futures = {pool.submit(self._write, array, s, rows): s for s in starts}
            try:
                for future in as_completed(futures):
                    progress.update(future.result())
                    print(futures[future], file=written, flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        partial.rename(self.path)
        journal.unlink()
        return self.path

    def _created(self, partial: Path) -> Any:
        return zarr.create_array(
            partial,
            shape=(self.n_rows, self.n_features),
            chunks=(min(self.chunk_rows, self.n_rows), self.n_features),
            dtype=self.dtype,
            compressors=CODECS[self.codec],
            overwrite=True,
        )

    def _write(self, array: Any, start: int, rows: int) -> int:
        n_rows = min(rows, self.n_rows - start)
        rng = np.random.default_rng([_SEED, start])
        mixture = truth(self.n_features, self.n_components)
        array[start : start + n_rows] = draw(mixture, n_rows, rng, self.dtype)
        return n_rows


def rows_of(n_bytes: int, n_features: int, dtype: str, chunk_rows: int) -> int:
    """Rows, in whole chunks, that take about so many bytes."""
    chunks = n_bytes / (n_features * np.dtype(dtype).itemsize * chunk_rows)
    return max(1, math.floor(chunks)) * chunk_rows
