"""Measurement noise: fits of the values behind measured ones, in rows anywhere."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from made_data import FAMILIES_OF_SKLEARN
from scipy.stats import multivariate_normal

from daskgmm import GaussianMixture, load_model
from daskgmm.cli import main
from daskgmm.em import STEPPERS, InMemoryRows, scan_rows
from daskgmm.errors import CheckpointError, DaskGMMError, DataError, ParameterError
from daskgmm.kernel import Block

K, D = 2, 2
MEANS = np.array([[0.0, 0.0], [6.0, 3.0]])
COVARIANCES = np.array([[[1.0, 0.8], [0.8, 1.0]], [[0.6, -0.3], [-0.3, 0.4]]])
NAMES = ("weights_", "means_", "covariances_")


def measured(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, the variances of their noise, which are about as large as theirs, and components."""
    rng = np.random.default_rng(seed)
    of = (rng.random(n) < 0.4).astype(int)
    roots = np.linalg.cholesky(COVARIANCES)
    values = MEANS[of] + np.einsum("nij,nj->ni", roots[of], rng.normal(size=(n, D)))
    noise = rng.uniform(0.1, 2.0, (n, D))
    return values + np.sqrt(noise) * rng.normal(size=(n, D)), noise, of


def fitted(x: object, variances: object, /, **options: object) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(K, random_state=0, **options).fit(x, measurement_noise=variances)


def accepted(model: GaussianMixture) -> np.ndarray:
    return np.array([i.objective for i in model.history_ if i.accepted])


PLAIN = {"stepper": "plain", "max_iter": 10, "progressive": False}
FROM_ABROAD = {"weights_init": [0.5, 0.5], "means_init": MEANS + 1.0, "stepper": "plain"}
PRECISIONS = {
    "full": [np.eye(D)] * K,
    "tied": np.eye(D),
    "diag": np.ones((K, D)),
    "spherical": np.ones(K),
}


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_no_noise_gives_the_plain_fit(family):
    x, noise, _ = measured()
    ours = fitted(x, np.zeros_like(noise), covariance_type=family, **PLAIN)
    theirs = fitted(x, None, covariance_type=family, **PLAIN)
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-12)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_every_stepper_climbs_to_the_same_place(family, stepper):
    x, noise, _ = measured(200)
    options = {"covariance_type": family, "tol": 1e-9, "max_iter": 1000, "reg_covar": 0.0}
    options |= FROM_ABROAD
    model = fitted(x, noise, **options | {"stepper": stepper})
    assert (np.diff(accepted(model)) >= -1e-12).all()  # a sum of 200 terms, over 200
    assert model.lower_bound_ == pytest.approx(fitted(x, noise, **options).lower_bound_, abs=1e-7)


def test_covariances_are_those_without_noise():
    """To five standard errors of covariances of rows whose noise is as wide as they are."""
    x, noise, of = measured(20_000)
    model = fitted(x, noise)
    order = np.argsort(model.means_[:, 0])
    counts = np.bincount(of)
    totals = np.diagonal(COVARIANCES, axis1=1, axis2=2) + 1.05  # the mean noise
    errors = (
        totals[:, :, None] ** 0.5 * totals[:, None, :] ** 0.5 * np.sqrt(2 / counts)[:, None, None]
    )
    apart = np.abs(model.covariances_[order] - COVARIANCES) / errors
    assert apart.max() < 5
    inflated = fitted(x, None).covariances_
    inflation = np.diagonal(inflated, axis1=1, axis2=2).sum(axis=0) / totals.sum(axis=0)
    np.testing.assert_allclose(inflation, 1.0, atol=0.1)
    spread = np.sqrt(totals / counts[:, None])
    assert (np.abs(model.means_[order] - MEANS) / spread).max() < 5


