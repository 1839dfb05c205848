"""``daskgmm update``: a saved model goes on with new rows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import forked, mixture_rows, tree, write_store

from daskgmm import load_model

N = 10_000


@pytest.fixture
def new(folder) -> Path:
    """New rows beside data and model."""
    return write_store(folder / "new.zarr", mixture_rows(2000, 3, 3))


# -- the command ---------------------------------------------------------------


def test_a_model_is_replaced_by_itself_updated(folder, new):
    expected = load_model(folder / "model.zarr").update(new)
    done = forked("update", "model.zarr", "new.zarr", "--json", cwd=folder)
    assert (done.json["n_rows"], done.json["update"]["n_rows"]) == (12_000, 2000)
    np.testing.assert_array_equal(load_model(folder / "model.zarr").means_, expected.means_)
    assert [p.name for p in folder.glob(".*model*")] == []
    shown = forked("info", "model.zarr", cwd=folder).stdout
    assert 'drift                   {"n_updates": 1, "log_likelihood_before": ' in shown
    assert "updates " in shown


def test_another_output_leaves_the_model_as_it_is(folder, new):
    before = tree(folder / "model.zarr")
    arguments = ("update", "model.zarr", "new.zarr", "--output", "other.zarr")
    done = forked(*arguments, "--half-life", 2000, cwd=folder)
    assert done.status == 0, done.stderr
    assert "new rows" in done.stdout
    assert tree(folder / "model.zarr") == before
    assert load_model(folder / "other.zarr")._statistics().weight == pytest.approx(N / 2 + 2000)
    assert "other.zarr exists" in forked(*arguments, cwd=folder).error


def test_new_rows_have_weights(folder, new):
    zarr.save_array(folder / "w.zarr", np.full(2000, 2.0))
    done = forked("update", "model.zarr", "new.zarr", "--weights", "w.zarr", cwd=folder)
    assert done.status == 0, done.stderr
    assert load_model(folder / "model.zarr")._statistics().weight == pytest.approx(N + 4000)


def test_what_cannot_be_is_refused_on_one_line_with_nothing_written(folder, new):
    zarr.save_array(folder / "wide.zarr", np.ones((10, 5)))
    zarr.save_array(folder / "few.zarr", np.zeros((0, 3)))
    del zarr.open_group(folder / "model.zarr").attrs["statistics"]
    shutil.copytree(folder / "model.zarr", folder / "old.zarr")
    fit = ("fit", "data.zarr", "--components", 3, "--output", "model.zarr", "--overwrite")
    assert forked(*fit, cwd=folder).status == 0
    before = tree(folder)
    for arguments, said in (
        (("model.zarr", "wide.zarr"), "expecting 3 features"),
        (("model.zarr", "few.zarr"), "no rows"),
        (("model.zarr", "model.zarr"), "holds 7 arrays"),
        (("old.zarr", "new.zarr"), "keeps no statistics .* fit its rows again"),
        (("nothing.zarr", "new.zarr"), "nothing.zarr"),
    ):
        error = forked("update", *arguments, cwd=folder).error
        assert re.search(said, error), error
    assert tree(folder) == before
