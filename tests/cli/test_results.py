"""Results for each row, side by side in one group: what ``predict`` and jobs write.

Asserted: names, dimensions, attributes and fills as xarray and plain zarr read them; values
against each other and scikit-learn; whole or not at all. Not asserted: sizes of chunks.
"""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
import zarr
from click.testing import CliRunner
from commands import chunk, forked, tree

from daskgmm import job, load_model
from daskgmm._version import __version__
from daskgmm.cli import main
from daskgmm.errors import ParameterError

EVERY = "labels,probabilities,log_density,top:2"
PREDICT = ("predict", "data.zarr", "--model", "model.zarr")


def test_all_results_lie_in_one_group(folder, x):
    done = forked(*(*PREDICT, "--output", "results.zarr", "--results", EVERY, "--json"), cwd=folder)
    assert {done.json[name] for name in EVERY.split(",")} == {"results.zarr"}
    found = xr.open_zarr(folder / "results.zarr")
    assert {name: (v.dims, str(v.dtype)) for name, v in found.data_vars.items()} == {
        "labels": (("row",), "float64"),  # by its fill: xarray has no gaps in integers
        "probabilities": (("row", "component"), "float64"),
        "log_density": (("row",), "float64"),
        "top_labels": (("row", "rank"), "float64"),
        "top_probabilities": (("row", "rank"), "float64"),
    }
    assert dict(found.sizes) == {"row": len(x), "component": 3, "rank": 2}
    assert found.component.to_numpy().tolist() == [0, 1, 2]
    assert all(array.chunks is not None for array in found.data_vars.values())
    model = load_model(folder / "model.zarr").to_sklearn()
    expected = model.predict_proba(x.astype(np.float64))
    # rows are float32: log densities of some -10 round at 1e-6 absolute
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(found.log_density, model.score_samples(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.labels, found.probabilities.argmax("component"))
    np.testing.assert_array_equal(found.labels, found.top_labels.sel(rank=0))
    largest = np.sort(found.probabilities, axis=1)[:, :0:-1]
    np.testing.assert_array_equal(found.top_probabilities, largest)


def test_the_place_of_many_results_has_a_line_of_its_own(folder):
    words = ("--output", "results.zarr", "--results", EVERY, "--probabilities", "p.zarr")
    _, *said = forked(*PREDICT, *words, cwd=folder).stdout.splitlines()
    assert said == [
        f"{'results':<24}{EVERY.replace(',', ', ')}",
        f"{'output':<24}results.zarr",
        f"{'probabilities':<24}p.zarr",
    ]
    assert forked(*PREDICT, "--output", "l.zarr", cwd=folder).stdout.split()[-2:] == [
        "labels",
        "l.zarr",
    ]


def test_attributes_say_what_the_results_are_of(folder):
    forked(*PREDICT, "--output", "results.zarr", "--results", EVERY, cwd=folder)
    group = zarr.open_group(folder / "results.zarr", mode="r")
    about = dict(group.attrs)
    assert (about["model"], about["data"]) == ("model.zarr", "data.zarr")
    assert about["daskgmm_version"] == __version__
    assert about["Conventions"].startswith("CF-1.")
    labels = group["labels"]
    assert labels.dtype == np.int32
    assert labels.fill_value == labels.attrs["_FillValue"] == -2
    assert labels.attrs["flag_values"] == [0, 1, 2]
    assert labels.attrs["flag_meanings"] == "component_0 component_1 component_2"
    for name in ("labels", "probabilities", "log_density", "top_labels", "top_probabilities"):
        assert group[name].attrs["long_name"]
    assert group["probabilities"].attrs["units"] == "1"
    assert np.isnan(group["log_density"].fill_value)


def test_stored_results_are_described_as_those_on_a_grid_are(folder, x):
    """One table has names, fills and attributes of both."""
    forked(*PREDICT, "--output", "results.zarr", "--results", EVERY, cwd=folder)
    stored = xr.open_zarr(folder / "results.zarr")
    model = load_model(folder / "model.zarr")
    grid = xr.DataArray(x.astype(np.float64), dims=("row", "feature"))
    for method in ("predict", "predict_proba", "score_samples"):
        found = getattr(model, method)(grid)
        same = stored[found.name]
        assert same.dims == found.dims
        attributes = {k: np.asarray(v).tolist() for k, v in found.attrs.items()}
        assert same.attrs == attributes
        np.testing.assert_array_equal(same.encoding["_FillValue"], found.encoding["_FillValue"])
        np.testing.assert_allclose(same, found, rtol=1e-6, atol=1e-6)


def test_what_was_not_asked_for_is_not_there(folder):
    forked(*PREDICT, "--output", "labels.zarr", cwd=folder)
    assert set(xr.open_zarr(folder / "labels.zarr").variables) == {"labels"}
    forked(*PREDICT, "--output", "p.zarr", "--results", "log_density", cwd=folder)
    assert set(xr.open_zarr(folder / "p.zarr").variables) == {"log_density"}


def test_all_components_are_the_top_where_there_are_fewer(folder):
    forked(*PREDICT, "--output", "top.zarr", "--results", "top:50", cwd=folder)
    top = xr.open_zarr(folder / "top.zarr").top_probabilities
    assert top.sizes["rank"] == 3
    np.testing.assert_allclose(top.sum("rank"), 1.0, rtol=0, atol=1e-14)


def test_outputs_of_their_own_have_the_bits_of_those_side_by_side(folder):
    apart = ("--probabilities", "p.zarr", "--log-density", "d.zarr")
    together = ("--output", "results.zarr", "--results", EVERY)
    assert forked(*PREDICT, *together, *apart, cwd=folder).status == 0
    group = zarr.open_group(folder / "results.zarr", mode="r")
    for place, name in (("p.zarr", "probabilities"), ("d.zarr", "log_density")):
        alone = zarr.open_array(folder / place / name, mode="r")
        np.testing.assert_array_equal(alone[...], group[name][...])


@pytest.mark.parametrize("wrong", ["lables", "labels,labels", "top:0", "top", "", "labels,,top:2"])
def test_a_result_that_is_none_is_wrong_usage(folder, wrong):
    before = tree(folder)
    refused = forked(*PREDICT, "--output", "r.zarr", "--results", wrong, cwd=folder)
    assert refused.status == 2
    assert "must be a list of some of labels, probabilities, log_density, top:5" in refused.error
    assert tree(folder) == before


def test_a_read_that_fails_leaves_no_output(folder):
    before = tree(folder)
    damaged = chunk(folder / "data.zarr", 7)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = forked(*PREDICT, "--output", "results.zarr", "--results", EVERY, cwd=folder)
    assert done.status == 1
    assert {name.partition("/")[0] for name in tree(folder)} == {
        name.partition("/")[0] for name in before
    }


def test_info_of_results(folder, x):
    forked(*PREDICT, "--output", "labels.zarr", "--results", "labels,top:2", cwd=folder)
    told = forked("info", "labels.zarr", "--json", cwd=folder).json
    assert (told["kind"], told["model"]) == ("results", "model.zarr")
    assert told["variables"]["labels"]["shape"] == [len(x)]
    assert told["variables"]["top_labels"]["dimensions"] == ["row", "rank"]


def test_labels_are_no_rows_and_probabilities_are(folder, x):
    apart = ("--probabilities", "p.zarr")
    assert forked(*PREDICT, "--output", "labels.zarr", *apart, cwd=folder).status == 0
    assert forked("check", "p.zarr", "--json", cwd=folder).json["shape"] == [len(x), 3]
    refused = forked("check", "labels.zarr", cwd=folder)
    assert refused.status == 1
    assert "labels.zarr/labels has shape (10000,)" in refused.error


# -- from Python and job files -------------------------------------------------


def test_from_python_a_text_says_what_lies_in_a_place(folder):
    data, model = str(folder / "data.zarr"), str(folder / "model.zarr")
    outputs = {"labels,top:2": str(folder / "a.zarr"), "labels": str(folder / "b.zarr")}
    told = job.predict(data, model, outputs)
    assert (told["labels"], told["top:2"]) == (str(folder / "a.zarr"), str(folder / "a.zarr"))
    one, two = (xr.open_zarr(place) for place in outputs.values())
    xr.testing.assert_equal(one.labels, two.labels)
    with pytest.raises(ParameterError, match="results must be"):
        job.predict(data, model, {"label": str(folder / "c.zarr")})
    assert not (folder / "c.zarr").exists()


def write_job(folder, results, **outputs):
    content = {
        "data": "data.zarr",
        "model": {"components": 3, "seed": 0},
        "results": results,
        "outputs": {"model": "fitted.zarr", "results": "results.zarr", **outputs},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump({k: v for k, v in content.items() if v}))


def test_a_job_names_one_place_for_several_results(folder):
    write_job(folder, ["labels", "top:2"], labels="labels.zarr")
    done = forked("run", "job.yaml", "--json", cwd=folder)
    assert done.json["done"] == ["model", "rows"]
    found = xr.open_zarr(folder / "results.zarr")
    assert set(found.data_vars) == {"labels", "top_labels", "top_probabilities"}
    xr.testing.assert_equal(found.labels, xr.open_zarr(folder / "labels.zarr").labels)
    again = forked("run", "job.yaml", cwd=folder)
    assert again.stdout.startswith("nothing to do: ")
    # Other results at the same place are another output, which needs no other fit.
    write_job(folder, "log_density", labels="labels.zarr")
    assert forked("run", "job.yaml", "--json", cwd=folder).json["done"] == ["rows"]
    assert set(xr.open_zarr(folder / "results.zarr").data_vars) == {"log_density"}
    assert json.loads((folder / "results.zarr/zarr.json").read_text())["node_type"] == "group"


def test_a_job_writes_labels_where_nothing_else_is_said(folder):
    write_job(folder, None)
    assert forked("run", "job.yaml", cwd=folder).status == 0
    assert set(xr.open_zarr(folder / "results.zarr").data_vars) == {"labels"}


def test_the_hint_at_keys_works_for_any_names(folder, x, monkeypatch):
    """Names with commas and blanks were neither quoted as names nor as one word."""
    monkeypatch.chdir(folder)
    names = list("abc")[: x.shape[1]]
    frame = pd.DataFrame(x, columns=names)
    keys = ["id", "k,1", "s p", "it's", 'a "q"', "last"]
    frame.assign(**dict.fromkeys(keys, "y")).to_parquet("rows.parquet")
    fit = ("fit", "rows.parquet", "--columns", ",".join(names), "--components", "3")
    run = CliRunner().invoke
    assert run(main, [*fit, "--max-iter", "0", "--output", "named.zarr"]).exit_code == 0
    words = ["predict", "rows.parquet", "--model", "named.zarr", "--output", "out.parquet"]
    said = shlex.split(run(main, words).stdout.partition("can come along: ")[2])
    assert said[-1].endswith(",...")  # five are shown
    done = run(main, [*words, "--overwrite", said[0], said[1].removesuffix(",...")])
    assert done.exit_code == 0, done.stderr
    assert list(pd.read_parquet("out.parquet").columns) == [*keys[:5], "labels"]
