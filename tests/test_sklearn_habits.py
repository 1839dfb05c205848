"""Habits of scikit-learn's users: what works there works here, or the guide from-scikit-learn says why not."""

from __future__ import annotations

import inspect
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from made_data import FAMILIES_OF_SKLEARN, made_mixture, rows_of
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.model_selection import GridSearchCV

from daskgmm import GaussianMixture, load_model, open_rows, select
from daskgmm.em import STEPPERS
from daskgmm.errors import DaskGMMWarning, DataError, ParameterError
from daskgmm.kernel import COMPONENTS

FAMILIES = list(COMPONENTS)


@pytest.fixture(scope="module")
def x():
    return rows_of(made_mixture("full", 3, 2, separation=4.0), 500)


# -- max_iter=0 --------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_without_iterations_the_start_is_the_result(x, family):
    means = x[:3]
    gm = GaussianMixture(3, covariance_type=family, max_iter=0, means_init=means).fit(x)
    np.testing.assert_array_equal(gm.means_, means)
    assert (gm.n_iter_, gm.converged_, gm.lower_bound_) == (0, False, -np.inf)
    assert gm.n_passes_ == 1
    assert np.isfinite(gm.score(x))


def test_a_start_can_be_saved(x, tmp_path):
    gm = GaussianMixture(3, max_iter=0, random_state=0).fit(x)
    gm.save(tmp_path / "m.zarr")
    assert gm.to_sklearn().n_iter_ == 0


def test_select_needs_iterations(x):
    with pytest.raises(ParameterError, match="max_iter=0"):
        select(x, [1, 2], max_iter=0)


# -- warm starts of one pass ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stepper", ["auto", *STEPPERS])
@pytest.mark.parametrize(
    ("stopping", "max_iter"), [("gap", 1), ("gap", 2), ("increment", 1), ("means", 1)]
)
def test_short_fits_in_a_loop_are_one_long_fit(x, stepper, stopping, max_iter):
    settings = {"stepper": stepper, "stopping": stopping, "tol": 1e-4, "random_state": 0}
    whole = GaussianMixture(3, max_iter=1000, **settings).fit(x)
    loop = GaussianMixture(3, max_iter=max_iter, warm_start=True, **settings)
    passes = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        while passes < 1000:
            passes += loop.fit(x).n_iter_
            if loop.converged_:
                break
    assert loop.converged_
    assert passes == whole.n_iter_
    assert loop.lower_bound_ == whole.lower_bound_
    np.testing.assert_array_equal(loop.means_, whole.means_)


def test_a_warm_start_on_other_rows_learns_anew(x):
    gm = GaussianMixture(3, warm_start=True, random_state=0).fit(x)
    others = x[::-1] + 0.5
    assert np.isfinite(gm.fit(others).lower_bound_)
    assert gm.converged_
    alone = GaussianMixture(3, random_state=0).fit(others)
    assert gm.lower_bound_ >= alone.lower_bound_ - 1e-2


def test_a_warm_start_takes_parameters_that_were_set_by_hand(x):
    gm = GaussianMixture(3, warm_start=True, max_iter=0, random_state=0).fit(x)
    gm.means_ = gm.means_ + 0.25
    np.testing.assert_array_equal(gm.fit(x).means_, gm.means_)


# -- names of parameters -------------------------------------------------------------


def test_misspelt_keywords_are_named_and_signatures_stay(x):
    """Python itself does so from 3.13 on."""
    for call, meant in (
        (lambda: GaussianMixture(n_component=3), "n_components"),
        (lambda: GaussianMixture(3).fit(x, sample_weigth=x[:, 0]), "sample_weight"),
        (lambda: select(x, [1, 2], criteron="aic"), "criterion"),
        (lambda: select(x, [1, 2], reg_cov=1.0), "reg_covar"),
        (lambda: open_rows("x.parquet", column=["a"]), "columns"),
    ):
        with pytest.raises(TypeError, match=f"unexpected keyword argument .*mean '{meant}'"):
            call()
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'zzz'$"):
        GaussianMixture(zzz=1)
    assert "n_components" in inspect.signature(GaussianMixture).parameters
    assert "sample_weight" in inspect.signature(GaussianMixture.fit).parameters
    model = GaussianMixture(3, tol=1e-3, random_state=0)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("call", [GaussianMixture().fit, lambda X, **how: select(X, [1], **how)])
