"""Updates: models go on with new rows, of old ones knowing nothing but their statistics.

Asserted: ten slices end where one fit of all does, up to what rows can tell; statistics and
log-likelihood of old rows belong to each other; weights, forgetting, files, refusals.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from made_data import WORDS_OF_FAMILIES, made_mixture, rows_of

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import OldRows
from daskgmm.errors import (
    DaskGMMWarning,
    DataError,
    InvalidParameterError,
    ModelFormatError,
    ParameterError,
)
from daskgmm.kernel import Block, Coordinates, Pass, Ridge
from daskgmm.storage import read_statistics

K, D = 3, 2


def rows(family: str = "full", n: int = 6000, separation: float = 3.0, seed: int = 1) -> np.ndarray:
    return rows_of(made_mixture(family, K, D, seed=3, separation=separation), n, seed)


def fitted(x: np.ndarray | Path, family: str = "full", **settings) -> GaussianMixture:
    """From the means that were made: a search for others takes longer than all that follows."""
    made = made_mixture(family, K, D, seed=3, separation=3.0).means
    how = {"random_state": 0, "progressive": False, "stepper": "surrogate", "means_init": made}
    how |= settings
    return GaussianMixture(K, covariance_type=family, **how).fit(x)


def from_there(model: GaussianMixture, x: np.ndarray, **how) -> GaussianMixture:
    """A fit from the model, which ends at the same optimum if there are several."""
    start = {"weights_init": model.weights_, "means_init": model.means_}
    start |= {"precisions_init": model.precisions_, "stepper": "surrogate"}
    kind = model.covariance_type
    return GaussianMixture(K, covariance_type=kind, random_state=0, **start).fit(x, **how)


def per_row(model: GaussianMixture) -> float:
    """What N rows can tell of a log-likelihood per row: p / (2 N)."""
    return model._n_parameters() / (2 * model.n_rows_)


@pytest.mark.filterwarnings("ignore:1 of 4 components holds 1 rows")
@pytest.mark.parametrize("n_new", [1, 100, 2_000])
@pytest.mark.parametrize("is_saved", [False, True], ids=["as fitted", "saved"])
def test_an_update_keeps_the_ridge_of_the_fit(is_saved, n_new, tmp_path):
    """Of far rows, new ones alone do not tell: a ridge that follows all rows blurs the others."""
    x = rows()
    far = x.copy()
    far[0] *= 1e6
    model = GaussianMixture(K + 1, random_state=0).fit(far)
    before, ridge = model.score(x), model._ridge
    if is_saved:
        model.save(tmp_path / "m.zarr")
        model = load_model(tmp_path / "m.zarr")
    model.update(1e-4 * x[:n_new] if n_new < 2_000 else x[:n_new])
    assert model._ridge == ridge
    assert model.score(x) > before - 0.1


# -- the law -------------------------------------------------------------------


@pytest.mark.parametrize("separation", [1.5, 3.0])
@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_ten_slices_end_where_one_fit_of_all_does(family, separation):
    x = rows(family, 8000, separation)
    slices = np.split(x, 10)
    made = made_mixture(family, K, D, seed=3, separation=separation).means
    model = fitted(slices[0], family, means_init=made)
    for new in slices[1:]:
        model.update(new)
    everything = from_there(model, x)
    assert model.n_rows_ == len(x)
    assert everything.score(x) - model.score(x) < per_row(everything)


def test_held_fixed_statistics_would_weigh_old_rows_too_much():
    """Why rows are drawn: of two slices that overlap, the first would count nearly alone."""
    x = rows(separation=1.0)
    one, other = np.split(x, 2)
    model = fitted(one)
    mixture, statistics = model._mixture, model._statistics()
    drawn = OldRows.of(statistics, mixture, 20_000, 1)
    fixed = OldRows(statistics, mixture, None)
    moved = fitted(other, means_init=model.means_)._mixture
    found = [old.under(moved).n_k for old in (drawn, fixed)]
    expected = Pass(moved).of(Block(one)).n_k
    errors = [np.abs(n_k - expected).max() for n_k in found]
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize("n_drawn", [0, 3000])
def test_old_rows_have_their_statistics_and_the_gradient_that_belongs_to_them(family, n_drawn):
    model = fitted(rows(family, 2000), family)
    mixture, statistics = model._mixture, model._statistics()
    old = OldRows.of(statistics, mixture, n_drawn, 1)
    at = old.under(mixture)
    assert at.log_likelihood == pytest.approx(statistics.log_likelihood, rel=1e-12)
    same = statistics.recentre(mixture.means)
    for name, array in same.sums.items():
        np.testing.assert_allclose(at[name], array, rtol=1e-9, atol=1e-9 * statistics.weight)
    coordinates = Coordinates(mixture)
    rng = np.random.default_rng(0)
    u, along = 0.03 * rng.normal(size=(2, coordinates.size)) * coordinates.widths

    def value(step: float) -> float:
        return old.under(coordinates.mixture(u + step * along)).log_likelihood_per_row

    here = coordinates.mixture(u)
    gradient = coordinates.gradient(u, here, old.under(here))
    # Central differences of step h: their error is of order h^2, some 1e-8.
    assert (value(1e-3) - value(-1e-3)) / 2e-3 == pytest.approx(gradient @ along, abs=1e-6)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_rows_that_say_the_same_leave_the_model_where_it_is(family):
    x = rows(family)
    model = fitted(x, family, tol=1e-8)
    before = model._mixture
    model.update(x)
    np.testing.assert_allclose(model.means_, before.means, atol=1e-3)
    np.testing.assert_allclose(model.weights_, before.weights, atol=1e-3)
    assert model.n_rows_ == 2 * len(x)


@pytest.mark.slow
def test_each_kind_of_rows_gives_the_same_update(tmp_path):
    old, new = np.split(rows(), 2)
    new = new.astype(np.float32)
    zarr.save_array(tmp_path / "new.zarr", new)
    found = [
        fitted(old).update(x).means_
        for x in (new, da.from_array(new, chunks=(500, -1)), tmp_path / "new.zarr")
    ]
    for means in found[1:]:
        np.testing.assert_allclose(means, found[0], atol=1e-4)
    with dask.config.set(scheduler="synchronous"):
        again = fitted(old).update(da.from_array(new, chunks=(500, -1)))
    np.testing.assert_array_equal(again.means_, found[1])


# -- weights and forgetting ----------------------------------------------------


@pytest.mark.slow
def test_a_whole_weight_is_a_row_repeated():
    old, new = np.split(rows(), 2)
    counts = np.random.default_rng(0).integers(0, 3, size=len(new))
    weighted = fitted(old).update(new, sample_weight=counts)
    repeated = fitted(old).update(np.repeat(new, counts, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, atol=2e-3)
    assert weighted._statistics().weight == pytest.approx(len(old) + counts.sum())
    assert weighted.n_rows_ == len(old) + len(new)


@pytest.mark.slow
def test_weights_of_new_rows_are_in_the_unit_of_the_old_ones(tmp_path):
    old, new = np.split(rows(), 2)
    expected = fitted(old).update(new)
    small = np.full(len(old), 1e-6)
    fitted(old).fit(old, sample_weight=small).save(tmp_path / "model.zarr")
    found = load_model(tmp_path / "model.zarr").update(new, sample_weight=small)
    np.testing.assert_allclose(found.means_, expected.means_, atol=1e-3)
    assert found._statistics().weight == pytest.approx(len(old) + len(new))
    halves = fitted(old).update(new, sample_weight=np.full(len(new), 0.5))
    assert halves._statistics().weight == pytest.approx(len(old) + len(new) / 2)


def test_new_rows_count_as_those_did_of_a_selection():
    old, new = np.split(rows(n=1200), 2)
    small = np.full(len(old), 2.0**-20)  # which rounds nothing: starts lead to the same bits
    found = select(old, K, sample_weight=small, random_state=0).model
    expected = select(old, K, random_state=0).model
    found.update(new, sample_weight=small)
    assert found._statistics().weight == pytest.approx(len(old) + len(new))
    with pytest.raises(ParameterError, match=r"in a unit of which 9\.54e-07 make a row"):
        found.update(new)
    assert found.means_ == pytest.approx(expected.update(new).means_, abs=1e-3)


def test_weights_that_can_be_counts_do_not_oblige_new_rows_to_have_some():
    """Such as shares of area, whose sum is less than the rows that they tell as much as."""
    old, new = np.split(rows(n=1200), 2)
    shares = np.cos(np.linspace(-1.5, 1.5, len(old)))
    model = fitted(old).fit(old, sample_weight=shares)
    assert model._unit_of_weights > 1.0
    before = model._statistics().weight
    with pytest.warns(DaskGMMWarning, match="count once each"):
        model.update(new)
    assert model._statistics().weight > before + len(new)


def test_cells_of_a_dataset_update_without_their_gaps():
    old, new = np.split(rows(), 2)
    new[7, 1] = np.nan
    columns = dict(zip("ab", new.reshape(60, 50, 2).transpose(2, 0, 1), strict=True))
    cells = xr.Dataset({name: (("lat", "lon"), values) for name, values in columns.items()})
    model = fitted(pd.DataFrame(old, columns=["a", "b"])).update(cells.chunk(lat=20))
    assert model.n_rows_ == len(old) + len(new) - 1
    expected = fitted(old).update(np.delete(new, 7, axis=0))
    # Samples are drawn by numbers of cells or of complete cells: both stop within the tolerance.
    np.testing.assert_allclose(model.means_, expected.means_, atol=1e-3)


def test_old_rows_count_half_after_a_half_life():
    old, new = np.split(rows(), 2)
    model = fitted(old).update(new, half_life=len(new))
    assert model._statistics().weight == pytest.approx(len(old) / 2 + len(new))
    assert model.updates_[-1].share_kept == 0.5
    # As a fit of all with these weights, up to what the rows can tell.
    weights = np.repeat([0.5, 1.0], [len(old), len(new)])
    x = np.vstack([old, new])
    together = from_there(model, x, sample_weight=weights)
    gap = together.score(x, sample_weight=weights) - model.score(x, sample_weight=weights)
    assert gap < per_row(model)


def test_a_short_half_life_forgets_all_but_the_new_rows():
    old, new = rows(), rows(seed=5) + 1.0
    model = fitted(old).update(new, half_life=1)
    assert model._statistics().weight == pytest.approx(len(new))
    alone = from_there(model, new)
    assert alone.score(new) - model.score(new) < per_row(alone)


def test_what_drifted_is_said():
    old, new = rows(), rows(seed=5) + np.array([2.0, 0.0])
    model = fitted(old)
    before, was = model.score(new), model._mixture
    model.update(new, half_life=2000)
    (said,) = model.updates_
    assert said.n_rows == len(new)
    assert said.log_likelihood_before == pytest.approx(before)
    # At the last pass, one step before the parameters.
    assert before < said.log_likelihood_after == pytest.approx(model.score(new), abs=1e-3)
    np.testing.assert_allclose(said.weights_moved, model.weights_ - was.weights)
    deviations = np.sqrt(was.components.variances())
    np.testing.assert_allclose(
        said.means_moved, np.abs((model.means_ - was.means) / deviations).max(axis=1)
    )


def test_few_new_rows_are_enough_even_one_and_of_a_constant_feature():
    model = fitted(rows())
    means = model.means_
    model.update(rows(seed=4)[:1])
    constant = rows(seed=4)[:20]
    constant[:, 1] = 0.5
    model.update(constant)
    assert model.n_rows_ == 6021
    np.testing.assert_allclose(model.means_, means, atol=0.05)


def test_rows_far_away_are_followed():
    """The drawn rows know nothing of there."""
    model = fitted(rows(separation=6.0))
    new = np.random.default_rng(0).normal(size=(3000, D)) + 200.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.update(new, half_life=500)
    assert model.score(new) > -10


# -- in and out ----------------------------------------------------------------


def test_fill_values_of_many_updates_are_told_as_one():
    old, new = rows() + 20, rows(n=600, seed=2) + 20
    old[:30, 0] = new[:30, 0] = -9999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of the fill values
        model = fitted(old)
        for n in (3, 4, 5):
            model.update(new[30 - n :])
    assert [(one.value, one.n_rows) for one in model.far_values_] == [(-9999, 30 + 3 + 4 + 5)]


@pytest.mark.filterwarnings("ignore:1 of 3 components holds 1 rows")
def test_values_far_from_all_others_among_new_rows_are_said(tmp_path):
    """One such row takes a component, which the update did not tell."""
    old, new = rows(), rows(n=1000, seed=2)
    old[7, 0], new[17] = -1e7, 1e6
    model = fitted(old)
    before = model.far_values_
    assert [one.feature for one in before] == [0]
    model.update(new)
    assert [(one.feature, one.value, one.n_rows) for one in model.far_values_] == [
        (0, before[0].value, 2),
        (1, 1e6, 1),
    ]
    assert "column 1 is 1000000 in 1 row" in model._note
    model.save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").far_values_ == model.far_values_


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_a_saved_model_goes_on_as_the_one_that_was_saved(tmp_path, family):
    old, new = np.split(rows(family), 2)
    model = fitted(old, family)
    model.save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    kept = read_statistics(tmp_path / "model.zarr", again._mixture)
    for name, array in model._statistics().sums.items():
        np.testing.assert_array_equal(kept[name], array)
    one, other = model.update(new), again.update(new)
    np.testing.assert_array_equal(one.means_, other.means_)
    one.save(tmp_path / "updated.zarr")
    last = load_model(tmp_path / "updated.zarr")
    assert last.updates_ == one.updates_
    assert last.n_rows_ == len(old) + len(new)
    assert last.record()["updates"] == one.record()["updates"]


def test_a_fit_that_went_on_keeps_the_statistics_of_one_that_did_not(tmp_path):
    zarr.save_array(tmp_path / "x.zarr", rows())
    settings = {"checkpoint": tmp_path / "kept"}
    first = fitted(tmp_path / "x.zarr", **settings)
    again = fitted(tmp_path / "x.zarr", **settings, resume=True)
    for name, array in first._statistics().sums.items():
        np.testing.assert_array_equal(again._statistics()[name], array)


def test_what_was_selected_can_be_updated():
    x = rows()
    model = select(x[:3000], [2, 3], random_state=0).model
    assert model.update(x[3000:]).n_rows_ == 6000


def test_a_fit_forgets_updates():
    x = rows()
    assert fitted(x).update(x[:10]).fit(x).updates_ == ()


def without_statistics(path: Path) -> None:
    """As models were before they kept any."""
    document = json.loads((path / "zarr.json").read_text())
    del document["attributes"]["statistics"]
    (path / "zarr.json").write_text(json.dumps(document))


def test_models_without_statistics_are_read_and_say_so(tmp_path):
    x = rows()
    fitted(x).save(tmp_path / "model.zarr")
    without_statistics(tmp_path / "model.zarr")
    model = load_model(tmp_path / "model.zarr")
    with pytest.raises(ParameterError, match="fit it again"):
        model.update(x)
    assert model.fit(x).update(x).n_rows_ == 2 * len(x)  # the way out


def test_statistics_that_were_edited_are_refused(tmp_path):
    fitted(rows()).save(tmp_path / "model.zarr")
    group = zarr.open_group(tmp_path / "model.zarr")
    group.attrs["statistics"] = {"n_rows": 5, "weight": -1.0, "log_likelihood": 0.0}
    with pytest.raises(ModelFormatError, match="was it edited"):
        load_model(tmp_path / "model.zarr")
    group.attrs["statistics"] = {"n_rows": 5, "weight": 5.0, "log_likelihood": 0.0}
    group.create_array("statistics_n_k", data=np.ones(7), overwrite=True)
    with pytest.raises(ModelFormatError, match="shapes"):
        load_model(tmp_path / "model.zarr")


# -- refusals ------------------------------------------------------------------


def test_what_cannot_be_updated_is_refused_and_left_as_it_was():
    x = rows()
    model = fitted(x)
    means = model.means_.copy()
    with pytest.raises(DataError, match="3 features"):
        model.update(np.zeros((10, 3)))
    with pytest.raises(ValueError, match=r"0 sample|no rows"):
        model.update(np.zeros((0, 2)))
    with pytest.raises(DataError, match="no rows"):
        model.update(da.zeros((0, 2)))
    with pytest.raises(DataError, match="NaN"):
        model.update(da.from_array(np.array([[0.0, np.nan], [1.0, 2.0]])))
    for half_life in (0, -1, "many"):
        with pytest.raises(InvalidParameterError, match="half_life must be a number above 0"):
            model.update(x, half_life=half_life)
    np.testing.assert_array_equal(model.means_, means)
    assert model.n_rows_ == len(x)
    assert model.updates_ == ()


def test_names_are_held_against_those_of_the_fit():
    x = rows()
    model = fitted(pd.DataFrame(x, columns=["a", "b"]))
    with pytest.raises(DataError, match="feature names"):
        model.update(pd.DataFrame(x, columns=["b", "a"]))
    gap = da.from_array(np.array([[0.0, np.nan], [1.0, 2.0]]))
    lazy = dd.from_dask_array(gap, columns=["a", "b"])
    with pytest.raises(DataError, match=r"column '?b"):
        model.update(lazy)
    model.update(pd.DataFrame(x, columns=["a", "b"]))
    assert list(model.feature_names_in_) == ["a", "b"]


def test_parameters_set_by_hand_have_no_statistics():
    x = rows()
    model = fitted(x)
    model.means_ = model.means_ + 1.0
    with pytest.raises(ParameterError, match="keeps no statistics"):
        model.update(x)
    made = GaussianMixture.from_parameters(
        model.weights_, model.means_, model.covariances_, covariance_type="full"
    )
    with pytest.raises(ParameterError, match="keeps no statistics"):
        made.update(x)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_statistics_in_another_order_lead_to_components_in_that_order(family):
    model = fitted(rows(family), family)
    order = np.array([2, 0, 1])
    statistics = model._statistics()
    found, expected = (Ridge().m_step(one) for one in (statistics.taken(order), statistics))
    np.testing.assert_allclose(found.weights, expected.weights[order], rtol=1e-12)
    taken = expected.components.take(order)
    for name, array in taken.arrays.items():
        np.testing.assert_allclose(found.components.arrays[name], array, rtol=1e-9, atol=1e-12)


def test_where_drawn_rows_leave_no_covariance_old_statistics_stay_as_they_are():
    """The first fit of few rows that overlap is at a poor optimum, from which components move far."""
    slices = np.split(rows("full", 8000, 1.5, 1), 10)
    model = fitted(slices[0], means_init=None)
    for new in slices[1:]:
        model.update(new)
        np.linalg.cholesky(model.covariances_)
