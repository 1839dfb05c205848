"""Errors of usage show it, and the nearest option first; errors of data do not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from commands import write_store

from daskgmm.cli import main
from daskgmm.events import Message, listening
from daskgmm.tables import open_as_fitted

WORDS = ("--components", "1", "--output", "m.zarr")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("--colums", "--columns"), ("--componets", "--components"), ("--overwite", "--overwrite")],
)
def test_the_nearest_option_comes_first(misspelt, meant):
    """They were in the order of the alphabet: --cluster before --columns."""
    done = CliRunner().invoke(main, ["fit", "data.zarr", *WORDS, misspelt, "a"])
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.stderr
    assert done.stderr.startswith("Usage: ")


def test_errors_of_data_show_no_usage(tmp_path):
    write_store(tmp_path / "x.zarr", np.random.default_rng(0).normal(size=(50, 2)))
    words = (*WORDS[:-1], str(tmp_path / "m.csv"))
    done = CliRunner().invoke(main, ["fit", str(tmp_path / "x.zarr"), *words])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")


def test_how_rows_are_read_is_told_once(tmp_path):
    cells = {name: (("y", "x"), np.ones((3, 4))) for name in "ab"}
    xr.Dataset(cells).to_zarr(tmp_path / "g.zarr", consolidated=False)
    told = []
    with listening(lambda event: told.append(event) if isinstance(event, Message) else None):
        for _ in range(3):
            open_as_fitted(tmp_path / "g.zarr", {"variables": ["a", "b"]})
    assert len(told) == 1
