"""A folder with rows and a job file, for tests of ``daskgmm run``."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from commands import mixture_rows, write_store

JOB = {
    "data": "data.zarr",
    "model": {"components": 4, "tol": 0, "max_iter": 12, "seed": 3, "progressive": False},
    "outputs": {
        "model": "model.zarr",
        "labels": "labels.zarr",
        "probabilities": "probabilities.zarr",
        "scores": "scores.zarr",
        "report": "report.json",
    },
}
SMALL = JOB | {"model": {"components": 2, "max_iter": 2, "tol": 0, "progressive": False}}


def written_rows(folder: Path) -> Path:
    """The rows of the job, as a store in a folder."""
    return write_store(folder / "data.zarr", mixture_rows(60_000, 3, 4, spread=1.5), rows=5_000)


def folder_of_job(data: Path, folder: Path) -> Path:
    """A folder with a copy of the rows and a job file."""
    shutil.copytree(data, folder / "data.zarr")
    write(folder, JOB)
    return folder


def write(folder: Path, job: dict) -> None:
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