def test_keywords_of_open_rows_name_it(call):
    """Each that it has, and what xarray calls one of them."""
    has = list(inspect.signature(open_rows).parameters)[1:]
    for given in (*has, "data_vars", "column"):
        with pytest.raises(TypeError, match=f"keyword argument '{given}': daskgmm.open_rows") as no:
            call("t.parquet", **{given: ["a"]})
        meant = re.search(r"open_rows\(path, (\w+)=", str(no.value))[1]
        assert meant == {"data_vars": "variables", "column": "columns"}.get(given, given)


def test_warnings_of_a_fit_are_of_the_line_that_called_it(x):
    how = {"max_iter": 1, "progressive": False, "tol": 0, "random_state": 0}
    for call in (lambda: GaussianMixture(3, **how).fit(x), lambda: select(x, [3], **how)):
        with pytest.warns(ConvergenceWarning) as caught:
            call()
        assert all(one.filename == __file__ for one in caught)
    with pytest.warns(DaskGMMWarning, match="reg_covar") as caught:
        GaussianMixture(1, reg_covar=1.0).fit(1e-3 * x)
    assert all(one.filename == __file__ for one in caught)


# -- few rows ------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore:reg_covar=:daskgmm.errors.DaskGMMWarning")
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_fewer_distinct_rows_than_components_with_a_floor(family, init_params):
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    settings = {"covariance_type": family, "init_params": init_params, "random_state": 0}
    with pytest.warns(DaskGMMWarning, match="only 2 distinct.*share"):
        gm = GaussianMixture(3, reg_covar=1.0, **settings).fit(x)
    assert np.isfinite(gm.score(x))
    np.testing.assert_allclose(gm.weights_ @ gm.means_, [0.5, 0.5], rtol=1e-6)
    with pytest.raises(DataError, match=r"only 2 distinct.*give reg_covar"):
        GaussianMixture(3, reg_covar=0.0, on_collapse="error", **settings).fit(x)


def test_one_row_is_no_mixture():
    for model in (GaussianMixture(1), Theirs(1)):
        with pytest.raises(ValueError, match=r"n_samples=1|1 sample"):
            model.fit([[1.0, 2.0]])


# -- what scikit-learn's own tests assert, by way of names or words that are its own --------


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_precisions_of_a_start_are_those_of_its_covariances(family, x):
    """test_gaussian_mixture_precisions_init, which reads them from a private method."""
    theirs = Theirs(3, covariance_type=family, random_state=0).fit(x)
    start = {"means_init": theirs.means_, "precisions_init": theirs.precisions_}
    ours = GaussianMixture(
        3, covariance_type=family, weights_init=theirs.weights_, max_iter=0, **start
    ).fit(x)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-9)
    np.testing.assert_allclose(ours.precisions_, theirs.precisions_, rtol=1e-9)


def test_a_fit_of_one_iteration_warns_and_more_iterations_score_higher(x):
    """test_gaussian_mixture_fit_convergence_warning and test_score, where starts do not compete."""
    settings = {"progressive": False, "stepper": "plain", "init_params": "random"}
    settings |= {"stopping": "increment", "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        short = GaussianMixture(3, max_iter=1, **settings).fit(x)
    long = GaussianMixture(3, max_iter=200, **settings).fit(x)
    assert not short.converged_
    assert long.converged_
    assert long.score(x) > short.score(x)
    assert short.score(x) == pytest.approx(short.score_samples(x).mean())


def test_starts_that_are_none_are_refused(x):
    """test_check_weights, test_check_means and test_check_precisions, in words of our own."""
    for name, value in (
        ("weights_init", [0.5, 0.5]),
        ("weights_init", [0.5, 0.6, -0.1]),
        ("weights_init", [0.5, 0.5, 0.5]),
        ("means_init", np.zeros((2, 2))),
        ("precisions_init", np.ones((3, 2, 2))),
        ("precisions_init", -np.stack([np.eye(2)] * 3)),
    ):
        with pytest.raises(ValueError, match=name):
            GaussianMixture(3, **{name: value}).fit(x)


# -- parameters from elsewhere ---------------------------------------------------------


@pytest.fixture(params=FAMILIES_OF_SKLEARN)
def theirs(request, x):
    return Theirs(3, covariance_type=request.param, random_state=0).fit(x)


def _assert_same(ours, theirs, x):
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-9)
    assert ours.bic(x) == pytest.approx(theirs.bic(x))


