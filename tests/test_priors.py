"""Fits with a prior: those of mclust, and what a fit promises, for the maximum a posteriori."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from made_data import made_mixture, rows_of
from sklearn.base import clone
from sklearn.datasets import load_iris

from daskgmm import GaussianMixture, load_model, select
from daskgmm.cli import main
from daskgmm.em import STEPPERS
from daskgmm.errors import (
    CheckpointError,
    InvalidParameterError,
    ParameterError,
    SingularComponentError,
)
from daskgmm.jobfile import read_job
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Mixture,
    RelativeConjugate,
    e_step,
    moments_and_extremes,
    weighted_statistics,
)
from daskgmm.rules import PRIOR

X = np.ascontiguousarray(load_iris().data)
ONE_START = {"random_state": 0, "progressive": False, "stepper": "surrogate"}
"""Where a search for better starts is beside the point: it takes longer than all else."""
FAITHFUL = np.loadtxt(Path(__file__).parent / "data" / "faithful.txt")

# R 4.2.2, mclust 6.0.0, its default prior. Log-likelihoods are without the prior's density.
#
#   x <- as.matrix(iris[, 1:4]); z <- unmap(rep(1:3, each = 50))
#   ctl <- emControl(tol = c(0, 0), itmax = c(5000, 5000))
#   for (m in c("VVV", "EEE", "VVI", "VII"))
#     a <- me(data = x, modelName = m, z = z, prior = priorControl(), control = ctl)
#   a$loglik; bic(m, a$loglik, 150, 4, 3); a$parameters$pro; a$parameters$mean[, 3]
MCLUST = {
    "full": (
        (-192.6952838648, 605.8585206698),
        [0.3333333333259, 0.3138087992494, 0.3528578674248],
        [6.550989468945, 2.969305091851, 5.506658702449, 2.0023720522122],
    ),
    "tied": (
        (-257.739376609, 635.7340002763),
        [0.3333333333366, 0.3479929097885, 0.3186737568748],
        [6.591542109913, 2.999711359953, 5.550588295327, 2.0535819977719],
    ),
    "diag": (
        (-312.9040870687, 756.084691784),
        [0.3333333333333, 0.2969047470039, 0.3697619196628],
        [6.621830706137, 3.014316641558, 5.469694995941, 1.9764462676160],
    ),
    "spherical": (
        (-384.4786762162, 854.1381524319),
        [0.3333333338613, 0.4154375698121, 0.2512290963267],
        [6.849145638400, 3.075002827583, 5.734784257052, 2.0769290510203],
    ),
}
#   w <- faithful$waiting; z <- unmap(ifelse(w < 68, 1, 2))
#   for (m in c("V", "E"))
#     a <- me(data = w, modelName = m, z = z, prior = priorControl(), control = ctl)
OF_WAITING = {
    "full": (-1034.093922454, [54.59079167817, 80.08451367039], [32.58932275021, 33.54501156547]),
    "tied": (-1034.033643888, [54.61817246041, 80.09794996828], [33.65626083608]),
}


def _as_mclust(x: np.ndarray, k: int, family: str) -> dict[str, object]:
    """The numbers of mclust's default prior, of which those of ``"auto"`` differ a little."""
    d = x.shape[1]
    scale = np.atleast_2d(np.cov(x.T)) / k ** (2 / d)
    if family in ("diag", "spherical"):
        scale = np.trace(scale) / d
    return {"shrinkage": 0.01, "dof": d + 2, "scale": scale, "mean": x.mean(axis=0)}


def _from(x: np.ndarray, labels: np.ndarray, family: str) -> GaussianMixture:
    """A fit to the end, from the M-step of labels, as that of mclust."""
    resp = np.eye(labels.max() + 1)[labels]
    spec = _as_mclust(x, resp.shape[1], family)
    prior = RelativeConjugate(**spec).of(moments_and_extremes(Block(x))[0])
    centres = np.tile(x.mean(axis=0), (resp.shape[1], 1))
    start = prior.m_step(weighted_statistics(Block(x), resp, centres, family))
    return GaussianMixture(
        resp.shape[1],
        covariance_type=family,
        prior=spec,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=start.components.precisions,
        stepper="surrogate",
        tol=1e-14,
    ).fit(x)


