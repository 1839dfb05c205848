"""Jobs that are disturbed: a file, the data that it names, and what it is to write."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

__all__ = ["N_CHUNKS", "Job", "Place", "make_data"]

OUTPUTS = {"model": "model.zarr", "labels": "labels.zarr", "scores": "scores.zarr"}
REPORT = "report.json"
N_CHUNKS = 12
_CHUNK_ROWS, _N_FEATURES = 40_000, 4
# Not of a sample first, which would leave next to no passes over all rows to be disturbed.
_MODEL = {"components": 6, "tol": 0, "max_iter": 15, "progressive": False}


@dataclass(frozen=True)
class Place:
    """Where data and outputs of a job lie.

    Attributes
    ----------
    data, root : str
        Path or URL; outputs lie below the second.
    storage_options : mapping
        For fsspec.
    """

    data: str
    root: str
    storage_options: dict[str, Any]

    def is_there(self, name: str) -> bool:
        """Whether a reader finds something under this name."""
        node = f"{self.root}/{name}"
        # A store of objects has no folders: its readers find a node by its metadata.
        is_object = "://" in self.root and name != REPORT
        return bool(self._files.exists(f"{node}/zarr.json" if is_object else node))

    def bits(self, name: str) -> dict[str, bytes]:
        """All arrays of a node, as bytes; raises if one cannot be read."""
        found: Any = zarr.open(
            f"{self.root}/{name}", mode="r", storage_options=self.storage_options or None
        )
        if isinstance(found, zarr.Array):
            return {"": np.asarray(found[...]).tobytes()}
        return {key: np.asarray(found[key][...]).tobytes() for key in sorted(found)}

    def text(self, name: str) -> str:
        return bytes(self._files.cat_file(f"{self.root}/{name}")).decode()

    @property
    def names(self) -> list[str]:
        """What there is, hidden names too."""
        if not self._files.exists(self.root):
            return []
        listed = self._files.ls(self.root, detail=False)
        return [path.rstrip("/").rpartition("/")[2] for path in listed]

    @property
    def _files(self) -> Any:
        protocol = "s3" if "://" in self.root else "file"
        files = fsspec.filesystem(protocol, **self.storage_options)
        files.invalidate_cache()
        return files


@dataclass(frozen=True)
class Job:
    """A job file in a folder of its own, and what runs of it leave.

    Attributes
    ----------
    folder : Path
    place : Place
    """

    folder: Path
    place: Place

    @classmethod
    def make(cls, folder: Path, place: Place) -> Job:
        """Write the file."""
        folder.mkdir(exist_ok=True)
        job = {
            "data": place.data,
            "model": _MODEL,
            "checkpoint": f"{place.root}/checkpoint",
            "checkpoint_every": 4 if place.storage_options else 1,  # S3 in Python is slow
            "outputs": {
                key: f"{place.root}/{name}" for key, name in {**OUTPUTS, "report": REPORT}.items()
            },
        }
        (folder / "job.yaml").write_text(json.dumps(job))
        return cls(folder, place)

    def beside(self, suffix: str) -> Path:
        """A file beside the folder, which no output is looked for in."""
        return self.folder.with_name(f"{self.folder.name}.{suffix}")

    @property
    def stderr(self) -> str:
        """What the last attempt said."""
        return self.beside("err").read_text()

    @property
    def errors(self) -> list[str]:
        """Its errors, as the command tells them; what it did not foresee is none of them."""
        return [line for line in self.stderr.splitlines() if line.startswith("Error: ")]

    def outputs(self) -> dict[str, dict[str, bytes]]:
        """Bits of what is there under its name: raises if that is not whole."""
        if self.place.is_there(REPORT):
            assert json.loads(self.place.text(REPORT))["n_rows"] == N_CHUNKS * _CHUNK_ROWS
        return {
            name: self.place.bits(name) for name in OUTPUTS.values() if self.place.is_there(name)
        }

    @property
    def is_done(self) -> bool:
        """Whether all is there."""
        return all(map(self.place.is_there, [*OUTPUTS.values(), REPORT]))

    def remove(self) -> None:
        """Make room."""
        shutil.rmtree(self.folder)


def make_data(path: Path, seed: int) -> None:
    """Components that overlap, so that EM has its passes to make."""
    rng = np.random.default_rng(seed)
    centres = 1.2 * rng.normal(size=(_MODEL["components"], _N_FEATURES))
    n_rows = N_CHUNKS * _CHUNK_ROWS
    array = zarr.create_array(
        path,
        shape=(n_rows, _N_FEATURES),
        dtype="float64",
        chunks=(_CHUNK_ROWS, _N_FEATURES),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )
    array[...] = centres[rng.integers(len(centres), size=n_rows)] + rng.normal(size=array.shape)
