"""Displays: what of the data each one puts on the axes that it is given.

Asserted: values and labels of the artists; what is left out is said; other axes stay as they were;
size is bounded. Not asserted: how it looks.
"""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_data import made_mixture, rows_of
from matplotlib import pyplot as plt

from daskgmm import GaussianMixture, plot, select
from daskgmm.errors import ParameterError
from daskgmm.plot.drawing import ellipse, picture_of, probability, radius_holding, share, svgs_of
from daskgmm.plot.pairs_of_features import density_along
from daskgmm.plot.subject import Subject
from daskgmm.settings import PICTURES

NAMES = ["temp", "salt", "age"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.DataFrame(rows_of(made_mixture("full", 3, 3, separation=3.0), 1000), columns=NAMES)


@pytest.fixture(scope="module")
def model(table) -> GaussianMixture:
    fitted = GaussianMixture(3, random_state=0).fit(table)
    fitted._units = ["K", "1e-3", ""]
    return fitted.set_threshold(table, quantile=0.01)


@pytest.fixture(scope="module")
def selection(table):
    return select(table, range(1, 4), covariance_type=["full", "diag"], random_state=0)


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    """Two classes side by side, with a gap, at two times."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 20, 30)) + np.where(np.arange(30) < 15, -6.0, 6.0)
    a[1] *= -1
    a[:, 3, 4] = np.nan
    coords = {
        "lat": ("lat", np.linspace(-60, 60, 20), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(0, 348, 30), {"units": "degrees_east"}),
        "time": ("time", np.array(["2020-01-01", "2021-01-01"], "M8[ns]")),
    }
    dims = ("time", "lat", "lon")
    return xr.Dataset({"a": (dims, a), "b": (dims, rng.normal(size=a.shape))}, coords)


@pytest.fixture(scope="module")
def model_of_grid(grid) -> GaussianMixture:
    return GaussianMixture(2, order="first-feature", random_state=0).fit(grid)


@pytest.fixture(scope="module", params=list(PICTURES))
def display(request, model, table, selection, grid, model_of_grid):
    """Each kind of picture, not drawn yet."""
    given = {
        "selection": (selection,),
        "map": (model_of_grid, grid),
        "convergence": (model,),
        "components": (model,),
    }.get(request.param, (model, table))
    return plot.DISPLAYS[request.param](*given)


def test_each_kind_has_a_display_and_a_function():
    assert set(plot.DISPLAYS) == set(PICTURES)
    assert set(PICTURES) <= set(plot.__all__)


def test_it_is_drawn_on_the_axes_that_are_given_and_on_no_others(display):
    figure, (ours, theirs) = plt.subplots(1, 2, figsize=(12, 6))
    before = theirs.get_children()
    assert display.plot(ax=ours) is display
    assert display.ax_ is ours
    assert display.figure_ is figure
    assert theirs.get_children() == before
    assert len(plt.get_fignums()) == 1
    for panel in display.axes_.ravel():
        assert panel.figure is figure
        assert panel.axison is False or panel.get_children()


def test_without_axes_a_figure_is_made(display):
    assert display.plot().figure_ is plt.gcf()


def test_files_are_whole_and_small_and_no_figure_of_the_user(display):
    svg = picture_of(display, "svg")
    assert svg.rstrip().endswith(b"</svg>")
    assert len(svg) < 300_000
    assert plt.get_fignums() == []
    assert len(display.alt) > 40


def test_equal_pictures_have_equal_bytes(model):
    display = plot.DISPLAYS["components"](model)
    for form, begin in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        found = picture_of(display, form)
        assert found.startswith(begin)
        assert picture_of(display, form) == found


# -- single kinds ------------------------------------------------------------------


def texts(display) -> list[str]:
    found = display.figure_.findobj(plt.Text)
    return [text.get_text() for text in found if text.get_visible() and text.get_text()]


def test_names_and_units_are_on_the_axes(model, table):
    for display in (plot.pairs(model, table), plot.components(model)):
        assert {"temp (K)", "salt (1e-3)", "age"} <= set(texts(display))
    display = plot.ellipses(model, table, features=["age", "temp"])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("age", "temp (K)")


def test_pairs_show_all_rows_in_bins(model, table):
    display = plot.pairs(model, table, features=["temp", "salt"])
    below = display.axes_[1, 0]
    (mesh,) = below.collections
    low, high = below.get_xlim()
    inside = table["temp"].between(low, high) & table["salt"].between(*below.get_ylim())
    assert mesh.get_array().sum() == inside.sum()
    at = np.unravel_index(np.argmax(mesh.get_array()), mesh.get_array().shape)
    y, x = (np.histogram_bin_edges([], 60, range=r) for r in (below.get_ylim(), (low, high)))
    expected = np.histogram2d(table["salt"], table["temp"], (y, x))[0]
    assert expected[at] == expected.max()


def test_pairs_say_how_many_rows_are_beyond_the_axes(model, table):
    far = table.copy()
    far.iloc[:7] = 1e6
    display = plot.pairs(model, far)
    beyond = int(re.search(r"1,000 rows, (\d+) beyond the axes", display.notes)[1])
    assert beyond == float(display.counted.answers[0]["beyond"])
    assert beyond >= 7


def test_components_that_reach_beyond_the_axes_are_named():
    model = GaussianMixture.from_parameters(
        [0.4976, 0.5, 0.0024],
        [[-3.0, 0.0], [3.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0], [1e6, 1e6]],
        covariance_type="diag",
    )
    display = plot.ellipses(model)
    assert display.ax_.get_xlim() == pytest.approx((-7.0, 7.0))
    assert "Component 2 reaches beyond the axes." in display.notes


def test_ellipses_hold_the_share_of_rows_that_is_said(model):
    law, nu = model._mixture.components, np.inf
    path = ellipse(law.means[0, :2], law.dense()[0][:2, :2], radius_holding(0.9, nu))
    rows = np.random.default_rng(0).multivariate_normal(
        law.means[0, :2], law.dense()[0][:2, :2], size=20_000
    )
    inverse = np.linalg.inv(law.dense()[0][:2, :2])
    squared = np.einsum("ni,ij,nj->n", rows - law.means[0, :2], inverse, rows - law.means[0, :2])
    at = path.vertices[0] - law.means[0, :2]
    # the standard deviation of the share is 0.002
    assert np.mean(squared < at @ inverse @ at) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("nu", [1.0, 3.0, 30.0])
def test_ellipses_of_t_components_hold_it_as_well(nu):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40_000, 2)) / np.sqrt(rng.chisquare(nu, size=(40_000, 1)) / nu)
    inside = np.linalg.norm(rows, axis=1) < radius_holding(0.9, nu)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.008)  # 5 standard deviations
    assert radius_holding(0.9, 1e9) == pytest.approx(radius_holding(0.9, np.inf), rel=1e-6)


@pytest.mark.parametrize("tails", [None, "t"])
def test_densities_on_the_diagonal_integrate_to_one(table, tails):
    model = GaussianMixture(2, tails=tails, random_state=0).fit(table)
    subject = Subject.of(model)
    x = np.sinh(np.linspace(-15.0, 15.0, 100_001))  # to 1.6 million, in steps of 3e-4 at first
    mass = np.trapezoid(density_along(subject, 1, x), x)
    # the rule errs by 1e-8, and t components of one degree of freedom have 1e-6 beyond
    assert mass == pytest.approx(1.0, abs=1e-6)


def test_components_are_shown_by_standardised_means(model, table):
    display = plot.components(model)
    (image,) = display.ax_.images
    np.testing.assert_allclose(image.get_array(), _as_drawn(display))
    # weighted by the components, means of means are 0
    np.testing.assert_allclose(model.weights_ @ display.standardized, 0.0, atol=1e-12)
    # and standard deviations those of the rows, to the stop rule's tolerance
    deviations = display.subject.deviations
    np.testing.assert_allclose(deviations, table.std(ddof=0), rtol=0.01)


def _as_drawn(display):
    """What are fewer, components or features, are the columns: the picture is high, not wide."""
    found = display.standardized
    return found if found.shape[0] >= found.shape[1] else found.T


@pytest.mark.parametrize(("k", "d"), [(3, 30), (20, 4)])
def test_a_heat_map_of_few_components_or_few_features_is_as_narrow_as_a_phone(k, d):
    mixture = made_mixture("diag", k, d)
    model = GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type="diag"
    )
    display = plot.components(model)
    (image,) = display.ax_.images
    np.testing.assert_allclose(image.get_array(), _as_drawn(display))
    inches = 390 / 96  # a phone's pixels, at 96 to the inch
    assert display.panels.inches[0] < inches
    written = texts(display)
    assert [text for text in written if text == "x29"] == ["x29"] * (d == 30)
    assert sum("%" in text for text in written) == k


def test_on_a_page_panels_are_placed_so_that_no_name_lies_over_another_panel():
    """Panels of a page were left where they are before any layout: names lay over the colour bar."""
    mixture = made_mixture("diag", 3, 30)
    model = GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type="diag"
    )
    ((svg, _),) = svgs_of(plot.DISPLAYS["components"](model))
    drawn, _, bar = svg.decode().partition('<g id="axes_2">')
    name = re.search(r"<!-- component \(weight\) -->\s*<g [^>]*translate\(\S+ (\S+)\)", drawn)
    outline = re.search(r'd="(M [^"]*)"', bar)[1]
    top = min(map(float, re.findall(r"[ML] \S+ (\S+)", outline)))
    assert float(name[1]) < top  # downwards from the top of the page


def test_of_many_features_and_components_the_picture_says_which_are_shown():
    mixture = made_mixture("diag", 60, 50)
    model = GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type="diag"
    )
    display = plot.components(model)
    assert display.standardized.shape == (20, 30)
    assert "The 20 largest of 60 components" in display.notes
    assert "30 of 50 features" in display.notes
    display = plot.pairs(model, rows_of(mixture, 500))
    assert display.axes_.shape == (4, 4)
    assert "4 of 50 features" in display.notes
    assert "9 largest of 60 components" in display.notes
    display = plot.responsibilities(model, rows_of(mixture, 500))
    assert display.overlap.shape == (16, 16)
    assert display.greatest.sum() == pytest.approx(1.0)
    assert "The 15 largest of 60 components" in display.notes


def test_overlap_is_of_probabilities(model, table):
    display = plot.responsibilities(model, table)
    probabilities = model.predict_proba(table)
    for k in range(3):
        own = probabilities[probabilities.argmax(axis=1) == k].mean(axis=0)
        np.testing.assert_allclose(display.overlap[k], own, atol=1e-9)
    assert display.sure == pytest.approx(np.mean(probabilities.max(axis=1) >= 0.9))


def test_the_threshold_of_outliers_is_drawn(model, table):
    display = plot.log_density(model, table)
    (line,) = display.ax_.lines
    assert line.get_xdata()[0] == model.threshold_.value
    edges, at = display.densities.edges, model.threshold_.value
    below = display.counts[edges[1:] <= at].sum()
    assert below <= np.sum(model.score_samples(table) < at) == 10
    assert display.counts.sum() + display.counted.answers[0]["below"] == len(table)


def test_convergence_is_that_of_the_history(table, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(
            3, stepper="plain", progressive=False, max_iter=6, random_state=3
        ).fit(table)
    model.save(tmp_path / "m.zarr")
    for one in (model, type(model)._loaded(tmp_path / "m.zarr")):
        above, below = plot.convergence(one).axes_[:, 0]
        n_iter, heights = above.lines[0].get_data()
        accepted = [i for i in model.history_ if i.accepted]
        np.testing.assert_array_equal(n_iter, [i.n_iter for i in accepted])
        np.testing.assert_array_equal(heights, [i.objective for i in accepted])
        gains = below.lines[0].get_data()
        known = [(i.n_iter, i.gain) for i in model.history_[1:] if i.gain > 0]
        np.testing.assert_array_equal(np.transpose(gains), known)
    with pytest.raises(ParameterError, match="no history of passes"):
        plot.convergence(
            GaussianMixture.from_parameters(model.weights_, model.means_, model.covariances_)
        )


@pytest.mark.parametrize(("left", "said"), [(0.0, "nothing"), (np.inf, "not known"), (0.1, "")])
def test_a_single_iteration_is_a_mark_with_its_value(left, said, table):
    """It was a lonely dot, over an empty panel of other limits."""
    fitted = GaussianMixture(1, max_iter=1, tol=1.0).fit(table)
    (only,) = fitted.history_
    fitted.history_ = (replace(only, remaining_gain=left),)
    display = plot.convergence(fitted)
    above, below = display.axes_[:, 0]
    assert above.get_xlim() == below.get_xlim() == (0, 2)
    assert [text.get_text() for text in above.texts] == [f"{only.objective:.6g}"]
    texts = [text.get_text() for text in below.texts]
    assert texts == ([f"left to gain, estimated: {said}"] if said else [])
    assert [line.get_ydata().tolist() for line in below.lines[:-1]] == [[0.1]] * (not said)


def test_selections_are_drawn_from_themselves_and_from_their_models(selection, model):
    for display in (selection.plot(), plot.selection(selection), plot.selection(selection.model)):
        left, right = display.axes_[0]
        ks, heights = left.lines[0].get_data()
        full = [e for e in selection.entries if e.covariance_type == "full"]
        least = min(entry.bic for entry in selection.entries)
        np.testing.assert_array_equal(ks, [entry.n_components for entry in full])
        np.testing.assert_allclose(heights.astype(float), [entry.bic - least for entry in full])
        held_out = right.lines[0].get_ydata()
        expected = [entry.held_out_log_likelihood_per_row for entry in full]
        np.testing.assert_allclose(held_out.astype(float), expected)
        assert f"{selection.best.n_components} {selection.best.covariance_type}" in display.notes
    with pytest.raises(ParameterError, match="not chosen by a selection"):
        plot.selection(model)


def test_selections_are_tables(selection):
    frame = selection.to_frame()
    assert frame.shape[0] == len(selection.entries)
    assert frame.bic.tolist() == [entry.bic for entry in selection.entries]
    assert frame.loc[frame.chosen, "n_components"].tolist() == [selection.best.n_components]
    html = selection._repr_html_()
    assert html.count("<tr>") == 1 + len(selection.entries)
    assert html.count("(chosen)") == 1


def test_names_are_no_formulas(table):
    odd = table.set_axis(["price ($)", r"$\bad$ <b>&", "long " * 50], axis=1)
    model = GaussianMixture(2, random_state=0).fit(odd)
    display = plot.pairs(model, odd)
    svg = picture_of(display, "svg")
    assert svg.rstrip().endswith(b"</svg>")
    labels = [text.replace(r"\$", "$") for text in texts(display)]
    assert {"price ($)", r"$\bad$ <b>&"} <= set(labels)
    assert max(map(len, labels)) < 200


# -- maps --------------------------------------------------------------------------


def test_maps_are_of_the_labels_at_one_time(grid, model_of_grid):
    display = plot.map(model_of_grid, grid)
    labels = model_of_grid.predict(grid).isel(time=0)
    np.testing.assert_array_equal(display.labels, labels)
    assert display.labels[3, 4] == -2
    assert np.isnan(display.certainty[3, 4])
    greatest = model_of_grid.predict_proba(grid).isel(time=0).max("component")
    np.testing.assert_allclose(display.certainty, greatest)
    assert display.ax_.figure.axes
    assert "time = 2020-01-01" in display.notes
    names = {panel.get_xlabel() or panel.get_ylabel() for panel in display.axes_.ravel()}
    assert "lon (degrees_east)" in names
    assert display.shares == pytest.approx({"0": 0.5, "1": 0.5}, abs=0.01)


def test_maps_can_be_of_another_time_and_on_dask(grid, model_of_grid):
    labels = model_of_grid.predict(grid).isel(time=1)
    for data in (grid, grid.chunk(time=1, lat=7)):
        display = plot.map(model_of_grid, data, at={"time": 1})
        np.testing.assert_array_equal(display.labels, labels)


def test_a_date_is_a_place_along_times(grid, model_of_grid):
    for date in (grid.time.values[1], grid.time.values[1].astype("M8[h]")):
        display = plot.map(model_of_grid, grid, at={"time": str(date)})
        np.testing.assert_array_equal(display.labels, model_of_grid.predict(grid).isel(time=1))
    with pytest.raises(
        ParameterError, match=r"no 1999-01 along 'time', which goes from .* time=2020"
    ):
        plot.map(model_of_grid, grid, at={"time": "1999-01"})
    with pytest.raises(ParameterError, match=r"give the number of the place, as time=0"):
        plot.map(model_of_grid, grid.drop_vars("time"), at={"time": "2020-01"})


def test_a_float_is_a_value_of_a_coordinate(grid, model_of_grid):
    """It was refused, and the nearest index taken for a depth shows another depth."""
    depths = xr.concat([grid.isel(time=i, drop=True) for i in (0, 1)], "depth")
    expected = model_of_grid.predict(depths).isel(depth=1)
    for values, asked in (([5, 20], 20.0), (np.array([0.1, 0.7], np.float32), 0.7)):
        data = depths.assign_coords(depth=values)
        display = plot.map(model_of_grid, data, at={"depth": asked})
        np.testing.assert_array_equal(display.labels, expected)
        with pytest.raises(
            ParameterError, match=rf"the nearest is depth={asked}, at place 1"
        ) as no:
            plot.map(model_of_grid, data, at={"depth": 30.0})
        nearest = re.search(r"depth=([\d.]+),", str(no.value))[1]
        plot.map(model_of_grid, data, at={"depth": float(nearest)})
    with pytest.raises(ParameterError, match=r"no place 20 along 'depth'.* as depth=20\.0"):
        plot.map(model_of_grid, data, at={"depth": 20})
    with pytest.raises(ParameterError, match=r"no coordinate of numbers.*as depth=0"):
        plot.map(model_of_grid, depths, at={"depth": 5.0})


def test_cells_without_data_are_in_the_legend(grid, model_of_grid):
    for data, is_there in ((grid, True), (grid.fillna(0.0), False)):
        display = plot.map(model_of_grid, data)
        labels = [t.get_text() for ax in display.ax_.figure.axes for t in ax.get_yticklabels()]
        assert ("no data" in labels) == is_there


def test_cells_are_read_once(grid, model_of_grid):
    read = []

    def seen(values):
        read.append(values.shape)
        return values

    lazy = grid.chunk(time=1, lat=20, lon=30).map(
        lambda one: one.copy(data=one.data.map_blocks(seen, meta=one.data._meta))
    )
    display = plot.map(model_of_grid, lazy)
    assert read == [(1, 20, 30)] * 2  # a chunk of each of two variables
    assert display.labels.dtype == np.int64


def test_maps_of_gaps_alone_are_drawn(grid, model_of_grid):
    display = plot.map(model_of_grid, grid.where(grid.lat > 100))
    assert (display.labels == -2).all()
    assert display.shares == {"0": 0.0, "1": 0.0}
    assert "Mean probability: unknown" in display.alt


def test_latitudes_are_upward_whatever_the_order_of_dimensions(grid, model_of_grid):
    display = plot.map(model_of_grid, grid.transpose("time", "lon", "lat"))
    assert display.y.name == "lat (degrees_north)"
    labels = model_of_grid.predict(grid).isel(time=0)
    np.testing.assert_array_equal(display.labels, labels)


def test_large_grids_are_thinned_and_it_is_said():
    a = np.random.default_rng(0).normal(size=(1300, 40))
    data = xr.Dataset({"a": (("y", "x"), a)})
    model = GaussianMixture.from_parameters(
        [0.5, 0.5], [[-1.0], [1.0]], np.ones(2), covariance_type="spherical", names=["a"]
    )
    display = plot.map(model, data)
    assert display.labels.shape == (260, 40)
    assert display.y.values[-1] == 1295
    assert "One of 5 cells along y." in display.notes


@pytest.mark.parametrize(
    ("at", "advice"),
    [
        ({"tim": 0}, "no dimension 'tim' to choose a place along.*'time'"),
        ({"lat": 0}, "no dimension 'lat'"),
        ({"time": 2}, "no place 2 along 'time'; there are 2, from 0 to 1"),
    ],
)
def test_places_that_are_not_there_are_refused(grid, model_of_grid, at, advice):
    with pytest.raises(ParameterError, match=advice):
        plot.map(model_of_grid, grid, at=at)


def test_rows_without_a_grid_have_no_map(model, table):
    with pytest.raises(ParameterError, match=r"cells along two dimensions.*rows alone"):
        plot.map(model, table)
    line = xr.Dataset({name: ("time", table[name].to_numpy()) for name in NAMES})
    with pytest.raises(ParameterError, match="along 'time' alone"):
        plot.map(model, line)


# -- Matplotlib --------------------------------------------------------------------


def test_several_panels_need_axes_of_a_grid(model, table):
    figure = plt.figure()
    with pytest.raises(ParameterError, match="axes of a grid"):
        plot.pairs(model, table, ax=figure.add_axes((0.1, 0.1, 0.5, 0.5)))


def test_ellipses_are_in_two_features(model, table):
    with pytest.raises(ParameterError, match="ellipses are drawn in two features; got 3"):
        plot.ellipses(model, table, features=NAMES)


def test_matplotlib_is_imported_when_a_picture_is_drawn_and_else_asked_for_by_name():
    code = (
        "import sys\n"
        "import daskgmm\n"
        "daskgmm.plot.pairs\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "sys.modules['matplotlib.pyplot'] = None\n"
        "model = daskgmm.GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[1.0, 1.0]],\n"
        "    covariance_type='diag')\n"
        "try:\n"
        "    daskgmm.plot.components(model)\n"
        "except daskgmm.errors.MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'daskgmm[plot]'" in done.stdout


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (0.0, "0%", "0"),
        (0.0003, "0.03%", "<0.001"),
        (0.123, "12%", "0.12"),
        (0.994, "99%", "0.99"),
        (0.9961, "99.61%", "0.996"),
        (0.9997, "99.97%", ">0.999"),
        (0.9999999, "99.99%", ">0.999"),
        (1.0 - 1e-16, "100%", "1.00"),
        (1.0, "100%", "1.00"),
    ],
)
def test_shares_and_probabilities_are_not_rounded_up_to_all(value, percent, text):
    """99.97% of the rows were said to be all."""
    assert (share(value), probability(value)) == (percent, text)


def test_a_component_far_outside_of_the_picture_is_drawn(tmp_path):
    """Its number would lie where Matplotlib can place no text."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    x[:300] += 6.0
    means = [[0.0] * 3, [6.0] * 3, [5e6] * 3]
    model = GaussianMixture.from_parameters(
        [0.49, 0.49, 0.02], means, [np.eye(3)] * 2 + [1e12 * np.eye(3)]
    )
    plot.pairs(model, x).figure_.savefig(tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").stat().st_size > 1000