@pytest.mark.parametrize("family", MCLUST)
def test_a_fit_is_that_of_mclust(family):
    got = _from(X, np.repeat([0, 1, 2], 50), family)
    (log_likelihood, bic), weights, mean = MCLUST[family]
    # It ends where its likelihood, summed in single steps, no longer changes: to about 1e-7.
    np.testing.assert_allclose(150 * got.score(X), log_likelihood, atol=2e-6)
    np.testing.assert_allclose(got.bic(X), bic, atol=4e-6)
    np.testing.assert_allclose(got.weights_, weights, atol=1e-6)
    np.testing.assert_allclose(got.means_[2], mean, atol=1e-6)
    assert (np.diff(got.lower_bounds_) >= -1e-13).all()  # at its end, to rounding


@pytest.mark.parametrize("family", OF_WAITING)
def test_a_fit_of_one_feature_is_that_of_mclust(family):
    waiting = np.ascontiguousarray(FAITHFUL[:, 1:])
    got = _from(waiting, (waiting[:, 0] >= 68).astype(int), family)
    log_likelihood, means, variances = OF_WAITING[family]
    np.testing.assert_allclose(272 * got.score(waiting), log_likelihood, atol=2e-5)
    np.testing.assert_allclose(got.means_.ravel(), means, rtol=1e-5)
    np.testing.assert_allclose(got.covariances_.ravel(), variances, rtol=1e-4)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_every_stepper_ends_where_another_m_step_changes_nothing(family, stepper):
    truth = made_mixture(family, 3, 2, separation=1.5)
    x = rows_of(truth, 1000, seed=1)
    got = GaussianMixture(
        3,
        covariance_type=family,
        prior="auto",
        stepper=stepper,
        weights_init=truth.weights,
        means_init=truth.means,
        precisions_init=truth.components.precisions,
        tol=1e-11,
        max_iter=1500,
    ).fit(x)
    prior = RelativeConjugate().of(moments_and_extremes(Block(x))[0])
    mixture = Mixture(got.weights_, type(truth.components)(got.means_, got.covariances_))
    after = prior.m_step(e_step(Block(x), mixture))
    # A gap of 1e-11 leaves 3e-6 deviations over the root of the least curvature.
    np.testing.assert_allclose(after.means, got.means_, atol=5e-5)
    np.testing.assert_allclose(after.covariances, got.covariances_, atol=5e-5)
    height = prior.objective(mixture, e_step(Block(x), mixture))
    np.testing.assert_allclose(got.lower_bound_, height, atol=1e-9)
    assert (np.diff(got.lower_bounds_) >= -1e-14).all()


def test_the_bound_is_the_log_likelihood_less_the_penalty():
    got = GaussianMixture(3, prior="auto", random_state=0, tol=1e-13, progressive=False).fit(X)
    last = [i for i in got.history_ if i.accepted][-1]
    assert got.penalty_ == last.penalty > 0
    assert got.lower_bound_ == last.log_likelihood - last.penalty
    np.testing.assert_allclose(got.lower_bound_ + got.penalty_, got.score(X), atol=1e-6)
    assert got.record()["log_likelihood_per_row"] == got.lower_bound_ + got.penalty_
    plain = GaussianMixture(3, random_state=0, progressive=False).fit(X)
    assert plain.penalty_ == 0
    assert "penalty_per_row" not in plain.record()


def test_many_components_of_few_rows_have_no_narrow_ones():
    """The likelihood of 50 components of 150 rows has no bound, the posterior has one."""
    with pytest.warns(match="few for 50 full components"):
        got = GaussianMixture(50, prior="auto", random_state=0).fit(X)
    assert len(got.weights_) == 50, "few rows are no collapse: the prior has some more"
    deviations = np.sqrt(np.linalg.eigvalsh(got.covariances_)[:, 0])
    assert deviations.min() > 0.02 * X.std(axis=0).min()
    assert np.isfinite(got.score(X))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_prior_that_leaves_no_density_is_named():
    with pytest.raises(SingularComponentError, match="the prior is extreme; set prior='auto'"):
        GaussianMixture(2, prior={"dof": 1e300}, random_state=0).fit(X)
    GaussianMixture(2, prior="auto", random_state=0).fit(X)


def test_components_may_share_rows():
    """Where there are fewer distinct rows than components, as with a number for reg_covar."""
    x = np.repeat(X[::50], 20, axis=0)
    with pytest.warns(match="only 3 distinct"), pytest.warns(match="of 4 components"):
        got = GaussianMixture(4, covariance_type="diag", prior="auto", random_state=0).fit(x)
    assert got.covariances_.shape == (4, 4)
    assert (got.covariances_ > 0).all()


