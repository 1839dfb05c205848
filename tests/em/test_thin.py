"""Thin components are said: in a warning, in the record, in a saved model.

Asserted besides: small groups of a width like that of others are none, and neither are those of
tables where no component could have more rows.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from made_data import made_mixture, rows_of
from sklearn.datasets import load_iris

from daskgmm import GaussianMixture, job, load_model
from daskgmm.em import said_of_thin, thin_components
from daskgmm.em.thin import are_spurious, deviations_of
from daskgmm.errors import DaskGMMWarning
from daskgmm.kernel import Ridge, gaussian_mixture, responsibilities

DATA = Path(__file__).parents[1] / "data"


def test_components_of_few_rows_are_warned_of_and_recorded(tmp_path):
    x = np.random.default_rng(0).normal(size=(2_000, 2))
    x[:4] = [50.0, 50.0] + 1e-6 * x[:4]
    gm = GaussianMixture(2, random_state=0, max_iter=1)  # no pass is left to put it elsewhere
    with pytest.warns(
        DaskGMMWarning, match="1 of 2 components holds 4 rows; variance at the floor"
    ):
        gm.fit(x)
    (thin,) = gm.thin_components_
    assert thin.n_rows == pytest.approx(4.0)
    assert thin.at_floor
    assert thin.component == np.argmin(gm.weights_)
    assert gm.record()["thin_components"] == [
        {"component": thin.component, "n_rows": thin.n_rows, "at_floor": True}
    ]
    gm.save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").thin_components_ == gm.thin_components_


def test_nothing_is_said_of_components_that_hold_rows(family):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DaskGMMWarning)
        x = rows_of(made_mixture(family, 3, 2), 3_000)
        gm = GaussianMixture(3, covariance_type=family, random_state=0).fit(x)
    assert gm.thin_components_ == ()
    assert said_of_thin((), 3) == ""


HEALTHY = {
    "Old Faithful": (lambda: np.loadtxt(DATA / "faithful.txt"), [2, 3]),
    "iris": (lambda: load_iris().data, [2, 3]),
    "galaxies": (
        lambda: np.loadtxt(DATA / "galaxies.txt")[:, None],
        [2, 3, 4],
    ),  # of which one is the three farthest
}


@pytest.mark.slow
@pytest.mark.parametrize("data", HEALTHY)
def test_nothing_is_said_of_small_tables_that_are_well(data):
    rows, ks = HEALTHY[data]
    for k in ks:
        assert GaussianMixture(k, random_state=1).fit(rows()).thin_components_ == ()


def test_where_no_component_could_hold_more_nothing_is_said():
    """Two points and two components: who asks for that knows."""
    x = np.array([[0.0], [9999.0]])
    gm = GaussianMixture(2, covariance_type="spherical", reg_covar=0.1, random_state=0).fit(x)
    assert gm.thin_components_ == ()


def test_few_rows_in_a_plane_are_thin_in_any_units():
    """As five of twelve components of 300,000 rows: 30 rows each, variances of a thousandth."""
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    flat = turned @ np.diag([1e-3, 1.0, 1.0, 1.0]) @ turned.T
    units = np.array([1.0, 1e-6, 1e6, 1.0])
    scale = np.multiply.outer(units, units)
    weights, means = np.array([0.9, 0.0997, 0.0003]), rng.normal(size=(3, 4)) * units
    thin = gaussian_mixture(weights, means, np.array([np.eye(4), np.eye(4), flat]) * scale, "full")
    well = gaussian_mixture(weights, means, np.array([np.eye(4)] * 3) * scale, "full")
    assert [one.component for one in thin_components(thin, 1e5, ridge_of(thin))] == [2]
    assert thin_components(well, 1e5, ridge_of(well)) == ()
    assert thin_components(thin, 1e6, ridge_of(thin)) == ()  # of 300 rows it is a find


def ridge_of(mixture):
    """What is added by default to the variances of rows that are like the mixture."""
    return Ridge(1e-6 * np.square(deviations_of(mixture)))


def test_a_floor_is_relative_to_the_columns(family):
    mixture = made_mixture(family, 3, 2)
    light = gaussian_mixture(
        np.array([0.5, 0.499, 0.001]), mixture.means, mixture.covariances, family
    )
    (thin,) = thin_components(light, 1_000.0, ridge_of(light))
    assert (thin.component, thin.at_floor) == (2, False)
    assert thin_components(light, 100_000.0, ridge_of(light)) == ()
    variances = light.components.gaussians.variances()[2]
    (thin,) = thin_components(light, 1_000.0, Ridge(0.5 * variances))
    assert (thin.component, thin.at_floor) == (2, True)


def test_rows_alike_in_a_column_are_spurious_however_many():
    """28 of 150 irises have petals of a width of 0.2 exactly: a density without bound."""
    x = load_iris().data
    alike = (x[:, 3] == 0.2).astype(float)
    resp = np.column_stack([alike, 1.0 - alike])
    n_k = resp.sum(axis=0)
    means = (resp.T @ x) / n_k[:, None]
    covariances = np.array([np.cov(x.T, aweights=r, bias=True) + 1e-6 * np.eye(4) for r in resp.T])
    mixture = gaussian_mixture(n_k / n_k.sum(), means, covariances, "full")
    held = responsibilities(x, mixture).sum(axis=0)
    assert are_spurious(mixture, held, Ridge(1e-6)).sum() == 1
    assert are_spurious(mixture, 10 * held, Ridge(1e-6)).sum() == 1
    assert are_spurious(mixture, 10 * held, Ridge(1e-9)).sum() == 0  # narrow, but of many rows


@pytest.mark.parametrize("share", [0.001, 0.3])
def test_outliers_that_are_noise_do_not_blur_the_others(share):
    """Theirs is most of the variance of all rows, but not of most rows, which the ridge follows."""
    x = np.random.default_rng(0).normal(size=(5_000, 2))
    x[: round(share * len(x)), 0] = 1e5
    with pytest.warns(DaskGMMWarning, match="column 0 is 100000 in ") as caught:
        model = GaussianMixture(1, noise=True).fit(x)
    assert not any("of the least variance" in str(one.message) for one in caught)
    assert model.covariances_[0, 0, 0] == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_a_component_that_the_ridge_blurs_is_noted(kind, tmp_path):
    """One a thousandth as wide as all rows, which the default doubles, and many hold."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(3_600, 2)), 3e-4 * rng.normal(size=(2_400, 2))])
    np.save(tmp_path / "x.npy", x)
    model = GaussianMixture(2, covariance_type=kind, random_state=0)
    with pytest.warns(DaskGMMWarning, match="reg_covar is 8.% of the least variance") as caught:
        said = job.fit(str(tmp_path / "x.npy"), str(tmp_path / "model.zarr"), model)
    variances = model.covariances_.reshape(2, -1)[:, 0]
    expected = f"of component {np.argmin(variances)}; set reg_covar="
    assert expected in said["note"]
    assert str(caught[0].message) == said["note"]
    # The way out works.
    smaller = float(said["note"].partition("reg_covar=")[2].split()[0])
    finer = GaussianMixture(2, covariance_type=kind, random_state=0, reg_covar=smaller)
    said = job.fit(str(tmp_path / "x.npy"), str(tmp_path / "finer.zarr"), finer)
    assert not said["note"]
    assert finer.covariances_.reshape(2, -1)[:, 0].min() == pytest.approx(9e-8, rel=0.1)
