"""Tails: fits of t components, and what becomes of them.

Asserted: outliers move them less than Gaussians; steppers agree; units and files keep degrees of
freedom; what is not for t components is refused. Their arithmetic is held in
``tests/kernel/test_students.py``.
"""

import json

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from commands import forked, write_store

from daskgmm import GaussianMixture, load_model, select
from daskgmm.cli import main
from daskgmm.errors import DaskGMMWarning, InvalidParameterError, ModelFormatError, ParameterError


@pytest.fixture(scope="module")
def x():
    """Two t components of three degrees of freedom, 600 and 400 rows."""
    rng = np.random.default_rng(0)
    tau = np.sqrt(rng.gamma(1.5, 1 / 1.5, (1000, 1)))
    found = rng.normal(size=(1000, 2)) * [1.0, 0.5] / tau
    found[600:] += [9.0, 4.0]
    return found


def fitted(x, **how):
    """From one start, which finds two clusters as clear as these."""
    settings = {"tails": "t", "random_state": 0, "order": "weight"}
    settings |= {"progressive": False, "stepper": "surrogate"}
    return GaussianMixture(2, **settings | how).fit(x)


@pytest.mark.parametrize("degrees", ["shared", "each", 3])
def test_steppers_agree(x, family, degrees):
    how = {"covariance_type": family, "degrees_of_freedom": degrees}
    model = fitted(x, tol=1e-10, **how)
    plain = fitted(x, tol=1e-10, stepper="plain", max_iter=3000, **how)
    # A gap of 1e-10 per row leaves parameters wrong by its root.
    assert model.score(x) == pytest.approx(plain.score(x), abs=1e-8)
    np.testing.assert_allclose(model.degrees_of_freedom_, plain.degrees_of_freedom_, rtol=1e-2)
    np.testing.assert_allclose(model.means_, plain.means_, atol=1e-2)
    gaussian = fitted(x, covariance_type=family, tails=None)
    assert model.bic(x) < gaussian.bic(x)
    more = {"shared": 1, "each": 2}.get(degrees, 0)
    assert model.criteria(x).n_parameters == gaussian.criteria(x).n_parameters + more
    if degrees == 3:
        np.testing.assert_allclose(model.degrees_of_freedom_, 3.0, rtol=1e-9)
    else:
        # The standard error of log(nu) from 400 rows is about 0.15.
        np.testing.assert_allclose(np.log(model.degrees_of_freedom_), np.log(3), atol=0.6)


def test_outliers_move_gaussians_more(x):
    far = np.vstack([x, np.column_stack([np.linspace(20, 70, 6), np.full(6, -30.0)])])
    start = {"means_init": [[0.0, 0.0], [9.0, 4.0]], "progressive": False}
    moved = {
        tails: np.abs(
            fitted(far, tails=tails, **start).means_ - fitted(x, tails=tails, **start).means_
        ).max()
        for tails in ("t", None)
    }
    assert moved["t"] < 0.1 < moved[None]


def test_degrees_of_freedom_do_not_depend_on_units(x):
    scales = np.array([1e-4, 1e5])
    how = {"degrees_of_freedom": "each", "tol": 1e-10}
    model, other = fitted(x, **how), fitted(x * scales + 7.0, standardize="robust", **how)
    np.testing.assert_allclose(other.degrees_of_freedom_, model.degrees_of_freedom_, rtol=1e-3)
    np.testing.assert_allclose(other.means_, model.means_ * scales + 7.0, rtol=1e-3)
    projected = fitted(x, n_projected=2, **how)
    assert projected.score(x) == pytest.approx(model.score(x), abs=1e-6)
    spherical = fitted(x, covariance_type="spherical", standardize=True)
    assert spherical.covariances_.shape == (2, 2)
    assert spherical.criteria(x).n_parameters == 1 + 4 + 2 + 1


def test_models_keep_their_tails(x, tmp_path):
    for name, how in {
        "shared": {},
        "each": {"degrees_of_freedom": "each", "noise": True},
        "fixed": {"degrees_of_freedom": 4, "n_projected": 2},
        "scaled": {"covariance_type": "spherical", "standardize": True},
    }.items():
        model = fitted(x, **how)
        model.save(tmp_path / name)
        back = load_model(tmp_path / name)
        np.testing.assert_array_equal(back.score_samples(x), model.score_samples(x))
        np.testing.assert_array_equal(back.degrees_of_freedom_, model.degrees_of_freedom_)
        assert back.get_params()["covariance_type"] == model.covariance_type
        assert back.criteria(x).n_parameters == model.criteria(x).n_parameters
        drawn, _ = back.sample(50)
        assert np.isfinite(back.score(drawn))
    group = zarr.open_group(tmp_path / "each", mode="r")
    assert (group.attrs["format_version"], group.attrs["covariance_type"]) == (4, "full")
    with pytest.raises(ParameterError, match="Gaussians alone"):
        load_model(tmp_path / "shared").update(x)
    with pytest.raises(ParameterError, match="t components"):
        back.to_sklearn()
    with pytest.raises(ParameterError, match="needs Gaussians"):
        load_model(tmp_path / "shared").marginal([0])
    with pytest.raises(ParameterError, match="only under Gaussians"):
        back.set_threshold(probability=0.01)
    metadata = tmp_path / "each" / "zarr.json"
    for wrong in ("many", {"distribution": "t", "degrees_of_freedom": -1.0}, {}):
        text = json.loads(metadata.read_text())
        text["attributes"]["tails"] = wrong
        metadata.write_text(json.dumps(text))
        with pytest.raises(ModelFormatError):
            load_model(tmp_path / "each")