def test_a_component_of_two_rows_has_not_collapsed():
    x = rows_of(made_mixture("full", 1, 2), 300)
    x[:2] += 60.0
    fit = {"prior": "auto", "on_collapse": "error", "random_state": 0, "order": "weight"}
    with pytest.warns(match="1 of 2 components holds 2 rows"):
        got = GaussianMixture(2, **fit).fit(x)
    np.testing.assert_array_equal(np.flatnonzero(got.predict(x) == 1), [0, 1])


def test_a_selection_has_criteria_of_the_log_likelihood():
    found = select(X, [2, 3], covariance_type="diag", random_state=0, prior="auto")
    best = found.best
    np.testing.assert_allclose(best.bic, found.model.bic(X), rtol=1e-5)
    np.testing.assert_allclose(best.log_likelihood_per_row, found.model.score(X), rtol=1e-5)
    alone = GaussianMixture(
        best.n_components, covariance_type=best.covariance_type, prior="auto", random_state=0
    ).fit(X)
    np.testing.assert_allclose(alone.lower_bound_, found.model.lower_bound_, atol=1e-6)


# -- weights, units and updates ----------------------------------------------------


def test_whole_weights_repeat_rows_and_the_unit_of_others_is_nothing():
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    fit = {**ONE_START, "prior": "auto", "tol": 1e-12, "order": "first-feature"}
    counted = GaussianMixture(2, **fit).fit(X, sample_weight=weight.astype(float))
    repeated = GaussianMixture(2, **fit).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(counted.means_, repeated.means_, atol=1e-5)
    np.testing.assert_allclose(counted.penalty_, repeated.penalty_, rtol=1e-5)
    light = GaussianMixture(2, **fit).fit(X, sample_weight=np.full(len(X), 1e-6))
    plain = GaussianMixture(2, **fit).fit(X)
    np.testing.assert_allclose(light.means_, plain.means_, atol=1e-6)
    np.testing.assert_allclose(light.penalty_, plain.penalty_, rtol=1e-5)


def test_units_are_nothing_to_it(family):
    factor = np.array([1e-4, 1.0, 30.0, 1e5])
    if not COMPONENTS[family].is_scale_equivariant():
        factor = 1e-3
    fit = {**ONE_START, "covariance_type": family, "prior": "auto", "tol": 1e-12}
    fit |= {"order": "first-feature"}
    here, there = (GaussianMixture(2, **fit).fit(x) for x in (X, X * factor))
    np.testing.assert_allclose(there.means_, here.means_ * factor, rtol=1e-5)
    np.testing.assert_allclose(there.penalty_, here.penalty_, rtol=1e-5)


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_updates_have_the_prior_once(unit):
    """Of 50 rows each: a prior of 100 would show if each update had it anew."""
    # So far apart that no old row is in doubt: their statistics say all.
    truth = made_mixture("full", 2, 2, seed=3, separation=12.0)
    x, weights = rows_of(truth, 400, seed=2), np.full(400, unit)
    prior = {"shrinkage": 0.1, "dof": 200.0, "scale": 100.0, "mean": 0.0, "concentration": 100.0}
    fit = {**ONE_START, "prior": prior, "tol": 1e-10}
    whole = GaussianMixture(2, **fit).fit(x, sample_weight=weights)
    grown = GaussianMixture(2, **fit, order="first-feature")
    grown.fit(x[:200], sample_weight=weights[:200])
    for part in np.split(np.arange(200, 400), 4):
        grown.update(x[part], sample_weight=weights[part])
    order = np.argsort(whole.means_[:, 0])
    np.testing.assert_allclose(grown.weights_, whole.weights_[order], rtol=1e-6)
    np.testing.assert_allclose(grown.means_, whole.means_[order], atol=1e-5)
    np.testing.assert_allclose(grown.covariances_, whole.covariances_[order], atol=1e-5)
    assert grown.penalty_ == pytest.approx(whole.penalty_, rel=1e-5)


