"""Models of rows that are standardised or projected inside a fit: they go on, and are kept.

Asserted: checkpoints, updates, selections, files, commands and jobs go on with the scale and the axes
that a fit found; what cannot be is refused before any pass.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
import zarr
from commands import forked, write_store
from made_data import assert_same_bits, made_mixture, rows_of
from scaled_rows import HOW, IDS, NAMES, OFFSETS, UNITS, D, K, as_grid, fitted, scaled, unlike_rows

from daskgmm import GaussianMixture, job, load_model, open_rows, select
from daskgmm.descriptions import info
from daskgmm.em import Iteration
from daskgmm.errors import (
    ColumnError,
    DataError,
    InterruptedFitError,
    ModelFormatError,
    ParameterError,
)
from daskgmm.events import listening
from daskgmm.kernel import COMPONENTS
from daskgmm.record import fitted_as_of_record


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return unlike_rows()


# -- going on --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("how", HOW, ids=IDS)
def test_an_interrupted_fit_ends_with_the_same_bits(x, tmp_path, how):
    path = write_store(tmp_path / "x.zarr", x, rows=500)
    how = {**how, "n_components": K, "tol": 1e-12, "max_iter": 5, "progressive": False}
    how = {**how, "random_state": 0}
    undisturbed = GaussianMixture(**how).fit(path)
    told = []

    def stop(event: object) -> None:
        if isinstance(event, Iteration):
            told.append(event.log_likelihood)
            if event.n_iter == 2:
                raise KeyboardInterrupt

    kept = {**how, "checkpoint": tmp_path / "kept", "resume": True}
    with listening(stop), pytest.raises(InterruptedFitError):
        GaussianMixture(**kept).fit(path)
    resumed = GaussianMixture(**kept).fit(path)
    assert_same_bits(resumed._mixture, undisturbed._mixture)
    assert resumed.lower_bounds_ == undisturbed.lower_bounds_
    assert told == [i.log_likelihood for i in undisturbed.history_[:2]]
    (newest, *_) = sorted((tmp_path / "kept").glob("pass-*"), reverse=True)
    shown = info(str(newest))
    np.testing.assert_allclose(shown["means"], undisturbed.means_, rtol=0.2, atol=1e3)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("how", HOW[:2], ids=IDS[:2])
def test_fits_of_one_pass_end_where_one_of_many_does(x, how):
    how = {**how, "progressive": False, "random_state": 0, "tol": 1e-9}
    many = GaussianMixture(K, **how, max_iter=400).fit(x)
    one = GaussianMixture(K, **how, max_iter=1, warm_start=True).fit(x)
    for _ in range(many.n_iter_ - 1):
        one.fit(x)
    np.testing.assert_allclose(one.means_, many.means_, rtol=1e-9)
    assert one.lower_bound_ == pytest.approx(many.lower_bound_, abs=1e-9)
    del one._ended  # as of a loaded model
    assert one.fit(x).lower_bound_ == pytest.approx(many.lower_bound_, abs=1e-6)


def test_a_start_is_given_in_the_datas_own_units(x):
    start = {"weights_init": np.ones(K) / K, "means_init": fitted(x).means_}
    for family in ("spherical", "full"):
        model = fitted(x, family, standardize="robust", max_iter=0, **start)
        np.testing.assert_allclose(model.means_, start["means_init"], rtol=1e-9)
    whole = fitted(x)
    start |= {"precisions_init": whole.precisions_}
    model = fitted(x, standardize="robust", max_iter=0, **start)
    np.testing.assert_allclose(model.covariances_, whole.covariances_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "how",
    [
        {"standardize": True, "reg_covar": 1e-4},
        pytest.param({"standardize": "robust"}, marks=pytest.mark.slow),
        pytest.param(
            {"standardize": True, "stopping": "means", "tol": 1e-6}, marks=pytest.mark.slow
        ),
        {"standardize": True, "n_projected": 2},
    ],
)
def test_updates_end_where_one_fit_of_all_does(x, tmp_path, how):
    slices = np.split(x, 5)
    model = fitted(slices[0], **how)
    for new in slices[1:]:
        model.save(tmp_path / "m.zarr", overwrite=True)
        model = load_model(tmp_path / "m.zarr").update(new)
    assert model.n_rows_ == len(x)
    if "n_projected" in how:  # the axes are those of the first rows
        seen = (x - model.projection_shift_) @ model.projection_matrix_
        assert model.score(x) == pytest.approx(fitted(seen).score(seen), abs=2e-2)
        return
    of_all = fitted(x, **how)
    assert model.score(x) >= of_all.score(x) - 2 * of_all._n_parameters() / (2 * len(x))


def test_selection_compares_in_the_datas_own_units(x):
    how = {"covariance_type": ["full", "spherical"], "random_state": 0, "progressive": False}
    found = select(x, [2, 3], standardize=True, **how)
    z, scale = scaled(x, True)
    plain = select(z, [2, 3], **how)
    for ours, theirs in zip(found.entries, plain.entries, strict=True):
        shift = 2 * len(x) * np.log(scale).sum()
        assert ours.bic == pytest.approx(theirs.bic + shift, rel=1e-6)
        assert ours.held_out_log_likelihood_per_row == pytest.approx(
            theirs.held_out_log_likelihood_per_row - np.log(scale).sum(), abs=1e-6
        )
    assert found.best.bic == pytest.approx(found.model.bic(x), rel=1e-6)
    projected = select(x, [2, 3], n_projected=2, standardize=True, **how)
    assert projected.best.bic == pytest.approx(projected.model.bic(x), rel=1e-6)


@pytest.mark.parametrize("n_projected", [None, 2])
def test_the_order_is_that_of_the_data(x, n_projected):
    how = {"standardize": "robust", "n_projected": n_projected}
    by_feature = fitted(x, order="first-feature", **how)
    assert (np.diff(by_feature.means_[:, 0]) > 0).all()
    by_weight = fitted(x, order="weight", **how)
    assert (np.diff(by_weight.weights_) < 0).all()
    means = by_weight.means_[::-1].copy()
    as_given = fitted(x, order="previous", means_init=means, **how)
    np.testing.assert_allclose((as_given.means_ - means) / UNITS, 0, atol=0.2)
    again = as_given.set_params(random_state=5, means_init=None).fit(x[:1500])
    np.testing.assert_allclose((again.means_ - means) / UNITS, 0, atol=0.5)


# -- files -----------------------------------------------------------------------------


def test_a_record_names_a_fit_that_leads_to_such_parameters(family):
    wider = COMPONENTS[family].scaled_family().kind
    assert fitted_as_of_record({}, "m.zarr", wider) is None
    wrong = ["oval", 3, ["diag"], wider]
    if wider == family:
        wrong.append(family)
    else:
        assert fitted_as_of_record({"fitted_as": family}, "m.zarr", wider) == family
    for asked in wrong:
        with pytest.raises(ModelFormatError, match="was it edited"):
            fitted_as_of_record({"fitted_as": asked}, "m.zarr", wider)


@pytest.mark.parametrize("how", [{"standardize": True}, {"standardize": True, "n_projected": 2}])
def test_a_loaded_model_gives_the_same_bits(x, tmp_path, family, how):
    model = fitted(pd.DataFrame(x, columns=NAMES), family, **how)
    model.save(tmp_path / "m.zarr")
    loaded = load_model(tmp_path / "m.zarr")
    frame = pd.DataFrame(x, columns=NAMES)
    for name in ("predict", "predict_proba", "score_samples"):
        one, other = (getattr(m, name)(frame) for m in (model, loaded))
        assert one.tobytes() == other.tobytes()
    assert loaded.criteria(frame) == model.criteria(frame)
    assert loaded.covariance_type == family
    assert loaded.means_.tobytes() == model.means_.tobytes()
    assert list(loaded.feature_names_in_) == NAMES
    assert loaded.standardize is True
    one, other = (m.set_params(random_state=1).sample(20)[0] for m in (model, loaded))
    assert one.tobytes() == other.tobytes()
    assert "<table>" in loaded._repr_html_inner()


def test_a_projected_model_opens_in_xarray(x, tmp_path):
    model = fitted(pd.DataFrame(x, columns=NAMES), n_projected=2, standardize=True)
    model.save(tmp_path / "m.zarr")
    found = xr.open_zarr(tmp_path / "m.zarr")
    assert found.attrs["format_version"] == 2
    assert found.projection_matrix.dims == ("feature", "axis")
    assert list(found.feature.to_numpy()) == NAMES
    seen = (found.means - found.projection_shift) @ found.projection_matrix
    np.testing.assert_allclose(seen, found.projected_means, atol=1e-9)
    assert found.covariances.dims == ("component", "axis", "other_axis")
    assert found.statistics_first.dims == ("component", "axis")
    fitted(x, standardize=True).save(tmp_path / "plain.zarr")
    assert xr.open_zarr(tmp_path / "plain.zarr").attrs["format_version"] == 1


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda g: _replace(g, "projection_shift", np.zeros(3)), "does not lead to 2"),
        (lambda g: _replace(g, "projection_matrix", np.zeros((4, 3))), "does not lead to 2"),
        (lambda g: _replace(g, "projection_matrix", np.full((4, 2), np.nan)), "finite"),
        (lambda g: _replace(g, "projection_scale", np.full(4, -1.0)), "above 0"),
        (lambda g: _replace(g, "projected_means", np.zeros((3, 3))), "shape"),
        (lambda g: g.__delitem__("projection_matrix"), "no array 'projection_matrix'"),
        (lambda g: g.__delitem__("projected_means"), "no array 'projected_means'"),
    ],
)
def test_a_projection_from_a_stranger_is_refused(x, tmp_path, damage, why):
    fitted(x, n_projected=2).save(tmp_path / "m.zarr")
    damage(zarr.open_group(tmp_path / "m.zarr", mode="r+"))
    with pytest.raises(ModelFormatError, match=why):
        load_model(tmp_path / "m.zarr")


def _replace(group: zarr.Group, name: str, values: np.ndarray) -> None:
    del group[name]
    array = group.create_array(name, shape=values.shape, dtype="f8", compressors=None)
    array[:] = values


# -- commands and jobs ------------------------------------------------------------------


def test_from_the_command_line(x, tmp_path):
    write_store(tmp_path / "x.zarr", x, rows=500)
    told = ("--components", K, "--standardize", "true", "--n-projected", "0.7")
    done = forked("fit", "x.zarr", *told, "--output", "m.zarr", "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    model = load_model(tmp_path / "m.zarr")
    assert done.json["log_likelihood_per_row"] == model.lower_bound_
    ask = ("--results", "labels,log_density")
    done = forked(
        "predict", "x.zarr", "--model", "m.zarr", "--output", "r.zarr", *ask, cwd=tmp_path
    )
    assert done.status == 0, done.stderr
    found = xr.open_zarr(tmp_path / "r.zarr", mask_and_scale=False)
    np.testing.assert_array_equal(found.labels, model.predict(x))
    np.testing.assert_array_equal(found.log_density, model.score_samples(x))
    scored = forked("score", "x.zarr", "--model", "m.zarr", "--json", cwd=tmp_path)
    assert scored.json["log_likelihood_per_row"] == pytest.approx(model.score(x), abs=1e-12)
    for form in ((), ("--json",)):
        shown = forked("info", "m.zarr", *form, cwd=tmp_path)
        assert shown.status == 0, shown.stderr
    np.testing.assert_allclose(shown.json["means"], model.means_)
    refused = forked(
        "fit", "x.zarr", *told[:2], "--n-projected", 5, "--output", "n.zarr", cwd=tmp_path
    )
    assert "n_projected=5 axes, but the data have 4 features" in refused.error
    assert not (tmp_path / "n.zarr").exists()


def test_predictions_of_a_stored_grid(x, tmp_path):
    as_grid(x).to_zarr(tmp_path / "g.zarr", consolidated=False)
    rows = open_rows(tmp_path / "g.zarr", variables=NAMES)
    model = fitted(rows, n_projected=2)
    model.save(tmp_path / "m.zarr")
    asked = {"labels": str(tmp_path / "r.zarr")}
    job.predict(open_rows(tmp_path / "g.zarr", variables=NAMES), str(tmp_path / "m.zarr"), asked)
    found = xr.open_zarr(tmp_path / "r.zarr", mask_and_scale=False, consolidated=False)
    found = found.labels.to_numpy().ravel()
    np.testing.assert_array_equal(found[1:-1], model.predict(pd.DataFrame(x, columns=NAMES)))
    assert found[0] == -2


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"standardize": True, "covariance": "spherical"}, marks=pytest.mark.slow),
        {"n_projected": 2},
    ],
)
def test_from_a_job_file_and_again_with_new_data(x, tmp_path, how):
    write_store(tmp_path / "data.zarr", x, rows=500)
    asked = {
        "data": "data.zarr",
        "model": {"components": K, **how},
        "on_new_data": "refit",
        "outputs": {"model": "m.zarr", "labels": "l.zarr", "report": "r.json"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(asked))
    found_means = []
    for _ in range(2):
        done = forked("run", "job.yaml", cwd=tmp_path)
        assert done.status == 0, done.stderr
        model = load_model(tmp_path / "m.zarr")
        found_means.append(model.means_)
        rows = zarr.open_array(tmp_path / "data.zarr")[:]
        found = xr.open_zarr(tmp_path / "l.zarr", mask_and_scale=False).labels
        np.testing.assert_array_equal(found, model.predict(rows))
        more = rows_of(made_mixture("full", K, D, seed=2, separation=4.0), 1000, seed=5)
        zarr_rows = np.vstack([x, more * UNITS + OFFSETS])
        _rewritten(tmp_path / "data.zarr", zarr_rows)
    assert json.loads((tmp_path / "r.json").read_text())["n_rows"] == 3000
    apart = (found_means[1] - found_means[0]) / UNITS
    np.testing.assert_allclose(apart, 0, atol=0.5, err_msg="components keep their order")


def _rewritten(path: Path, x: np.ndarray) -> None:
    shutil.rmtree(path)
    write_store(path, x, rows=500)


# -- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "parameter", "why"),
    [
        ({"n_projected": 5}, "n_projected", "5 axes, but the data have 4 features"),
        ({"n_projected": 0}, "n_projected", "must be"),
        ({"n_projected": 1.5}, "n_projected", "must be"),
        ({"n_projected": -0.5}, "n_projected", "must be"),
        ({"n_projected": True}, "n_projected", "must be"),
        ({"standardize": "scale"}, "standardize", "must be true, false or robust"),
        ({"standardize": 1}, "standardize", "must be true, false or robust"),
        ({"n_projected": 2, "precisions_init": np.ones(K)}, "precisions_init", "leave precisions"),
        ({"n_projected": 2, "means_init": np.zeros((K, 2))}, "means_init", "must have shape"),
        ({"n_projected": 2, "warm_start": True}, "warm_start", "leave warm_start out"),
        ({"n_projected": 2, "order": "previous"}, "order", "needs a model before"),
        ({"standardize": "robust", "reads": 1}, "reads", "scale or axes"),
        (
            {"standardize": True, "covariance_type": "spherical", "precisions_init": np.ones(K)},
            "precisions_init",
            "covariance_type='diag'",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_pass(x, settings, parameter, why):
    def read() -> np.ndarray:
        raise AssertionError("rows were read")

    unread = da.from_delayed(dask.delayed(read)(), x.shape, float)
    with pytest.raises(ParameterError, match=why) as caught:
        GaussianMixture(K, **settings).fit(unread)
    assert caught.value.parameter == parameter
    if not {"order", "means_init", "precisions_init", "warm_start", "reads"} & set(settings):
        with pytest.raises(ParameterError, match=why):
            select(unread, [1, 2], **settings)


def test_a_fit_along_axes_is_no_start_of_another_one(x):
    model = fitted(x, n_projected=D)
    means = model.means_.copy()
    with pytest.raises(ParameterError, match="the last fit was along axes"):
        model.set_params(n_projected=None, warm_start=True).fit(x)
    again = model.set_params(warm_start=False, order="previous").fit(x)
    np.testing.assert_allclose((again.means_ - means) / UNITS, 0, atol=0.1)
    assert not hasattr(again, "projection_matrix_")


def test_rows_that_have_no_such_axes_or_scale_are_refused(x):
    flat = np.column_stack([x, x[:, 0] + x[:, 1]])
    with pytest.raises(DataError, match=r"variance along 4 axes alone.*lower it to 4"):
        fitted(flat, standardize=True, n_projected=5)
    assert fitted(flat, standardize=True, n_projected=4).projected_means_.shape == (K, 4)
    assert fitted(flat, standardize=True, n_projected=1.0).projected_means_.shape == (K, 4)
    rounded = x.copy()
    rounded[:, 2] = np.arange(len(x)) % 10 == 0
    with pytest.raises(ColumnError, match=r"column 2 has the same .* set standardize=True"):
        fitted(rounded, standardize="robust")


def test_scikit_learns_mixture_of_ours(x):
    model = fitted(x, "spherical", standardize=True, reg_covar=1e-4)
    theirs = model.to_sklearn()
    np.testing.assert_allclose(theirs.score_samples(x), model.score_samples(x), atol=1e-6)
    assert theirs.fit(x).covariances_.shape == (K, D)
    with pytest.raises(ParameterError, match=r"make_pipeline\(StandardScaler\(\), PCA\(2\)"):
        fitted(x, n_projected=2).to_sklearn()


def test_updates_that_cannot_be_are_refused(x):
    with pytest.raises(ParameterError, match="covariance_type='diag'"):
        fitted(x, "spherical", standardize=True).update(x)
    model = fitted(x, standardize="robust", reg_covar=1e-4)
    with pytest.raises(ParameterError, match="set_params"):
        model.update(x)
    model.set_params(reg_covar="auto").update(x)
    assert model.n_rows_ == 2 * len(x)
