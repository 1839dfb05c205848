"""The command ``convert``, and commands that convert before they read."""

from __future__ import annotations

import json
import re
import shlex
import signal
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from commands import forked, mixture_rows, tree

from daskgmm import GaussianMixture, load_model
from daskgmm.cli import main
from daskgmm.conversion import before_fits
from daskgmm.conversion.options import CONVERT_OPTIONS, How
from daskgmm.conversion.readers import delimited
from daskgmm.em import Iteration
from daskgmm.errors import StorageError
from daskgmm.events import listening

pytestmark = pytest.mark.slow  # whole commands; tests/conversion has the parts

X = mixture_rows(900, 2, 2).astype(np.float64)
FIT = ("--components", 2, "--max-iter", 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with ``t.csv``, and a temporary folder of its own beside it."""
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.assign(word="x").to_csv(tmp_path / "work" / "t.csv", index=False)
    monkeypatch.chdir(tmp_path / "work")
    here = partial(tempfile.mkdtemp, dir=tmp_path / "temporary")
    monkeypatch.setattr(before_fits, "tempfile", SimpleNamespace(mkdtemp=here))
    return tmp_path / "work"


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def temporary(folder):
    return [path for path in (folder.parent / "temporary").iterdir() if "daskgmm" in path.name]


def test_the_report_as_json(folder):
    done = run("convert", "t.csv", "--output", "x.zarr", "--columns", "b,a", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows_read"], report["rows_written"], report["n_features"]) == (900, 900, 2)
    assert [c["name"] for c in report["columns"]] == ["b", "a"]
    assert [c["reason"] for c in report["columns_dropped"]] == ["is text"]
    assert report.keys() >= {"bytes_read", "bytes_written", "seconds", "peak_memory_bytes"}
    np.testing.assert_array_equal(zarr.open_group("x.zarr", mode="r")["x"][:], X[:, ::-1])


def test_the_report_for_people(folder):
    done = run("convert", "t.csv", "--output", "x.parquet")
    assert done.exit_code == 0, done.stderr
    for words in ("900 rows read, 900 written", "a, b", "'word' is text", "x.parquet"):
        assert words in done.stdout


def test_a_row_of_the_table_is_an_option_and_a_value():
    options = {parameter.name for parameter in main.commands["convert"].params}
    assert {option.name for option in CONVERT_OPTIONS} <= options
    assert How.of() == How(**{option.name: option.default for option in CONVERT_OPTIONS})


def test_options_of_text(folder):
    Path("o.txt").write_text("1,5\t2\n?\t4\n")
    words = ("--no-header", "--separator", "tab", "--decimal", ",", "--missing-text", "?")
    done = run("convert", "o.txt", "--output", "x.zarr", *words, "--missing", "keep")
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(zarr.open_group("x.zarr")["x"][:], [[1.5, 2], [np.nan, 4]])


def test_a_fit_converts_and_says_how_to_do_it_once(folder):
    before = tree(folder)
    done = run("fit", "t.csv", *FIT, "--output", "m.zarr", "--json")
    assert done.exit_code == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "is converted for this" in line]
    assert "'word' is text" in done.stderr
    fitted = load_model("m.zarr")
    assert fitted.feature_names_in_.tolist() == ["a", "b"]
    assert set(tree(folder)) - set(before) == {n for n in tree(folder) if n.startswith("m.zarr")}
    assert temporary(folder) == []
    words = shlex.split(line.partition("once and for all: ")[2])
    assert words[0] == "daskgmm"
    assert run(*words[1:]).exit_code == 0
    in_zarr = GaussianMixture(2, random_state=0, max_iter=3).fit("t.zarr")
    np.testing.assert_array_equal(in_zarr.means_, fitted.means_)


@pytest.mark.parametrize(
    ("output", "said"), [("no/m.zarr", "does not exist"), ("m.zarr", "exists")]
)
def test_an_output_that_cannot_be_is_refused_before_the_conversion(output, said, folder):
    """All of the table was converted first."""
    zarr.create_group(folder / "m.zarr")
    for words in (("fit", "t.csv", *FIT), ("select", "t.csv", "--components", "1:2")):
        done = run(*words, "--output", output)
        assert done.exit_code == 1
        assert said in done.stderr
        assert "is converted" not in done.stderr


def test_select_score_and_predict_convert_too(folder):
    few = ("--max-iter", 2, "--no-progressive")
    done = run("select", "t.csv", "--components", "1:2", *few, "--output", "m.zarr")
    assert done.exit_code == 0, done.stderr
    done = run("score", "t.csv", "--model", "m.zarr", "--json")
    expected = load_model("m.zarr").score(pd.DataFrame(X, columns=["a", "b"]))
    assert json.loads(done.stdout)["log_likelihood_per_row"] == pytest.approx(expected, rel=1e-12)
    done = run("predict", "*.csv", "--model", "m.zarr", "--output", "labels.zarr")
    assert done.exit_code == 0, done.stderr
    assert zarr.open_array("labels.zarr/labels").shape == (900,)
    assert temporary(folder) == []


@pytest.mark.parametrize("keep", ["id", "id,a", None])
def test_results_of_csv_are_in_parquet_where_that_is_asked_for(keep, folder):
    """Fits took CSV, and predict could write Zarr alone of it."""
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = GaussianMixture(2, random_state=0, max_iter=3, tol=1.0).fit(frame)
    model.save("m.zarr")
    frame.assign(id=[f"row {i}" for i in range(900)]).to_csv("t.csv", index=False)
    words = ("--model", "m.zarr", *(("--keep", keep) if keep else ()), "--output")
    done = run("predict", "t.csv", *words, "labels.parquet", "--results", "labels,log_density")
    assert done.exit_code == 0, done.stderr
    found = pd.read_parquet("labels.parquet")
    kept = keep.split(",") if keep else []
    assert found.columns.tolist() == [*kept, "labels", "log_density"]
    np.testing.assert_array_equal(found["labels"], model.predict(frame))
    np.testing.assert_allclose(found["log_density"], model.score_samples(frame), rtol=1e-12)
    if kept:
        assert found["id"].tolist() == [f"row {i}" for i in range(900)]
    way = shlex.split(done.stderr.partition("once and for all: ")[2].splitlines()[0])
    assert run(*way[1:]).exit_code == 0
    again = run("predict", way[-1], *words, "again.parquet", "--results", "labels,log_density")
    assert again.exit_code == 0, again.stderr
    assert pd.read_parquet("again.parquet").equals(found)
    done = run("outliers", "t.csv", *words, "outliers.parquet")
    assert done.exit_code == 0, done.stderr
    assert pd.read_parquet("outliers.parquet")["outlier"].sum() == 9
    assert temporary(folder) == []


def test_parquet_that_no_result_could_be_is_refused_before_anything_is_read(folder):
    frame = pd.DataFrame(X, columns=["a", "b"])
    GaussianMixture(1, max_iter=1, tol=1.0).fit(frame).save("m.zarr")
    done = run("predict", "t.csv", "--model", "m.zarr", "--output", "l.zarr", "--keep", "word")
    assert done.exit_code == 2
    assert "l.zarr is none; end its name in .parquet" in done.stderr
    Path("there.parquet").mkdir()
    Path("there.parquet/x.txt").touch()
    done = run("predict", "t.csv", "--model", "m.zarr", "--output", "there.parquet")
    assert done.exit_code == 1
    assert "is converted" not in done.stderr


def test_a_fit_begins_with_the_memory_that_the_conversion_freed(folder, monkeypatch):
    given_back = []
    monkeypatch.setattr(before_fits, "give_back_memory", lambda: given_back.append(1))
    assert run("fit", "t.csv", *FIT, "--output", "m.zarr").exit_code == 0
    assert given_back == [1]


def test_features_of_a_model_are_taken_from_a_table_that_has_more(folder):
    """As they are from Parquet; all columns were held against them."""
    done = run("fit", "t.csv", *FIT, "--output", "m.zarr", "--columns", "b,a")
    assert done.exit_code == 0, done.stderr
    model = load_model("m.zarr")
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.assign(word="x", more=1.0).to_csv("more.csv", index=False)
    done = run("predict", "more.csv", "--model", "m.zarr", "--output", "labels.zarr")
    assert done.exit_code == 0, done.stderr
    labels = zarr.open_array("labels.zarr/labels")[:]
    np.testing.assert_array_equal(labels, model.predict(frame[["b", "a"]]))
    done = run("update", "m.zarr", "more.csv", "--output", "m2.zarr")
    assert done.exit_code == 0, done.stderr
    assert load_model("m2.zarr").feature_names_in_.tolist() == ["b", "a"]


def test_a_column_is_no_weight_where_the_table_is_converted(folder):
    (folder / "t.csv").write_text("a,w\n1,2\n2,3\n7,1\n")
    words = ("--components", 1, "--output", "m.zarr", "--columns", "a", "--weights", "w")
    done = run("fit", "t.csv", *words)
    assert done.exit_code == 1
    way = shlex.split(done.stderr.partition("of which one can: ")[2])
    assert run(*way[1:]).exit_code == 0
    done = run("fit", way[-1], *words)
    assert done.exit_code == 0, done.stderr
    assert load_model("m.zarr").means_[0] == pytest.approx((1 * 2 + 2 * 3 + 7) / 6)


def test_options_of_stores_are_refused_where_data_are_converted(folder):
    done = run("fit", "t.csv", *FIT, "--output", "m.zarr", "--mask", "sea")
    assert done.exit_code == 2
    assert "mask (--mask) is of no use for t.csv, which is converted; leave it out" in done.stderr
    assert temporary(folder) == []


def test_netcdf_is_a_grid_as_its_copy_in_zarr_is(folder):
    """Cells came back as bare rows, and gaps were refused with advice that led in a circle."""
    dims = ("time", "lat", "lon")
    values = X.copy().reshape(10, 9, 10, 2)
    data = xr.Dataset({name: (dims, values[..., j]) for j, name in enumerate("ab")})
    data = data.assign(sea=(("lat", "lon"), (np.arange(90) % 5 > 0).reshape(9, 10).astype("i1")))
    data = data.assign_coords(lat=np.linspace(-40, 40, 9), time=pd.date_range("2020", periods=10))
    data.a[3, 4, 5] = np.nan
    packed = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -9999}
    data.to_netcdf("o.nc", encoding={"a": packed})
    Path("o.zarr").mkdir()
    how = ("--variables", "a,b", "--mask", "sea")
    done = run("fit", "o.nc", *FIT, *how, "--output", "m.zarr")
    assert done.exit_code == 0, done.stderr
    once = "daskgmm (convert o.nc --output o-converted.zarr); then give what it writes with "
    way = re.search(once + "(.*)", done.stderr)
    assert run(*way[1].split()).exit_code == 0
    done = run("fit", "o-converted.zarr", *FIT, *way[2].split(), "--output", "of_zarr.zarr")
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(load_model("m.zarr").means_, load_model("of_zarr.zarr").means_)
    for source, output in (("o.nc", "l.zarr"), ("o-converted.zarr", "of_copy.zarr")):
        done = run("predict", source, "--model", "m.zarr", "--output", output)
        assert done.exit_code == 0, done.stderr
    with xr.open_zarr("l.zarr") as found, xr.open_zarr("of_copy.zarr") as of_copy:
        xr.testing.assert_equal(found, of_copy)
        assert found.labels.dims == dims
        xr.testing.assert_equal(found.time, data.time)
        gaps = data.a.isnull() | (data.sea == 0)
        np.testing.assert_array_equal(found.labels.isnull(), gaps)
    assert run("select", "o.nc", "--components", "1:2", *how).exit_code == 0
    assert (
        run(
            "fit", "o.nc", *FIT, "--variables", "a,b", "--weights", "sea", "--output", "w.zarr"
        ).exit_code
        == 0
    )
    done = run(
        "predict", "o.nc", "--model", "m.zarr", "--variables", "b,a", "--output", "l.parquet"
    )
    assert done.exit_code == 1  # in Parquet there are rows, of which one has a gap
    assert temporary(folder) == []


def test_variables_of_netcdf_are_chosen_for_a_fit(folder):
    xr.Dataset({name: ("row", X[:, j]) for j, name in enumerate("ab")}).to_netcdf("o.nc")
    done = run("fit", "o.nc", *FIT, "--output", "m.zarr", "--variables", "b")
    assert done.exit_code == 0, done.stderr
    assert load_model("m.zarr").feature_names_in_.tolist() == ["b"]


def test_the_way_to_a_copy_of_netcdf_works_for_names_with_blanks_and_commas(folder):
    names = ["a,b", "sea level"]
    data = xr.Dataset({name: ("row", X[:, j]) for j, name in enumerate(names)})
    is_sea = ("row", np.ones(len(X), np.int8), {"flag_values": [0, 1]})
    data.assign({"is sea": is_sea}).to_netcdf("o.nc")
    for which in (("--mask", "is sea"), ()):
        done = run("fit", "o.nc", *FIT, "--output", "m.zarr", "--overwrite", *which)
        assert done.exit_code == 0, done.stderr
        way = re.search(
            r"once and for all: daskgmm (.*); then give what it writes with (.*)", done.stderr
        )
        assert run(*shlex.split(way[1]), "--overwrite").exit_code == 0
        how = shlex.split(way[2])
        if which:
            assert how == [*which]
            continue
        done = run("fit", "o.zarr", *FIT, *how, "--output", "of_zarr.zarr")
        assert done.exit_code == 0, done.stderr
        assert load_model("of_zarr.zarr").feature_names_in_.tolist() == names


def test_an_interrupted_fit_leaves_no_temporary_files(folder):
    def interrupt(event):
        if isinstance(event, Iteration):
            assert temporary(folder) != []
            signal.raise_signal(signal.SIGINT)

    with listening(interrupt):
        done = run("fit", "t.csv", *FIT, "--output", "m.zarr")
    assert done.exit_code == 1
    assert "interrupted" in done.stderr
    assert temporary(folder) == []
    assert not Path("m.zarr").exists()


def test_columns_that_are_left_out_are_grouped_by_the_reason(folder):
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.assign(**{f"c{j}": 0.5 for j in range(5)}).to_csv("n.csv", index=False)
    frame.assign(word="x", c=1.0, d=2.0, text="y").to_csv("t.csv", index=False)
    chosen = ("--columns", "a,b", "--output", "m.zarr", "--overwrite")
    said = run("fit", "n.csv", *FIT, *chosen).stderr
    assert "for this command alone" in said
    assert "left out" not in said
    said = run("fit", "t.csv", *FIT, *chosen).stderr
    assert "2 columns are text: 'word', 'text'; 2 columns were not asked for: 'c', 'd'\n" in said
    said = run("convert", "n.csv", "--columns", "a,b", "--output", "n.zarr").stdout
    assert f"{'left out':<24}5 columns were not asked for: 'c0', 'c1', 'c2' and 2 more\n" in said


def test_without_room_nothing_is_begun(folder, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(before_fits.shutil, "disk_usage", lambda path: usage)
    with (
        pytest.raises(StorageError, match=r"10 B free; set TMPDIR .*convert t\.csv --output"),
        before_fits.converted_before("t.csv"),
    ):
        pass
    assert temporary(folder) == []


BAD = {
    "a ragged line": (
        lambda: Path("t.csv").write_text("a,b\n1,2\n3\n"),
        r"t.csv, line 3: 1 value where",
    ),
    "a missing value": (
        lambda: Path("t.csv").write_text("a,b\n1,2\n,4\n"),
        "t.csv, line 3: a value of 'a' is missing",
    ),
    "no numbers": (lambda: Path("t.csv").write_text("a,b\nx,y\n"), "no column of t.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_one_line_and_leave_nothing(name, folder):
    prepare, words = BAD[name]
    prepare()
    before = tree(folder)
    for command in (
        ("fit", "t.csv", *FIT, "--output", "m.zarr"),
        ("convert", "t.csv", "--output", "x.zarr"),
    ):
        done = run(*command)
        assert done.exit_code == 1
        assert words in done.stderr.splitlines()[-1]
        assert tree(folder) == before
        assert temporary(folder) == []


def test_dashes_in_the_name_of_a_file_are_no_option_of_a_message(folder):
    """Every error of such a file was followed by a remark on options that it did not name."""
    about = "These are options of a conversion"
    for name in ("a--b.csv", "a --missing.csv", "--keep.csv"):
        Path(name).write_text('a,b\n1,2\n3,"x\n5,6\n')
        done = run("fit", f"./{name}", *FIT, "--output", "m.zarr")
        assert "has no end" in done.stderr
        assert about not in done.stderr
        Path(name).write_text("a b\n1 2\n")
        assert about in run("fit", f"./{name}", *FIT, "--output", "m.zarr").stderr


def test_what_converts_not_by_itself_names_the_command(folder):
    for words in (
        ("check", "t.csv"),
        ("fit", "t.csv", *FIT, "--output", "m.zarr", "--cluster", "tcp://127.0.0.1:1"),
    ):
        done = run(*words)
        assert done.exit_code != 0
        if words[0] == "check":
            assert "daskgmm convert t.csv --output t.zarr" in done.stderr


def test_info_says_what_a_table_is_and_how_to_use_it(folder, monkeypatch):
    """It was refused as no model and no rows."""
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 4096)
    text = (folder / "t.csv").read_text()
    (folder / "t.csv").write_text(text + "1,2\n")  # which nobody reads to the end
    before = tree(folder)
    done = run("info", "t.csv", "--json")
    assert done.exit_code == 0, done.stderr
    assert tree(folder) == before
    found = json.loads(done.stdout)
    assert (found["kind"], found["format"], found["n_files"]) == ("data", "CSV", 1)
    assert found["n_bytes"] == len(text) + 4
    assert found["columns"] == {"a": "double", "b": "double"}
    assert found["left_out"] == {"word": "is text"}
    (folder / "t.csv").write_text(text)
    assert found["convert"] in run("info", "t.csv").stdout
    assert run(*shlex.split(found["convert"])[1:]).exit_code == 0
    assert json.loads(run("info", "t.zarr", "--json").stdout)["feature_names"] == ["a", "b"]


def test_info_names_every_command_that_converts(folder):
    """impute, uncertainty, plot and report were missing."""
    has_both = {"cluster", "columns"}  # a command of rows that are converted where no cluster is
    known = {
        name
        for name, of in main.commands.items()
        if has_both <= {parameter.name for parameter in of.params}
    }
    told = json.loads(run("info", "t.csv", "--json").stdout)["read_by"]
    assert set(re.split(", | and ", told.partition(", which ")[0])) == known


def test_info_of_netcdf_has_units(folder):
    rows = {name: ("row", X[:, j], {"units": "m"}) for j, name in enumerate("ab")}
    xr.Dataset(rows).to_netcdf("o.nc")
    found = json.loads(run("info", "o.nc", "--json").stdout)
    assert (found["format"], found["units"]) == ("NetCDF", {"a": "m", "b": "m"})


def test_info_of_netcdf_names_what_can_be_a_mask_or_weights(folder):
    grid = {name: (("y", "x"), X[:, j].reshape(30, 30)) for j, name in enumerate("ab")}
    xr.Dataset(grid | {"c": ("x", np.ones(30))}).to_netcdf("o.nc")
    found = json.loads(run("info", "o.nc", "--json").stdout)
    assert found["left_out"] == {
        "c": "is over (x), not (y, x), and can be a mask or weights of the grid"
    }
    for option in ("--mask", "--weights"):
        done = run("fit", "o.nc", *FIT, option, "c", "--output", "m.zarr", "--overwrite")
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("output", ["x.zarr", "x.parquet"])
def test_a_disk_that_is_full_leaves_nothing(output, folder):
    before = tree(folder)
    done = forked("convert", "t.csv", "--output", output, cwd=folder, file_bytes=4000)
    assert done.status == 1
    assert f"{output} cannot be written" in done.error
    assert tree(folder) == before


def test_commands_keep_the_missing_values_of_csv_for_themselves(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{a},{b}" if i else f"{a}," for i, (a, b) in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]))
    how = ("--components", 1, "--missing", "drop", "--output", "m.zarr", "--json")
    fit = forked("fit", "t.csv", *how, cwd=tmp_path).json
    assert (fit["n_missing"], fit["n_left_out"]) == (1, 1)
    done = forked("predict", "t.csv", "--model", "m.zarr", "--output", "l.zarr", cwd=tmp_path)
    assert done.status == 0, done.stderr
    labels = zarr.open_group(tmp_path / "l.zarr", mode="r")["labels"][:]
    np.testing.assert_array_equal(labels, [-2, *[0] * 59])