@pytest.mark.parametrize("given", ["covariances_", "precisions_cholesky_"])
def test_parameters_set_by_hand(given, theirs, x, tmp_path):
    ours = GaussianMixture(3, covariance_type=theirs.covariance_type)
    for name in ("weights_", "means_", given):
        setattr(ours, name, getattr(theirs, name))
    _assert_same(ours, theirs, x)
    assert ours.sample(10)[0].shape == (10, 2)
    ours.save(tmp_path / "m.zarr")
    _assert_same(load_model(tmp_path / "m.zarr"), theirs, x)


def test_half_a_model_is_not_fitted(theirs, x):
    ours = GaussianMixture(3)
    ours.weights_ = theirs.weights_
    with pytest.raises(NotFittedError, match="means_"):
        ours.predict(x)
    ours.means_ = theirs.means_
    with pytest.raises(NotFittedError, match="neither covariances_ nor precisions_cholesky_"):
        ours.predict(x)


def test_models_come_from_parameters_and_go_on(theirs, x, tmp_path):
    ours = GaussianMixture.from_parameters(
        theirs.weights_, theirs.means_, theirs.covariances_, names=["a", "b"]
    )
    assert ours.covariance_type == theirs.covariance_type
    named = pd.DataFrame(x, columns=["a", "b"])
    assert ours.score(named) == pytest.approx(theirs.score(x))
    ours.save(tmp_path / "m.zarr")
    assert load_model(tmp_path / "m.zarr").feature_names_in_.tolist() == ["a", "b"]
    again = ours.set_params(warm_start=True).fit(named)
    assert again.lower_bound_ >= theirs.score(x) - 1e-6


def test_matrices_are_full_whatever_other_kinds_have_some(monkeypatch):
    monkeypatch.setitem(COMPONENTS, "constrained", COMPONENTS["full"])
    model = GaussianMixture.from_parameters([0.5, 0.5], np.zeros((2, 3)), [np.eye(3)] * 2)
    assert model.covariance_type == "full"


def test_a_model_of_scikit_learn_goes_there_and_back(theirs, x):
    ours = GaussianMixture.from_sklearn(theirs)
    _assert_same(ours, theirs, x)
    back = ours.to_sklearn()
    np.testing.assert_array_equal(back.means_, theirs.means_)
    np.testing.assert_array_equal(back.covariances_, theirs.covariances_)
    assert (back.n_iter_, back.converged_) == (theirs.n_iter_, theirs.converged_)
    assert back.get_params() == theirs.get_params()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (([0.5, 0.4], [[0.0], [1.0]], [1.0, 1.0]), "sum to 0.9"),
        (([0.5, 0.5], [[0.0], [1.0]], [1.0, -1.0]), "positive"),
        (([0.5, 0.5], [[0.0], [np.nan]], [1.0, 1.0]), "finite"),
        (([0.5, 0.5], [0.0, 1.0], [1.0, 1.0]), r"means \(K, D\)"),
        (([0.5, 0.5], [[0.0], [1.0]], [1.0, 1.0, 1.0]), "none has"),
        (([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], np.eye(2)), "tied or diag.*covariance_type"),
        ((["a", "b"], [[0.0], [1.0]], [1.0, 1.0]), "must be numbers"),
    ],
)
def test_what_is_no_mixture_is_refused(parts, said):
    with pytest.raises(ParameterError, match=said):
        GaussianMixture.from_parameters(*parts)