def test_rows_of_hopeless_noise_neither_spoil_starts_nor_scales():
    """By measured values, features were a thousand times as wide, and reg_covar with them."""
    rng = np.random.default_rng(0)
    _, _, of = measured(2000)
    roots = np.linalg.cholesky(COVARIANCES)
    values = MEANS[of] + np.einsum("nij,nj->ni", roots[of], rng.normal(size=(len(of), D)))
    noise = 10.0 ** rng.uniform(-4, 6, values.shape)
    x = values + np.sqrt(noise) * rng.normal(size=values.shape)
    model = fitted(x, noise)
    order = np.argsort(model.means_[:, 0])
    # Half of the rows tell next to nothing: five standard errors of the others.
    np.testing.assert_allclose(model.means_[order], MEANS, atol=5 / np.sqrt(0.4 * 1000))
    np.testing.assert_allclose(
        model.covariances_[order], COVARIANCES, atol=5 * np.sqrt(2 / (0.4 * 1000))
    )
    moments = scan_rows(InMemoryRows.of(Block(x, measurement_noise=noise)), len(x), 0).moments
    np.testing.assert_allclose(moments.variances, values.var(axis=0), rtol=0.2)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), atol=0.3)


def test_the_figures_are_those_of_another_implementation():
    """astroML 1.0.2's XDGMM, ten of its steps from this start, by its ``_EMstep`` and ``logL``."""
    rng = np.random.RandomState(7)
    of = rng.uniform(size=60) < 0.35
    mix = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, -0.4], [0.0, 0.0, 0.5]])
    values = np.where(of[:, None], [4.0, -2.0, 1.0], 0.0) + rng.normal(size=(60, 3)) @ mix
    noise = rng.uniform(0.05, 2.0, size=(60, 3))
    x = values + np.sqrt(noise) * rng.normal(size=(60, 3))
    start = {
        "weights_init": [0.5, 0.5],
        "means_init": [[0.0, 0.0, 0.0], [3.0, -1.0, 1.0]],
        "precisions_init": [np.eye(3), np.eye(3) / 2.0],
    }
    model = fitted(x, noise, max_iter=10, tol=0.0, reg_covar=0.0, stepper="plain", **start)
    assert model.lower_bounds_[0] == pytest.approx(-5.735920429704596, rel=1e-12)
    assert model.score(x, measurement_noise=noise) == pytest.approx(-5.3875060026011665, rel=1e-11)
    np.testing.assert_allclose(model.weights_, [0.711791222959126, 0.288208777040874], rtol=1e-10)
    means = [
        [-0.168252931756513, -0.428066047419854, -0.047251624317146],
        [2.943424411607329, -1.923837195115335, 0.74712503539722],
    ]
    np.testing.assert_allclose(model.means_, means, rtol=1e-9)
    upper = [
        [1.062946605585276, 0.636850512462961, 0.065186119452157],
        [0.880335463267433, -0.034189578388426, 0.593773111568399],
        [1.5433921979139, 0.761849525688659, -0.340905843307462],
        [1.14527819028601, -0.474320607434115, 0.398100051984167],
    ]
    found = model.covariances_[:, *np.triu_indices(3)].ravel()
    np.testing.assert_allclose(found, np.ravel(upper), rtol=1e-9)