@pytest.mark.filterwarnings("ignore:not converged")
def test_a_fit_goes_on_from_its_checkpoint(x, tmp_path):
    path = write_store(tmp_path / "rows.zarr", x)
    how = {"tol": 0.0, "progressive": False, "stepper": "squarem", "degrees_of_freedom": 4.5}
    whole = fitted(path, max_iter=6, **how)
    kept = {**how, "checkpoint": tmp_path / "kept", "max_iter": 6}
    fitted(path, **kept)
    again = fitted(path, resume=True, **kept)
    np.testing.assert_array_equal(again.means_, whole.means_)
    np.testing.assert_array_equal(again.degrees_of_freedom_, whole.degrees_of_freedom_)
    with pytest.raises(Exception, match="degrees_of_freedom"):
        fitted(path, resume=True, **{**kept, "degrees_of_freedom": 5})


@pytest.mark.parametrize("parts", [("means_init",), ("means_init", "weights_init", "all")])
def test_starts_may_be_given(x, parts):
    given = {"means_init": [[0.0, 0.0], [9.0, 4.0]]}
    if "all" in parts:
        given |= {"weights_init": [0.5, 0.5], "precisions_init": [np.eye(2)] * 2}
    model = fitted(x, tol=1e-8, max_iter=500, **given)
    assert model.score(x) == pytest.approx(fitted(x, tol=1e-8).score(x), abs=1e-6)
    again = fitted(x, tol=1e-8, warm_start=True)
    assert again.fit(x).n_iter_ <= 2


def test_selection_counts_tails(x):
    chosen = select(x, range(1, 4), tails="t", random_state=0)
    assert (chosen.best.n_components, chosen.best.covariance_type) == (2, "full")
    assert chosen.best.n_parameters == 12


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"tails": "cauchy"}, "tails must be one of t"),
        ({"degrees_of_freedom": 0}, "degrees_of_freedom must be shared, each"),
        ({"degrees_of_freedom": "some"}, "degrees_of_freedom must be shared, each"),
        ({"tails": None, "degrees_of_freedom": 4}, "set tails='t'"),
    ],
)
def test_other_tails_are_refused(x, how, message):
    with pytest.raises((InvalidParameterError, ParameterError), match=message):
        fitted(x, **how)


@pytest.mark.filterwarnings("ignore:not converged")
def test_messages_call_components_as_people_do(x):
    few = np.random.default_rng(0).normal(size=(6, 20))
    with pytest.warns(DaskGMMWarning, match="are few for 2 full t components"):
        model = fitted(few, degrees_of_freedom=4.5, max_iter=1)
    assert "2 full t components in 20 features" in model._html_repr()
    with pytest.raises(ParameterError, match="full t components have no prior"):
        fitted(x, prior="auto")


def test_results_of_commands_have_tails_and_noise(x, tmp_path):
    path, model = write_store(tmp_path / "rows.zarr", x), tmp_path / "model.zarr"
    how = ["--components", 2, "--tails", "t", "--noise", "true", "--output", model]
    words = [str(word) for word in ("fit", path, *how)]
    said = CliRunner().invoke(main, words).stdout
    assert said.startswith("2 full t components on 1,000 rows")
    assert f"weight of noise         {load_model(model).noise_weight_:.4g}\n" in said
    assert "degrees of freedom      " in said
    found = json.loads(CliRunner().invoke(main, [*words, "--overwrite", "--json"]).stdout)
    assert found["noise_weight"] == load_model(model).noise_weight_
    assert found["degrees_of_freedom"] == load_model(model).degrees_of_freedom_.tolist()


@pytest.mark.slow
def test_commands_have_tails(x, tmp_path):
    path, model = write_store(tmp_path / "rows.zarr", x), tmp_path / "model.zarr"
    how = ["--components", 2, "--tails", "t", "--degrees-of-freedom", 4]
    done = forked("fit", path, *how, "--output", model, cwd=tmp_path)
    assert done.status == 0, done.stderr
    found = forked("info", model, "--json", cwd=tmp_path).json
    assert (found["covariance_type"], found["degrees_of_freedom"]) == ("full", [4.0, 4.0])