def test_names_go_there_and_back_and_everyone_agrees(theirs, x):
    named = pd.DataFrame(x, columns=["temperature", "salt"])
    fitted = Theirs(3, random_state=0).fit(named)
    ours = GaussianMixture.from_sklearn(fitted)
    back = ours.to_sklearn()
    made = GaussianMixture.from_parameters(
        fitted.weights_, fitted.means_, fitted.covariances_, names=list(named)
    )
    for model in (ours, back, made):
        assert list(model.feature_names_in_) == list(named)
        np.testing.assert_allclose(model.score_samples(named), fitted.score_samples(named))
        np.testing.assert_array_equal(model.predict(named), fitted.predict(named))
        with pytest.raises(ValueError, match="feature names"):
            model.predict(named[["salt", "temperature"]])


def test_onnx_comes_by_way_of_scikit_learn(x):
    """In float32, whose error is told: probabilities are good to some 1e-4."""
    import onnxruntime  # here, since both take seconds to import
    import skl2onnx

    model = GaussianMixture(3, random_state=0).fit(x)
    single = x.astype(np.float32)
    converted = skl2onnx.to_onnx(model.to_sklearn(), single[:1])
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: single})[:2]
    expected = model.predict_proba(single)
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    clear = np.sort(expected, axis=1)[:, -2] < 0.49
    np.testing.assert_array_equal(labels.ravel()[clear], model.predict(single)[clear])


# -- what a notebook shows ----------------------------------------------------------------


def test_a_notebook_shows_what_was_found(x):
    model = GaussianMixture(3, random_state=0)
    assert "Parameters" in model._repr_html_() or "GaussianMixture" in model._repr_html_()
    shown = model.fit(pd.DataFrame(x, columns=["<script>", "b"]))._repr_html_()
    assert model._repr_mimebundle_()["text/html"] == shown
    assert "3 full components in 2 features" in shown
    assert f"{len(x):,} rows" in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr>") == 4
    assert f"<td>{model.weights_[0]:.4g}</td>" in shown


def test_a_large_mixture_is_shown_in_part():
    rng = np.random.default_rng(0)
    model = GaussianMixture.from_parameters(
        np.full(200, 1 / 200), rng.normal(size=(200, 50)), np.ones((200, 50))
    )
    shown = model._repr_html_()
    assert "and 180 more" in shown
    assert len(shown) < 20_000


def test_there_is_a_name_for_each_feature():
    with pytest.raises(ParameterError, match="2 names were given for 1 features"):
        GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]], names=["a", "b"])


# -- what scikit-learn's gallery of mixtures does -----------------------------------------


@pytest.mark.filterwarnings("ignore:.*components come from chance")  # three of two clusters
def test_a_grid_search_by_bic_finds_the_truth():
    rng = np.random.RandomState(0)
    general = rng.randn(500, 2) @ np.array([[0.0, -0.1], [1.7, 0.4]])
    x = np.concatenate([general, 0.7 * rng.randn(500, 2) + [-4, 1]])
    search = GridSearchCV(
        GaussianMixture(random_state=0, progressive=False),
        {"n_components": range(1, 4), "covariance_type": ["spherical", "tied", "diag", "full"]},
        scoring=lambda model, rows: -model.bic(rows),
        cv=3,
    ).fit(x)
    assert search.best_params_ == {"n_components": 2, "covariance_type": "full"}
    assert set(search.predict(x)) == {0, 1}
    for covariance in search.best_estimator_.covariances_:
        assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.filterwarnings("ignore:.*components come from chance")  # from means in one place
@pytest.mark.parametrize("way", ["kmeans", "random_from_data", "k-means++", "random"])
def test_the_means_of_a_start_start_a_fit(way):
    """``max_iter=0`` gives the start's means, and one ``RandomState`` serves both fits."""
    x = make_blobs(n_samples=1000, centers=4, cluster_std=0.6, random_state=0)[0][:, ::-1]
    state = np.random.RandomState(1234)
    options = {"n_components": 4, "tol": 1e-9, "random_state": state}
    start = GaussianMixture(init_params=way, max_iter=0, **options).fit(x).means_
    model = GaussianMixture(means_init=start, max_iter=2000, **options).fit(x)
    assert model.converged_
    assert model.n_iter_ >= 1
    assert len(set(model.predict(x))) == 4
