"""Noise: a uniform density beside the components, for rows that belong to none of them.

Asserted: mclust's fits to the same rows from the same start; noise is kept in files, checkpoints,
units and draws, and counted by criteria. Not asserted: that rows which were made as noise are
found, beyond one case that is clear.
"""

import json
from functools import partial

import dask.array as da
import numpy as np
import pytest
import zarr
from commands import forked, write_store
from made_data import assert_same_bits

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import STEPPERS, Iteration
from daskgmm.errors import (
    CheckpointError,
    InterruptedFitError,
    InvalidParameterError,
    ModelFormatError,
    ParameterError,
)
from daskgmm.events import listening

FAITHFUL = np.loadtxt("tests/data/faithful.txt")
_I = np.arange(1, 41)
_NOISE = [1 + 5 * (_I * 0.7548776662466927 % 1), 30 + 80 * (_I * 0.5698402909980532 % 1)]
WITH_NOISE = np.vstack([FAITHFUL, np.column_stack(_NOISE)])
"""Old Faithful with forty rows of a low-discrepancy sequence."""

# me(modelName, x, z, Vinv = 1 / V) of mclust 6.0, R, with tol = 1e-14: log-likelihood, weights of
# two components and of noise, means. V is the box of all rows; z has the rows of eruptions above
# 3 minutes, the others, and the forty rows.
BY_MCLUST = {
    "full": (
        -1435.138643068,
        (0.54827304482972, 0.292750034515731, 0.158976920654549),
        ((4.31376329934896, 80.1549633095242), (1.99829069010556, 54.1238814045396)),
    ),
    "tied": (
        -1444.35648235365,
        (0.54417987702199, 0.310967897826655, 0.144852225151355),
        ((4.32058246389327, 80.2113973209006), (2.0257044038559, 54.3510049922523)),
    ),
    "diag": (
        -1442.38851476269,
        (0.532922287072613, 0.288476944320011, 0.178600768607375),
        ((4.32446402327471, 80.3233009618909), (1.99202319035517, 54.0336462711467)),
    ),
    "spherical": (
        -1743.83228076799,
        (0.139878663729446, 0.0531527333869907, 0.806968602883563),
        ((4.29335791921623, 82.3057888436138), (2.0011166419185, 53.8192715107551)),
    ),
}


@pytest.mark.parametrize("family", BY_MCLUST)
def test_fits_are_those_of_mclust(family):
    log_likelihood, weights, means = BY_MCLUST[family]
    given = {"weights_init": [0.55, 0.45], "means_init": means}
    model = GaussianMixture(
        2, covariance_type=family, noise=True, reg_covar=0, tol=1e-13, max_iter=5000, **given
    ).fit(WITH_NOISE)
    # At an optimum, an error e of the log-likelihood leaves parameters wrong by its root.
    assert model.score(WITH_NOISE) * len(WITH_NOISE) == pytest.approx(log_likelihood, abs=1e-6)
    np.testing.assert_allclose([*model.weights_, model.noise_weight_], weights, atol=2e-5)
    np.testing.assert_allclose(model.means_, means, rtol=2e-5)
    box = np.array([WITH_NOISE.min(axis=0), WITH_NOISE.max(axis=0)])
    np.testing.assert_array_equal(model.noise_box_, box)
    assert np.exp(-model.noise_log_density_) == pytest.approx(np.prod(np.ptp(box, axis=0)))


@pytest.fixture(scope="module")
def clear():
    """Two components far apart, and rows of noise far from them; and their labels."""
    rng = np.random.default_rng(0)
    parts = [0.3 * rng.normal(size=(1500, 2)), 0.3 * rng.normal(size=(1000, 2)) + [6.0, 4.0]]
    noise = rng.uniform([-9, -9], [15, 13], (400, 2))
    apart = [np.linalg.norm(noise - centre, axis=1) > 2 for centre in ([0.0, 0.0], [6.0, 4.0])]
    noise = noise[np.all(apart, axis=0)]
    x = np.vstack([*parts, noise])
    return x, np.repeat([0, 1, -1], [1500, 1000, len(noise)])


