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
