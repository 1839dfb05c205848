"""Durable: all of an output reaches the disk before its name does, and before it is noted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made_data import made_mixture

from daskgmm.storage import ResultArray, RowAxes, RowOutput, save_model, write_text
from daskgmm.storage.places.durable import settle


@pytest.fixture
def synced(monkeypatch):
    """Inodes that were synced, in order."""
    found = []
    fsync = os.fsync

    def noted(descriptor):
        found.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def _inodes(path: Path) -> set[int]:
    return {p.stat().st_ino for p in (path, *path.rglob("*"))}


def _rows(path):
    result = ResultArray(np.dtype("f8"), np.nan, ("component",), (2,))
    with RowOutput.create(path, RowAxes((100,)), {"p": result}, partition_rows=50) as output:
        for start in (0, 50):
            output.writer.write(start, {"p": np.ones((50, 2))})


OUTPUTS = {
    "model": lambda path: save_model(path, made_mixture("full", 3, 2), {}, overwrite=False),
    "rows": _rows,
    "text": lambda path: write_text(path, "all of it"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_is_on_the_disk_before_its_name_is(tmp_path, synced, kind):
    path = tmp_path / "output"
    OUTPUTS[kind](path)
    assert _inodes(path) <= set(synced[:-1])
    assert synced[-1] == tmp_path.stat().st_ino  # the name


def test_a_disk_that_fails_is_an_error_and_no_output(tmp_path, monkeypatch):
    def failing(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        settle(tmp_path)
    for kind, write in OUTPUTS.items():
        with pytest.raises(OSError, match=r"cannot be .*Input/output error"):
            write(tmp_path / kind)
    assert not any(tmp_path.iterdir())