def test_what_is_said_of_rows_is_of_measured_rows():
    x, noise, _ = measured(50)
    model = fitted(x, noise, max_iter=3, tol=0.0)
    joint = np.array(
        [
            [
                np.log(w) + multivariate_normal(m, c + np.diag(s)).logpdf(row)
                for w, m, c in zip(*(getattr(model, name) for name in NAMES), strict=True)
            ]
            for row, s in zip(x, noise, strict=True)
        ]
    )
    density = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(x, noise), density, rtol=1e-10)
    resp = np.exp(joint - density[:, None])
    np.testing.assert_allclose(model.predict_proba(x, noise), resp, atol=1e-10)
    labels = model.predict(x, measurement_noise=noise)
    np.testing.assert_array_equal(labels, resp.argmax(axis=1))
    assert model.score(x, measurement_noise=noise) == pytest.approx(density.mean(), rel=1e-11)
    found = model.criteria(x, measurement_noise=noise)
    assert found.log_likelihood == pytest.approx(density.sum(), rel=1e-11)
    assert (
        model.bic(x, measurement_noise=noise) == found.bic > model.aic(x, measurement_noise=noise)
    )
    again = GaussianMixture(K, random_state=0, max_iter=3, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(again.fit_predict(x, measurement_noise=noise), labels)


def stored(x: np.ndarray, at: Path, name: str, rows: int) -> str:
    zarr.create_array(str(at / name), data=x, chunks=(rows, x.shape[1]))
    return str(at / name)


KINDS = {
    "lists": lambda x, s, at: (x.tolist(), s.tolist()),
    "Dask": lambda x, s, at: (da.from_array(x, chunks=(250, D)), s),
    "Dask, Dask in other blocks": lambda x, s, at: (
        da.from_array(x, chunks=(250, 1)),
        da.from_array(s, chunks=(400, 1)),
    ),
    "Dask, stored": lambda x, s, at: (
        da.from_array(x, chunks=(250, D)),
        stored(s, at, "s.zarr", 200),
    ),
    "stored": lambda x, s, at: (stored(x, at, "x.zarr", 200), stored(s, at, "s.zarr", 300)),
    "stored, in memory": lambda x, s, at: (stored(x, at, "x.zarr", 200), s),
    "in memory, stored": lambda x, s, at: (x, zarr.open(stored(s, at, "s.zarr", 300))),
    "in memory, Dask": lambda x, s, at: (x, da.from_array(s, chunks=(400, D))),
    "pandas": lambda x, s, at: (pd.DataFrame(x, columns=["a", "b"]), pd.DataFrame(s)),
    "Dask DataFrame": lambda x, s, at: (
        dd.from_pandas(pd.DataFrame(x, columns=["a", "b"]), npartitions=3),
        s,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_noise_of_any_kind_are_fitted_alike(kind, tmp_path):
    x, noise, _ = measured()
    expected = fitted(x, noise, **PLAIN)
    rows, variances = KINDS[kind](x, noise, tmp_path)
    model = fitted(rows, variances, **PLAIN)
    for name in NAMES:
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=1e-8)
    assert (model.n_features_in_, model.n_rows_) == (D, len(x))
    labels = np.asarray(model.predict(rows, measurement_noise=variances))
    np.testing.assert_array_equal(labels, expected.predict(x, measurement_noise=noise))
    score = model.score(rows, measurement_noise=variances)
    assert score == pytest.approx(expected.score(x, measurement_noise=noise), rel=1e-10)


def correlated(noise: np.ndarray) -> np.ndarray:
    """Covariances (n, D, D) of these variances, of features whose noise is much alike."""
    root = np.sqrt(noise)
    return root[:, :, None] * root[:, None, :] * (0.8 + 0.2 * np.eye(D))


KINDS_OF_COVARIANCES = {
    "Dask": lambda x, s, at: (da.from_array(x, chunks=250), da.from_array(s, chunks=(200, 1, 2))),
    "Dask, in memory": lambda x, s, at: (da.from_array(x, chunks=250), s),
    "stored": lambda x, s, at: (
        stored(x, at, "x.zarr", 200),
        stored(s.reshape(len(s), -1), at, "s.zarr", 300),
    ),
}


@pytest.mark.parametrize("kind", KINDS_OF_COVARIANCES)
def test_covariances_of_noise_come_with_rows_of_any_kind(kind, tmp_path):
    x, noise, _ = measured()
    noise = correlated(noise)
    expected = fitted(x, noise, **PLAIN)
    rows, covariances = KINDS_OF_COVARIANCES[kind](x, noise, tmp_path)
    model = fitted(rows, covariances, **PLAIN)
    for name in NAMES:
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=1e-8)
    found = np.asarray(model.score_samples(rows, covariances))
    np.testing.assert_allclose(found, expected.score_samples(x, noise), rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_covariances_of_noise_are_not_those_of_the_fit(family):
    """Features have noise that is much alike, and are less alike without, or the opposite."""
    _, noise, of = measured(4000)
    noise, rng = correlated(noise), np.random.default_rng(9)
    roots, n = np.linalg.cholesky(COVARIANCES), len(of)
    x = MEANS[of] + np.einsum("nij,nj->ni", roots[of], rng.normal(size=(n, D)))
    x += np.einsum("nij,nj->ni", np.linalg.cholesky(noise), rng.normal(size=(n, D)))
    model = fitted(x, noise, covariance_type=family, tol=1e-7)
    assert (np.diff(accepted(model)) >= -1e-12).all()
    order = np.argsort(model.means_[:, 0])
    np.testing.assert_allclose(model.means_[order], MEANS, atol=0.25)
    if family == "full":  # of which the others are no mixtures
        np.testing.assert_allclose(model.covariances_[order], COVARIANCES, atol=0.25)
        variances = np.diagonal(noise, axis1=1, axis2=2)
        other = fitted(x, variances).score(x, measurement_noise=variances)
        assert model.score(x, measurement_noise=noise) > other


def test_what_is_no_covariance_of_noise_is_refused():
    x, noise, _ = measured()
    for place, value in (((0, 1), 0.0), ((0, 0), 1e-9), ((1, 0), np.nan)):
        wrong = correlated(noise)
        wrong[(17, *place)] = value
        with pytest.raises(DataError, match="no covariance at row 17"):
            fitted(x, wrong)
    infinite = correlated(noise)
    infinite[5, 1, 1] = np.inf
    with pytest.raises(DataError, match="has inf at row 5, column 1"):
        fitted(x, infinite)
    variances = np.where(np.isinf(infinite[:, [0, 1], [0, 1]]), np.inf, noise)
    models = [fitted(x, s, missing="em", **PLAIN) for s in (infinite, variances)]
    assert [model.n_missing_ for model in models] == [1, 1]


@pytest.mark.parametrize("stage", [None, "auto"])
def test_stored_rows_are_staged_with_their_noise(stage, tmp_path):
    x, noise, _ = measured()
    model = fitted(stored(x, tmp_path, "x.zarr", 100), noise, stage=stage, **PLAIN)
    if stage is not None:  # a piece takes some bytes beside its values
        assert model.staged_bytes_memory_ >= x.nbytes + noise.nbytes
    np.testing.assert_allclose(model.means_, fitted(x, noise, **PLAIN).means_, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
@pytest.mark.parametrize("lazy", [False, True])
def test_infinite_noise_is_a_missing_value(family, lazy):
    x, noise, _ = measured()
    gaps = np.random.default_rng(1).random(x.shape) < 0.2
    options = {"missing": "em", "covariance_type": family, **PLAIN, "init_params": "random"}
    missing, infinite = np.where(gaps, np.nan, x), np.where(gaps, np.inf, noise)
    unknown = np.where(gaps, np.nan, noise)
    given = [(x, infinite), (missing, unknown), (missing, noise)]
    if lazy:
        given = [[da.from_array(of, chunks=(200, D)) for of in pair] for pair in given]
    first, *others = (fitted(*pair, **options) for pair in given)
    assert first.n_left_out_ == gaps.all(axis=1).sum() > 0
    assert first.n_missing_ == gaps.any(axis=1).sum()
    for model, (rows, variances) in zip(others, given[1:], strict=True):
        np.testing.assert_allclose(model.covariances_, first.covariances_, rtol=1e-9)
        labels = np.asarray(model.predict(rows, measurement_noise=variances))
        np.testing.assert_array_equal(labels == -2, gaps.all(axis=1))
    # Without noise it is the fit to the values that are there.
    options |= FROM_ABROAD | {"precisions_init": PRECISIONS[family], "reg_covar": 0.0}
    none = fitted(x, np.where(gaps, np.inf, 0.0), **options)
    np.testing.assert_allclose(none.means_, fitted(missing, None, **options).means_, rtol=1e-8)


def test_rows_with_gaps_can_be_left_out():
    x, noise, _ = measured()
    gaps = np.random.default_rng(1).random(x.shape) < 0.2
    there = ~gaps.any(axis=1)
    model = fitted(np.where(gaps, np.nan, x), noise, missing="drop", **PLAIN)
    expected = fitted(x[there], noise[there], **PLAIN)
    assert model.n_rows_ == there.sum()
    np.testing.assert_allclose(model.lower_bound_, expected.lower_bound_, rtol=1e-3)
    score = model.score(np.where(gaps, np.nan, x), measurement_noise=noise)
    assert score == pytest.approx(model.score(x[there], measurement_noise=noise[there]), rel=1e-12)


def test_a_whole_weight_repeats_a_row():
    x, noise, _ = measured(300)
    weights = np.random.default_rng(0).integers(0, 3, 300)
    start = FROM_ABROAD | {"precisions_init": PRECISIONS["full"], "reg_covar": 0.0, "max_iter": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = GaussianMixture(K, **start).fit(x, sample_weight=weights, measurement_noise=noise)
    theirs = fitted(*(np.repeat(of, weights, axis=0) for of in (x, noise)), **start)
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


@pytest.mark.parametrize("standardize", [True, "robust"])
def test_units_scale_the_noise_as_well(standardize):
    x, noise, _ = measured()
    scale = np.array([1e-3, 50.0])
    model = fitted(x, noise, standardize=standardize)
    other = fitted(x * scale, noise * scale**2, standardize=standardize)
    np.testing.assert_allclose(other.means_, model.means_ * scale, rtol=1e-5)
    np.testing.assert_allclose(
        other.covariances_, model.covariances_ * scale * scale[:, None], rtol=1e-4
    )
    scores = [
        m.score(a, measurement_noise=b)
        for m, a, b in ((model, x, noise), (other, x * scale, noise * scale**2))
    ]
    assert scores[0] - np.log(scale).sum() == pytest.approx(scores[1], abs=1e-8)


@pytest.mark.parametrize(
    "more",
    [
        {"prior": "auto"},
        {"covariance_type": "spherical", "standardize": True},
        {"fixed": {"means": [1]}, "means_init": [[np.nan] * D, MEANS[1]]},
        {"precision": "float32"},
        {"n_init": 3},
        {"stopping": "increment"},
        {"order": "first-feature"},
        {"missing": "em"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_beside_other_options_the_objective_never_falls(more):
    x, noise, _ = measured()
    model = fitted(x, noise, **more, tol=1e-7)
    assert (np.diff(accepted(model)) >= -1e-12).all()
    found = model.means_[np.argsort(model.means_[:, 0])]
    np.testing.assert_allclose(found, MEANS, atol=0.5)


def test_rows_of_known_components_have_noise_too():
    x, noise, of = measured()
    labels = np.where(np.arange(len(x)) < 60, 1 - of, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(K, random_state=0).fit(x, labels=labels, measurement_noise=noise)
    assert (np.diff(accepted(model)) >= -1e-12).all()
    np.testing.assert_allclose(model.means_, MEANS[::-1], atol=0.5)


def test_a_warm_start_takes_other_noise_for_another_fit():
    x, noise, _ = measured()
    model = fitted(x, noise, warm_start=True, tol=1e-8)
    for variances in (0.5 * noise, None, noise):
        model.fit(x, measurement_noise=variances)
        assert (np.diff(accepted(model)) >= -1e-12).all()
    assert model.lower_bound_ == pytest.approx(fitted(x, noise, tol=1e-8).lower_bound_, abs=1e-6)


def changed(noise: np.ndarray, value: float) -> np.ndarray:
    found = noise.copy()
    found[17, 1] = value
    return found


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: changed(s, -1.0), "has -1 at row 17, column 1"),
        (lambda s: changed(s, np.nan), "has nan at row 17, column 1"),
        (lambda s: changed(s, np.inf), "has inf at row 17, column 1.*missing='em'"),
        (lambda s: s[1:], r"has shape \(599, 2\), but .* has 600 rows of 2 features"),
        (lambda s: s[:, :1], r"has shape \(600, 1\)"),
        (lambda s: s[:, 0], "must be a 2D array"),
        (lambda s: s.astype(str), "has dtype <U"),
    ],
)
def test_what_is_no_noise_is_refused_in_one_line(change, said, lazy):
    x, noise, _ = measured()
    noise = change(noise)
    if lazy:
        x, noise = da.from_array(x, chunks=(250, D)), da.from_array(noise, chunks=200)
    with pytest.raises(DataError, match=said) as caught:
        fitted(x, noise)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_with_noise_is_refused_in_one_line():
    x, noise, _ = measured()
    with pytest.raises(DataError, match="is masked"):
        fitted(x, np.ma.masked_array(noise, noise > 1))
    with pytest.raises(DataError, match="must be a 2D array"):
        fitted(x, object())
    for more in ({"noise": True}, {"tails": "t"}, {"n_projected": 1}, {"constant": "drop"}):
        with pytest.raises(ParameterError, match="do not go together"):
            fitted(x, noise, **more)
        plain = fitted(x, None, **more)
        if "constant" not in more:
            with pytest.raises(ParameterError, match="measurement_noise needs Gaussians"):
                plain.score(x, measurement_noise=noise)
    with pytest.raises(ParameterError, match="reads=1"):
        fitted(x, noise, reads=1)
    with pytest.raises(DataError, match="cells of a grid"):
        fitted(xr.DataArray(x, dims=("i", "feature")), noise)
    model = fitted(x, noise)
    with pytest.raises(ParameterError, match=r"keeps no statistics.*measurement noise"):
        model.update(x)
    with pytest.raises(ParameterError, match="drawn anew, and without the measurement noise"):
        model.uncertainty(x)
    model.set_threshold(x, quantile=0.1)
    with pytest.raises(ParameterError, match="do not go together"):
        model.predict(x, mark_outliers=True, measurement_noise=noise)


def test_a_checkpoint_is_of_its_noise(tmp_path):
    x, noise, _ = measured()
    path = stored(x, tmp_path, "x.zarr", 200)
    options = {"checkpoint": str(tmp_path / "kept"), "resume": True}
    model = fitted(path, noise, **options)
    np.testing.assert_array_equal(fitted(path, noise, **options).means_, model.means_)
    for other in (2.0 * noise, None):
        with pytest.raises(CheckpointError):
            fitted(path, other, **options)


def test_a_command_takes_noise_beside_the_rows(tmp_path):
    x, noise, _ = measured()
    group = zarr.open_group(str(tmp_path / "data.zarr"), mode="w")
    group.create_array("x", data=x)
    group.create_array("variances", data=noise)
    data, out = str(tmp_path / "data.zarr/x"), str(tmp_path / "model.zarr")
    of_noise = ["--measurement-noise", "variances"]
    command = ["fit", data, "--components", "2", "--output", out, *of_noise]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    expected = fitted(x, noise)
    np.testing.assert_allclose(load_model(out).covariances_, expected.covariances_, rtol=1e-6)
    done = CliRunner().invoke(main, ["score", data, "--model", out, "--json", *of_noise])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["log_likelihood_per_row"]
    assert found == pytest.approx(expected.score(x, measurement_noise=noise), rel=1e-7)
    page = ["--report", str(tmp_path / "report.html"), "--overwrite"]
    done = CliRunner().invoke(main, [*command, *page])
    assert done.exit_code == 2
    assert "without their noise" in done.output
    with pytest.raises(DaskGMMError):
        fitted(data, str(tmp_path / "nothing.zarr"))


@pytest.mark.filterwarnings("ignore:not converged")  # the variance behind the noise goes to 0
@pytest.mark.parametrize("why", ["weights", "gaps"])
def test_one_row_with_noise_is_its_own_mean(why):
    x, weight = np.random.default_rng(0).normal(size=(10, 2)), None
    if why == "weights":
        weight = np.arange(10) == 3
    else:
        x[np.arange(10) != 3] = np.nan
    model = GaussianMixture(1, missing="drop", random_state=0)
    model.fit(x, sample_weight=weight, measurement_noise=np.full((10, 2), 0.5))
    np.testing.assert_allclose(model.means_, x[3:4])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_noise_in_columns_of_the_same_names_is_brought_into_their_order(frame):
    """A table of variances in another order of columns was taken by position, without a word."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(300, 3)), rng.uniform(0.01, [0.1, 1.0, 3.0], size=(300, 3))
    rows = frame(dict(zip("abc", x.T, strict=True)))
    variances = frame(dict(zip("abc", noise.T, strict=True)))
    left, right = (
        GaussianMixture(1, random_state=0).fit(rows, measurement_noise=one)
        for one in (variances, variances[["c", "a", "b"]])
    )
    assert left.lower_bound_ == right.lower_bound_
    np.testing.assert_array_equal(left.means_, right.means_)
