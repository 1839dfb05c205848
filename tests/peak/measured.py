"""Peak resident memory of a command, in a process that has done nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm.storage.outputs.row_outputs import chunk_rows as rows_of_chunk

# VmHWM and not ru_maxrss, which Linux hands down from the parent through exec.
_CHILD = """
import sys
from pathlib import Path
from daskgmm.cli import main

status = 0
try:
    if sys.argv[1:]:
        main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
(line,) = [s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM")]
print("peak", int(line.split()[1]) * 1024, file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True)
class Measured:
    """A command that has ended as expected."""

    peak: int
    stdout: str
    stderr: str


def measured(*arguments: object, status: int = 0) -> Measured:
    """Run a command to its end; without arguments, import it only."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    *_, last = done.stderr.splitlines()
    return Measured(int(last.removeprefix("peak ")), done.stdout, done.stderr)


def write_rows(path: Path, n_rows: int, n_features: int, *, chunk_rows: int = 1 << 15) -> Path:
    """Write rows of four components, float32, without ever holding more than a chunk."""
    rng = np.random.default_rng(0)
    centres = (rng.normal(size=(4, n_features)) * 4).astype(np.float32)
    array = zarr.create_array(
        path,
        shape=(n_rows, n_features),
        chunks=(rows_of_chunk(n_rows, chunk_rows, 4 * n_features), n_features),
        dtype=np.float32,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )
    for start in range(0, n_rows, chunk_rows):
        n = min(chunk_rows, n_rows - start)
        x = rng.standard_normal((n, n_features), dtype=np.float32)
        x += centres[rng.integers(4, size=n)]
        array[start : start + n] = x
    return path


def write_grid(path: Path, n_times: int, chunk: tuple[int, ...]) -> Path:
    """Write profiles of two variables, float32, at ten levels of a grid, and a mask of the sea.

    A time takes 21 MB; ``chunk`` is that of (time, level, lat, lon).
    """
    rng = np.random.default_rng(0)
    shape, dims = (n_times, 10, 360, 720), ("time", "level", "lat", "lon")
    group = zarr.create_group(path)
    how = {"dtype": np.float32, "compressors": [ZstdCodec(level=1), Crc32cCodec()]}
    stored = [
        group.create_array(name, shape=shape, chunks=chunk, dimension_names=dims, **how)
        for name in ("temp", "salt")
    ]
    for start in range(0, n_times, chunk[0]):
        n = min(chunk[0], n_times - start)
        regime = 5.0 * rng.integers(3, size=(n, 1, *shape[2:])).astype(np.float32)
        for array in stored:
            x = rng.standard_normal((n, *shape[1:]), dtype=np.float32)
            x += regime
            x[:, :, rng.random(shape[2:]) < 0.05] = np.nan
            array[start : start + n] = x
    sea = rng.random(shape[2:]) < 0.7
    group.create_array("sea", data=sea, dimension_names=dims[2:])
    area = np.cos(np.radians(np.linspace(-89.75, 89.75, 360)))
    group.create_array("area", data=area, dimension_names=("lat",))
    return path
