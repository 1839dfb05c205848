"""The command as users run it: a real process, its exit status and what it printed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

DASKGMM = str(Path(sys.executable).with_name("daskgmm"))
"""The console script beside the interpreter."""

PROGRESS = ("scan: ", "starts: ", "pass ", "note: ", "Usage: ", "Try ")
"""How lines on standard error begin that are not an error."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON document and nothing else."""
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The error, which must be one line on standard error, beside progress."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if not line.startswith(PROGRESS)]
        assert len(errors) == 1, self.stderr
        assert errors[0].startswith("Error: "), self.stderr
        assert self.stdout == ""
        return errors[0].removeprefix("Error: ")

    @property
    def notes(self) -> list[str]:
        """Lines that are notes."""
        return [line for line in self.stderr.splitlines() if line.startswith("note: ")]


def daskgmm(*arguments: object, cwd: Path | None = None) -> Finished:
    """Run the console script."""
    done = subprocess.run(
        [DASKGMM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["daskgmm.cli", "s3fs"])


def forked(*arguments: object, cwd: Path, env: Mapping[str, str | None] | None = None) -> Finished:
    """Run the command in a process of its own, forked from one that has imported it.

    Importing takes seconds, which would be most of the time of a table of bad inputs.
    In its environment ``env`` is added to that of the first such process; None removes.
    """
    out, err = cwd.parent / f"{cwd.name}.out", cwd.parent / f"{cwd.name}.err"
    process = FORKS.Process(target=_run, args=([*map(str, arguments)], cwd, out, err, env or {}))
    process.start()
    process.join()
    status = process.exitcode
    process.close()
    assert status is not None
    return Finished(status, out.read_text(), err.read_text())


def _run(
    arguments: list[str], cwd: Path, out: Path, err: Path, env: Mapping[str, str | None]
) -> None:
    from daskgmm.cli import main

    os.chdir(cwd)
    for name, value in env.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    main(arguments, prog_name="daskgmm")


def write_store(
    path: Path | str, x: np.ndarray, *, rows: int = 1000, checksum: bool = True, **options: Any
) -> Path:
    """Write rows as a Zarr array in chunks of ``rows`` rows, zstd and crc32c."""
    layout: dict[str, Any] = {
        "chunks": (rows, *x.shape[1:]) if x.size else x.shape or (1,),
        "compressors": [ZstdCodec(level=1), Crc32cCodec()] if checksum else None,
        "config": {"write_empty_chunks": True},
    }
    if 0 in layout["chunks"]:
        layout["chunks"] = tuple(max(n, 1) for n in layout["chunks"])
    array = zarr.create_array(path, shape=x.shape, dtype=x.dtype, **(layout | options))
    array[...] = x
    return Path(path)


def chunk(store: Path, index: int = 1) -> Path:
    """The file of a chunk of rows."""
    return store / "c" / str(index) / "0"


def mixture_rows(
    n_rows: int, n_features: int, n_components: int, *, seed: int = 0, spread: float = 4.0
) -> np.ndarray:
    """Rows of unit Gaussians around centres ``spread`` apart on average, float32."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_components, n_features)) * spread
    return (
        centres[rng.integers(n_components, size=n_rows)] + rng.normal(size=(n_rows, n_features))
    ).astype(np.float32)


def tree(folder: Path) -> Mapping[str, str]:
    """Everything in a folder, hidden files too, and a hash of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }
