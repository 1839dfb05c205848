"""``daskgmm uncertainty``: its JSON, its table, and the group that it writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from commands import forked

from daskgmm import load_model

pytestmark = pytest.mark.slow  # whole commands; tests/test_uncertainty.py has their parts

UNCERTAINTY = ("uncertainty", "data.zarr", "--model", "model.zarr", "--n-replicates", 4)


def test_json_and_group_have_what_python_finds(folder, x):
    done = forked(*UNCERTAINTY, "--output", "errors.zarr", "--json", cwd=folder)
    told = done.json
    model = load_model(folder / "model.zarr")
    found = model.uncertainty(folder / "data.zarr", n_replicates=4, random_state=0)
    facts = {"n_rows", "n_replicates", "n_lost", "n_passes", "rows_read", "seconds", "level"}
    assert set(told) >= facts | {"peak_memory_bytes", "model", "output", "note"} | set(found)
    assert (told["n_rows"], told["n_replicates"], told["n_lost"]) == (len(x), 4, 0)
    group = xr.open_zarr(folder / "errors.zarr")
    for name, spread in found.items():
        assert group[name].dims == spread.dims
        for what, values in spread.arrays.items():
            np.testing.assert_array_equal(told[name][what], values)
            key = name if what == "estimate" else f"{name}_{what}"
            np.testing.assert_array_equal(group[key], values)
    assert group.attrs["n_replicates"] == 4
    assert list(group.coords) == ["component", "feature", "other_feature"]
    described = forked("info", "errors.zarr", "--json", cwd=folder).json
    assert described["format"] == "daskgmm-uncertainty"
    again = forked(*UNCERTAINTY, "--output", "errors.zarr", cwd=folder)
    assert again.status == 1
    assert "errors.zarr" in again.error


def test_the_table_has_a_line_for_each_component(folder):
    done = forked(*UNCERTAINTY, cwd=folder)
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("log-likelihood per row  -")
    assert "\u00b1" in lines[0]
    k = load_model(folder / "model.zarr").n_components
    for heading in ("means \u00b1 standard errors", "standard deviations \u00b1 standard errors"):
        at = lines.index(heading)
        assert lines[at + 1].split() == ["component", "weight", "x0", "x1", "x2"]
        assert [line.split()[0] for line in lines[at + 2 : at + 2 + k]] == [
            str(i) for i in range(k)
        ]


def test_fewer_than_two_replicates_are_wrong_usage(folder):
    done = forked(*UNCERTAINTY[:-1], 1, cwd=folder)
    assert done.status == 2
    assert "whole number of 2 or more" in done.stderr


def test_rows_of_other_features_are_an_error(folder, x):
    np.save(folder / "other.npy", x[:, :2])
    done = forked("uncertainty", "other.npy", "--model", "model.zarr", cwd=folder)
    assert done.status == 1
    assert "features" in done.error


def test_fit_says_whether_a_sample_would_have_done(folder):
    done = forked("fit", "data.zarr", "--components", 2, "--output", "new.zarr", cwd=folder)
    assert "would a sample do?      a" in done.stdout
    of = json.loads(forked("info", "new.zarr", "--json", cwd=folder).stdout)["subsample"]
    assert of["of"] == 10_000