def fitted(x, **how):
    return GaussianMixture(2, **{"noise": True, "random_state": 0, "order": "weight"} | how).fit(x)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_rows_far_from_components_are_labelled_as_noise(clear, stepper):
    x, truth = clear
    model = fitted(x, stepper=stepper)
    np.testing.assert_array_equal(model.predict(x) == -1, truth == -1)
    found = model.predict_proba(x)
    assert found.shape == (len(x), 3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    # Label -1 is the last column as an index as well.
    np.testing.assert_array_equal(found.argmax(axis=1) % 3, model.predict(x) % 3)
    without = GaussianMixture(2, random_state=0).fit(x)
    assert model.bic(x) < without.bic(x)
    assert model.criteria(x).n_parameters == without.criteria(x).n_parameters + 1
    lazy = model.predict_proba(da.from_array(x, chunks=(700, 2)))
    np.testing.assert_array_equal(lazy.compute(), found)
    assert list(model.set_output(transform="pandas").predict_proba(x).columns) == [
        "component_0",
        "component_1",
        "noise",
    ]


@pytest.mark.parametrize("how", [{"standardize": True}, {"standardize": "robust"}])
@pytest.mark.parametrize("noise", [True, 321.0])
def test_noise_of_scaled_features_is_in_units_of_the_data(clear, how, noise):
    x, _ = clear
    x = x * [1e-3, 1e4] + [5.0, -1e5]
    noise = noise if noise is True else noise * 10
    plain, scaled = (fitted(x, noise=noise, stopping="means", tol=1e-12, **h) for h in ({}, how))
    np.testing.assert_allclose(scaled.noise_log_density_, plain.noise_log_density_, rtol=1e-12)
    np.testing.assert_allclose(scaled.noise_box_, plain.noise_box_, rtol=1e-9)
    np.testing.assert_allclose(scaled.noise_weight_, plain.noise_weight_, rtol=1e-4)
    np.testing.assert_allclose(scaled.score(x), plain.score(x), atol=1e-6)


def test_models_are_kept_with_their_noise(clear, tmp_path):
    x, _ = clear
    for name, how in {"plain": {}, "projected": {"n_projected": 2}}.items():
        model = fitted(x, **how)
        model.save(tmp_path / name)
        back = load_model(tmp_path / name)
        np.testing.assert_array_equal(back.predict_proba(x), model.predict_proba(x))
        assert back.noise is True
        assert back.noise_weight_ == model.noise_weight_
        drawn, of = back.sample(2000)
        share = np.mean(of == -1)
        assert share == pytest.approx(model.noise_weight_, abs=4 * np.sqrt(0.25 / 2000))
        assert np.isfinite(back.score(drawn))
    model = load_model(tmp_path / "plain").update(x[::5])
    assert model.noise_weight_ == pytest.approx(back.noise_weight_, abs=0.05)
    with pytest.raises(ParameterError, match="has noise"):
        model.to_sklearn()
    with pytest.raises(ParameterError, match="density of noise"):
        model.marginal([0])
    marked = model.set_threshold(x, quantile=0.3).predict(x, mark_outliers=True)
    assert (marked[model.predict(x) == -1] == -1).all()
    metadata = tmp_path / "plain" / "zarr.json"
    text = json.loads(metadata.read_text())
    assert text["attributes"]["format_version"] == 3
    text["attributes"]["noise"]["weight"] = "much"
    metadata.write_text(json.dumps(text))
    with pytest.raises(ModelFormatError, match="noise"):
        load_model(tmp_path / "plain")


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize(
    ("stepper", "more"),
    [
        ("surrogate", {}),
        ("squarem", {}),
        ("plain", {}),
        ("surrogate", {"tails": "t"}),
        ("surrogate", {"prior": "auto"}),
    ],
)
def test_an_interrupted_fit_with_noise_goes_on_to_the_same_bits(clear, tmp_path, stepper, more):
    path = write_store(tmp_path / "rows.zarr", clear[0])
    how = {"stepper": stepper, "tol": 0.0, "max_iter": 5, **more}
    how["means_init"] = [[1.0, 1.0], [5.0, 3.0]]
    whole = fitted(path, **how)
    kept = {**how, "checkpoint": tmp_path / "kept", "resume": True}
    for after in (1, 3):
        with listening(partial(interrupt, after)), pytest.raises(InterruptedFitError):
            fitted(path, **kept)
    with pytest.raises(CheckpointError, match=r"settings\.noise was True, is None"):
        fitted(path, **kept | {"noise": None})
    again = fitted(path, **kept)
    assert again.noise_weight_ == whole.noise_weight_
    assert again.lower_bounds_ == whole.lower_bounds_
    assert_same_bits(again._mixture, whole._mixture)


def interrupt(after: int, event: object) -> None:
    """Stop a fit after so many passes."""
    if isinstance(event, Iteration) and event.n_iter == after:
        raise KeyboardInterrupt


def test_a_warm_start_takes_up_and_drops_noise(clear):
    x, _ = clear
    model = fitted(x, warm_start=True)
    weight = model.noise_weight_
    assert model.fit(x).noise_weight_ == pytest.approx(weight, rel=1e-3)
    model.set_params(noise=None).fit(x)
    assert not hasattr(model, "noise_weight_")
    assert model.weights_.sum() == pytest.approx(1.0)
    assert model.set_params(noise=True).fit(x).noise_weight_ > 0


def test_noise_stays_under_a_prior(clear, family):
    x, truth = clear
    how = {"covariance_type": family, "prior": "auto", "tol": 1e-10}
    model, plain = fitted(x, **how), fitted(x, stepper="plain", max_iter=1000, **how)
    np.testing.assert_array_equal(model.predict(x) == -1, truth == -1)
    # A gap of 1e-10 per row leaves parameters wrong by its root.
    assert model.noise_weight_ == pytest.approx(plain.noise_weight_, abs=1e-4)
    np.testing.assert_allclose(model.means_, plain.means_, atol=1e-3)


def test_selection_counts_noise(clear):
    x, truth = clear
    chosen = select(x, range(1, 4), noise=True, random_state=0)
    assert chosen.best.n_components == 2
    np.testing.assert_array_equal(chosen.model.predict(x) == -1, truth == -1)


@pytest.mark.parametrize("noise", [True, 10.0])
def test_one_row_has_no_box(noise):
    weights = np.r_[1.0, np.zeros(len(FAITHFUL) - 1)]
    with pytest.raises(ParameterError, match=r"noise needs rows that differ.* column 0"):
        GaussianMixture(2, noise=noise).fit(FAITHFUL, sample_weight=weights)


@pytest.mark.parametrize("noise", [0.0, -1.0, "much", np.inf])
def test_other_noise_is_refused(noise):
    with pytest.raises(InvalidParameterError, match="noise must be true, false, or a volume"):
        GaussianMixture(2, noise=noise).fit(FAITHFUL)


@pytest.mark.slow
def test_commands_have_noise(clear, tmp_path):
    path = write_store(tmp_path / "rows.zarr", clear[0])
    model, out = tmp_path / "model.zarr", tmp_path / "out.zarr"
    how = ["--components", 2, "--noise", "true"]
    done = forked("fit", path, *how, "--output", model, cwd=tmp_path)
    assert done.status == 0, done.stderr
    asked = ["--results", "labels,probabilities,top:9"]
    done = forked("predict", path, "--model", model, "--output", out, *asked, cwd=tmp_path)
    assert done.status == 0, done.stderr
    found, ours = zarr.open_group(out, mode="r"), load_model(model)
    np.testing.assert_array_equal(found["labels"][:], ours.predict(clear[0]))
    np.testing.assert_array_equal(found["probabilities"][:], ours.predict_proba(clear[0]))
    np.testing.assert_array_equal(found["top_labels"][:, 0], found["labels"][:])
    assert found["component"][:].tolist() == [0, 1, -1]
    assert found["labels"].attrs["flag_meanings"] == "component_0 component_1 noise"
    assert forked("info", model, "--json", cwd=tmp_path).json["noise_weight"] == ours.noise_weight_