def test_scaled_and_projected_rows_have_it_too():
    fit = {**ONE_START, "prior": "auto", "tol": 1e-12, "order": "first-feature"}
    plain = GaussianMixture(2, **fit).fit(X)
    for standardize in (True, "robust"):
        scaled = GaussianMixture(2, **fit, standardize=standardize).fit(X)
        np.testing.assert_allclose(scaled.means_, plain.means_, atol=1e-5)
        np.testing.assert_allclose(scaled.lower_bound_, plain.lower_bound_, atol=1e-9)
    assert GaussianMixture(2, **fit, n_projected=2).fit(X).penalty_ > 0


# -- the option ----------------------------------------------------------------------


def test_the_keys_of_the_rule_are_those_of_the_prior():
    known = {f.name for f in dataclasses.fields(RelativeConjugate)} - {"row"}
    assert PRIOR.accepts(dict.fromkeys(known, 1.0))
    assert set(PRIOR.what.split("some of ")[1].split(", ")) == known
    for wrong in ("none", {"kappa": 1.0}, {"dof": "many"}, {"mean": [[1.0], [1.0, 2.0]]}, 1.0):
        assert not PRIOR.accepts(wrong)
    with pytest.raises(InvalidParameterError, match="prior must be auto; or"):
        GaussianMixture(prior={"kappa": 1.0}).fit(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior": "auto", "reg_covar": 1e-3}, r"reg_covar=0\.001 beside prior"),
        ({"prior": {"shrinkage": -1.0}}, "shrinkage=-1.0 must be 0 or more"),
        ({"prior": {"mean": [0.0, 1.0]}}, "the data have 4 features"),
        ({"prior": {"scale": 1.0}, "standardize": True}, "in units of the data"),
        ({"prior": {"mean": 1.0}, "n_projected": 2}, "in units of the data"),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_work(settings, message):
    with pytest.raises(ParameterError, match=message) as caught:
        GaussianMixture(2, **settings).fit(X)
    assert caught.value.parameter in ("prior", "reg_covar")


def test_a_model_keeps_its_prior(tmp_path):
    spec = {"shrinkage": 2.0, "mean": X.mean(axis=0), "scale": None}
    model = clone(GaussianMixture(2, prior=spec, **ONE_START)).fit(X)
    model.save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    assert again.prior == {"shrinkage": 2.0, "mean": X.mean(axis=0).tolist(), "scale": None}
    assert (again.penalty_, again.lower_bounds_) == (model.penalty_, model.lower_bounds_)
    assert again.lower_bound_ == pytest.approx(model.lower_bound_, rel=1e-15)
    more = X[:30] + 0.01
    np.testing.assert_allclose(again.update(more).means_, model.update(more).means_, rtol=1e-12)


def test_a_checkpoint_is_of_one_prior(tmp_path):
    zarr.save_array(tmp_path / "rows.zarr", X)
    fit = {**ONE_START, "checkpoint": tmp_path / "kept", "resume": True}
    spec = {"mean": X.mean(axis=0), "shrinkage": 1.0}
    done = GaussianMixture(2, prior=spec, **fit).fit(tmp_path / "rows.zarr")
    again = GaussianMixture(2, prior=dict(spec), **fit).fit(tmp_path / "rows.zarr")
    np.testing.assert_array_equal(again.means_, done.means_)
    assert again.penalty_ == done.penalty_
    with pytest.raises(CheckpointError, match=r"settings\.prior\.shrinkage was 1\.0, is 2\.0"):
        GaussianMixture(2, prior=spec | {"shrinkage": 2.0}, **fit).fit(tmp_path / "rows.zarr")


def test_commands_and_job_files_have_it(tmp_path):
    zarr.save_array(tmp_path / "rows.zarr", X)
    common = ["--components", "2", "--output", str(tmp_path / "model.zarr"), "--json"]
    ran = CliRunner().invoke(main, ["fit", str(tmp_path / "rows.zarr"), *common, "--prior", "auto"])
    assert ran.exit_code == 0, ran.output
    model = load_model(tmp_path / "model.zarr")
    assert model.prior == "auto"
    said = json.loads(ran.stdout)["log_likelihood_per_row"]
    assert said == pytest.approx(model.lower_bound_ + model.penalty_, rel=1e-14)
    text = "data: rows.zarr\nmodel:\n  components: 2\n  prior: {shrinkage: 1, dof: 8.5}\n"
    (tmp_path / "job.yaml").write_text(text + "outputs: {model: m.zarr}\n")
    job = read_job(str(tmp_path / "job.yaml"), {})
    assert job.settings["prior"] == {"shrinkage": 1, "dof": 8.5}
