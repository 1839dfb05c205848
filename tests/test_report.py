"""The report: one page about a saved model that needs nothing else.

Asserted: nothing in it is loaded from anywhere, every picture has an alternative text, what comes
from data is no markup; its numbers are the model's; what speaks against a model is said; its size;
that it is written whole or not at all.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from commands import chunk, forked, tree, write_store
from made_data import made_mixture, rows_of

from daskgmm import GaussianMixture, load_model, open_rows, select
from daskgmm.errors import (
    DamagedDataError,
    DaskGMMWarning,
    OutputExistsError,
    ParameterError,
)
from daskgmm.report.findings import doubts
from daskgmm.report.page import write_report
from daskgmm.report.sections import spread


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.pictures, self.headings, self.cells = [], [], [], []
        self.tags, self._open, self.ids = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self._open = tag
        self.links += [found[name] for name in ("src", "href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag == "img":
            self.pictures.append(found)

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("h1", "h2"):
            self.headings.append(data)
        elif self._open in ("td", "th"):
            self.cells.append(data)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return rows_of(made_mixture("full", 3, 3, separation=3.0), 1500)


@pytest.fixture(scope="module")
def made(tmp_path_factory, x):
    """A folder with rows in Parquet, a model of them that was selected, and their report."""
    folder = tmp_path_factory.mktemp("made")
    pd.DataFrame(x, columns=["temp", "<script>&", "price ($)"]).to_parquet(folder / "x.parquet")
    selection = select(str(folder / "x.parquet"), range(2, 4), random_state=0)
    selection.model.set_threshold(str(folder / "x.parquet"), quantile=0.01)
    selection.model.save(folder / "m.zarr")
    model, data, output = (str(folder / name) for name in ("m.zarr", "x.parquet", "r.html"))
    return folder, selection.model, write_report(model, output, data)


def test_it_is_whole_and_loads_nothing(made):
    text = (made[0] / "r.html").read_text()
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert text.rstrip().endswith("</html>")
    assert all(link.startswith(("data:image/svg+xml,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert "script" not in page.tags
    assert "<script>" not in text
    assert "&lt;script&gt;&amp;" in text
    assert len(text) < 1_000_000


def test_each_picture_has_a_text_and_is_whole(made):
    page = Page((made[0] / "r.html").read_text())
    # Each panel of sharpness and of selection is one; a single iteration is a sentence.
    assert len(page.pictures) == 7 + (len(made[1].history_) > 1)
    for picture in page.pictures:
        assert len(picture["alt"]) > 40
        svg = unquote(picture["src"].partition(",")[2])
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert int(picture["width"]) < 2_000


def test_sections_are_those_that_there_is_something_for(made, x, tmp_path):
    headings = Page((made[0] / "r.html").read_text()).headings
    everything = [
        *("Components", "Rows and components", "Sharpness and overlap", "Log density"),
        *("Selection", "Convergence", "The run", "Settings"),
    ]
    assert headings[1:] == everything
    model = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], np.ones((1, 2)))
    model.save(tmp_path / "m.zarr")
    told = write_report(str(tmp_path / "m.zarr"), str(tmp_path / "r.html"))
    headings = Page((tmp_path / "r.html").read_text()).headings
    assert headings[1:] == ["Components", "The run", "Settings"]
    assert told["found"].endswith("of parameters that were found elsewhere.")


def test_numbers_are_those_of_the_model(made):
    folder, model, told = made
    cells = Page((folder / "r.html").read_text()).cells
    for k in range(3):
        assert f"{model.weights_[k]:.4g}" in cells
        deviations = np.sqrt(np.diagonal(model.covariances_[k]))
        for mean, deviation in zip(model.means_[k], deviations, strict=True):
            assert spread(mean, deviation) in cells
    for one in model.selection_["candidates"][1:]:
        gain = one["held_out_gain_per_row"], one["held_out_gain_standard_error"]
        assert spread(*gain) in cells
    text = (folder / "r.html").read_text()
    height = model.score(str(folder / "x.parquet"))
    assert f"a log-likelihood of {height:.6g} nats per row" in text
    assert "3 full components in 3 features, fitted to 1,500 rows" in told["found"]


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (386.31, 99.2, "386 \u00b1 99"),
        (-3126.4, 1013.0, "-3100 \u00b1 1000"),
        (2.926, 102.0, "0 \u00b1 100"),
        (-0.02, 0.1, "-0.02 \u00b1 0.10"),
        (-4.64486, 0.00347, "-4.6449 \u00b1 0.0035"),
        (1.5e-6, 2e-7, "1.5e-06 \u00b1 2e-07"),
        (3e9, 4e8, "3e+09 \u00b1 4e+08"),
        (1.25, 0.0, "1.25 \u00b1 0"),
        (None, None, "\u2013"),
    ],
)
def test_values_have_the_digits_that_their_error_has(value, error, said):
    assert spread(value, error) == said


def test_facts_of_the_run_are_those_of_the_fit(made):
    """Its memory and versions, and not those of the process that writes the page."""
    folder, model, _ = made
    loaded = load_model(folder / "m.zarr")
    assert loaded.made_with_ == model.made_with_ == loaded.record()["made_with"]
    assert loaded.peak_memory_bytes_ == model.peak_memory_bytes_
    text = (folder / "r.html").read_text()
    for name, version in model.made_with_["versions"].items():
        assert f"{name} {version}" in text
    assert "of one process" in text


def test_a_fit_that_can_be_relied_on_is_not_doubted(tmp_path):
    x = rows_of(made_mixture("full", 2, 2, separation=6.0), 5000)
    np.save(tmp_path / "x.npy", x)
    GaussianMixture(2, random_state=0).fit(x).save(tmp_path / "m.zarr")
    places = [str(tmp_path / name) for name in ("m.zarr", "r.html", "x.npy")]
    told = write_report(*places)
    assert told["doubts"] == []
    assert "Nothing" in told["trust"]


def test_what_speaks_against_a_model_is_said(tmp_path):
    """One iteration, for rows that are few."""
    x = np.random.default_rng(0).normal(size=(90, 2))
    np.save(tmp_path / "x.npy", x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(
            2, progressive=False, stepper="plain", max_iter=1, tol=1e-12, random_state=0
        ).fit(x)
    model.save(tmp_path / "m.zarr")
    told = write_report(*(str(tmp_path / name) for name in ("m.zarr", "r.html", "x.npy")))
    text = (tmp_path / "r.html").read_text()
    for words in ("has not converged", "90 rows are few for 11 free parameters"):
        assert any(words in doubt for doubt in told["doubts"]), words
        assert words in text
    assert told["trust"].startswith(f"{len(told['doubts'])} things")


def test_rows_that_are_not_like_those_of_the_fit_are_told(tmp_path):
    x = np.random.default_rng(0).normal(size=(5_000, 2))
    GaussianMixture(1).fit(x).save(tmp_path / "m.zarr")
    np.save(tmp_path / "far.npy", x + 10.0)
    told = write_report(*(str(tmp_path / name) for name in ("m.zarr", "far.html", "far.npy")))
    (said,) = told["doubts"]
    assert re.search(r"rows of this report have a log-likelihood of -10\d.* fit had -2\.8", said)


def test_a_component_that_the_ridge_blurs_is_told_of_a_saved_model(tmp_path):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(3_600, 2)), 3e-4 * rng.normal(size=(2_400, 2))])
    with pytest.warns(DaskGMMWarning, match="reg_covar is 8.% of the least variance"):
        GaussianMixture(2, random_state=0).fit(x).save(tmp_path / "m.zarr")
    loaded = load_model(tmp_path / "m.zarr")
    assert any(said.startswith("Reg_covar is 8") for said in doubts(loaded, None))


def test_components_that_overlap_are_named(tmp_path):
    means = np.array([[-0.3, 0.0], [0.3, 0.0], [50.0, 0.0]])
    model = GaussianMixture.from_parameters(np.array([0.4, 0.4, 0.2]), means, np.ones((3, 2)))
    model.set_params(random_state=0).save(tmp_path / "m.zarr")
    np.save(tmp_path / "x.npy", model.sample(1000)[0])
    told = write_report(*(str(tmp_path / name) for name in ("m.zarr", "r.html", "x.npy")))
    unsure, overlap = told["doubts"]
    assert re.match(r"Only (1[5-9]|2\d)% of 1,000 rows", unsure)
    assert overlap.startswith(("Components 0 and 1 overlap", "Components 1 and 0 overlap"))
    assert "other pair" not in overlap  # 0 with 1, and 1 with 0, are the same


def test_a_component_that_took_up_outliers_is_named(tmp_path):
    """One of 0.24% of the rows, a thousand times as wide as the others."""
    weights, widths = [0.4976, 0.5, 0.0024], np.array([1.0, 1.0, 1e3])
    means = [[-3.0, 0.0], [3.0, 0.0], [0.0, 0.0]]
    model = GaussianMixture.from_parameters(
        weights, means, np.square(widths), covariance_type="spherical"
    )
    model.save(tmp_path / "m.zarr")
    (doubt,) = write_report(str(tmp_path / "m.zarr"), str(tmp_path / "r.html"))["doubts"]
    assert doubt.startswith(
        "Component 2 holds 0.24% of the weight, and is 1,000 times as wide in x0"
    )
    assert "--noise true" in doubt
    wide = GaussianMixture.from_parameters(
        [0.3, 0.3, 0.4], means, np.square(widths), covariance_type="spherical"
    )
    wide.save(tmp_path / "wide.zarr")
    assert write_report(str(tmp_path / "wide.zarr"), str(tmp_path / "w.html"))["doubts"] == []


def test_a_page_is_small_whatever_the_model(tmp_path):
    mixture = made_mixture("diag", 80, 40)
    model = GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type="diag"
    )
    model.save(tmp_path / "m.zarr")
    np.save(tmp_path / "x.npy", rows_of(mixture, 2000))
    write_report(*(str(tmp_path / name) for name in ("m.zarr", "r.html", "x.npy")))
    text = (tmp_path / "r.html").read_text()
    assert len(text) < 1_000_000
    assert "of the 20 largest of 80 components, in the 12 of 40 features" in text


def test_rows_on_a_grid_have_a_map(tmp_path):
    a = np.random.default_rng(0).normal(size=(2, 10, 20)) + np.where(np.arange(20) < 10, -5, 5)
    data = xr.Dataset({"a": (("time", "y", "x"), a), "b": (("time", "y", "x"), a[:, ::-1] ** 2)})
    data.to_zarr(tmp_path / "data.zarr", consolidated=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = open_rows(str(tmp_path / "data.zarr"), variables=["a", "b"])
        GaussianMixture(2, random_state=0).fit(rows).save(tmp_path / "m.zarr")
        write_report(str(tmp_path / "m.zarr"), str(tmp_path / "r.html"), rows)
    assert "Map" in Page((tmp_path / "r.html").read_text()).headings


# -- whole or not at all -----------------------------------------------------------


def test_nothing_is_left_of_a_report_on_damaged_rows(tmp_path, x):
    data = write_store(tmp_path / "x.zarr", x, rows=300)
    GaussianMixture(2, random_state=0).fit(str(data)).save(tmp_path / "m.zarr")
    chunk(data).unlink()
    before = tree(tmp_path)
    with pytest.raises(DamagedDataError):
        write_report(str(tmp_path / "m.zarr"), str(tmp_path / "r.html"), str(data))
    assert tree(tmp_path) == before


def test_what_is_there_is_kept_unless_it_may_be_replaced(made):
    folder, _, _ = made
    (folder / "mine.html").write_text("mine")
    words = str(folder / "m.zarr"), str(folder / "mine.html")
    with pytest.raises(OutputExistsError):
        write_report(*words)
    assert (folder / "mine.html").read_text() == "mine"
    write_report(*words, overwrite=True)
    assert (folder / "mine.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(ParameterError, match=r"end its name in \.html"):
        write_report(words[0], str(folder / "r.pdf"))
    with pytest.raises(ParameterError, match="overlap"):
        write_report(words[0], str(folder / "m.zarr" / "r.html"))


@pytest.mark.slow  # whole commands
def test_the_command_writes_it(made, tmp_path):
    folder, _, _ = made
    done = forked(
        *("report", folder / "m.zarr", "--data", folder / "x.parquet"),
        *("--output", "page.html", "--json"),
        cwd=tmp_path,
    )
    assert done.json["found"] == made[2]["found"]
    assert (tmp_path / "page.html").read_text().rstrip().endswith("</html>")
    fitted = forked(
        *("fit", folder / "x.parquet", "--components", 3, "--output", "m.zarr"),
        *("--report", "of-fit.html", "--json"),
        cwd=tmp_path,
    )
    assert fitted.json["report"] == "of-fit.html"
    assert "Rows and components" in Page((tmp_path / "of-fit.html").read_text()).headings
    before = tree(tmp_path)
    words = ("fit", folder / "x.parquet", "--components", 3, "--output", "new.zarr")
    assert forked(*words, "--report", "of-fit.html", cwd=tmp_path).status == 1
    assert tree(tmp_path) == before  # refused before the fit
    refused = forked("report", folder / "m.zarr", "--output", "page.txt", cwd=tmp_path)
    assert (refused.status, "end its name in .html" in refused.error) == (2, True)


def test_of_a_table_it_takes_the_columns_that_the_model_knows(made, tmp_path):
    folder = made[0]
    table = pd.read_parquet(folder / "x.parquet").assign(station="text")
    table.to_parquet(tmp_path / "y.parquet")
    done = forked(
        *("report", folder / "m.zarr", "--data", "y.parquet", "--output", "r.html"), cwd=tmp_path
    )
    assert done.status == 0, done.stderr
    assert "checksum of the data" in (tmp_path / "r.html").read_text()
