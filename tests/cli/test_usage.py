"""Errors of usage show it, and the nearest option first; errors of data do not."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
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
    [
        *(
            ("--colums", "--columns"),
            ("--componets", "--components"),
            ("--overwite", "--overwrite"),
        ),
        *(("--random-state", "--seed"), ("--covariance_type", "--covariance")),
    ],
)
def test_the_nearest_option_comes_first(misspelt, meant):
    """They were in the order of the alphabet: --cluster before --columns.

    Those of scikit-learn's names, which are the parameters', are known as well.
    """
    done = CliRunner().invoke(main, ["fit", "data.zarr", *WORDS, misspelt, "a"])
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.stderr
    assert done.stderr.startswith("Usage: ")


def test_several_files_are_a_glob(tmp_path, monkeypatch):
    """A shell makes several words of a glob without quotes; the second one was called unexpected."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(50, 2))
    for name in ("1", "2"):
        pd.DataFrame(x, columns=["a", "b"]).assign(id=name).to_parquet(f"{name}.parquet")
    done = CliRunner().invoke(main, ["fit", "1.parquet", "2.parquet", *WORDS])
    assert done.exit_code == 2
    (pattern,) = shlex.split(done.stderr.rpartition("such as ")[2])
    done = CliRunner().invoke(main, ["fit", pattern, "--columns", "a,b", *WORDS, "--json"])
    assert json.loads(done.stdout)["n_rows"] == 100
    for more in ([], ["--keep", "id", "--overwrite"]):
        words = [pattern, "--model", "m.zarr", "--output", "l.parquet", *more]
        done = CliRunner().invoke(main, ["predict", *words])
        assert ("--keep id" in done.stdout) == (not more)


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
