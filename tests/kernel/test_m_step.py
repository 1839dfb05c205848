"""The M-step: identities between families, ascent, and the gradient that it follows."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import FAMILIES_OF_SKLEARN, made_mixture, rows_of

from daskgmm.kernel import (
    Block,
    Ridge,
    e_step,
    gaussian_mixture,
    log_density,
    responsibilities,
    weighted_statistics,
)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)  # whose M-step has a closed form
def test_parameters_are_weighted_moments(family):
    mixture = made_mixture(family, 3, 3)
    x = rows_of(mixture, 4000)
    resp = responsibilities(x, mixture)
    after = Ridge().m_step(e_step(Block(x), mixture))
    n_k = resp.sum(axis=0)
    means = resp.T @ x / n_k[:, None]
    each = [np.cov(x.T, aweights=r, bias=True) for r in resp.T]
    # Sums of 4000 terms; scikit-learn's 10 eps in n_k is far below.
    np.testing.assert_allclose(after.weights, n_k / len(x), rtol=1e-12)
    np.testing.assert_allclose(after.means, means, rtol=1e-11, atol=1e-12)
    scatter = np.tensordot(n_k / len(x), each, 1)
    expected = {
        "full": np.stack(each),
        "tied": scatter,
        "diag": np.diagonal(each, axis1=1, axis2=2),
        "spherical": np.trace(each, axis1=1, axis2=2) / 3,
    }[family]
    np.testing.assert_allclose(after.covariances, expected, rtol=1e-11, atol=1e-12)


def test_families_are_averages_of_the_full_one():
    rng = np.random.default_rng(0)
    x, resp = rng.standard_normal((500, 3)) + 5, rng.dirichlet(np.ones(4), size=500)
    by = {
        name: Ridge().m_step(weighted_statistics(Block(x), resp, np.full((4, 3), 5.0), name))
        for name in FAMILIES_OF_SKLEARN
    }
    full = by["full"].covariances
    n_k = resp.sum(axis=0)
    # tied = sum N_k S_k / N; diag its diagonal; spherical the mean of that: a few roundings.
    tied = np.einsum("k,kij->ij", n_k, full) / len(x)
    np.testing.assert_allclose(by["tied"].covariances, tied, rtol=1e-12, atol=1e-13)
    diagonal = np.diagonal(full, axis1=1, axis2=2)
    np.testing.assert_allclose(by["diag"].covariances, diagonal, rtol=1e-12)
    np.testing.assert_allclose(by["spherical"].covariances, diagonal.mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_reg_covar_is_added_to_each_variance(family):
    mixture = made_mixture(family, 3, 3)
    statistics = e_step(Block(rows_of(mixture, 500)), mixture)
    dense = [Ridge(reg).m_step(statistics).components.dense() for reg in (0.0, 0.25)]
    np.testing.assert_allclose(
        dense[1], dense[0] + 0.25 * np.eye(3), rtol=1e-14, atol=1e-15
    )  # one rounding


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_a_ridge_of_each_feature_is_added_to_its_variance(family):
    mixture = made_mixture(family, 3, 3)
    statistics = e_step(Block(rows_of(mixture, 500)), mixture)
    ridge = np.array([0.25, 0.5, 1.0])
    dense = [Ridge(reg).m_step(statistics).components.dense() for reg in (0.0, ridge)]
    added = np.full(3, ridge.mean()) if family == "spherical" else ridge
    np.testing.assert_allclose(dense[1], dense[0] + np.diag(added), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_likelihood_never_falls_without_regularisation(family, seed):
    truth = made_mixture(family, 3, 2, seed=seed, separation=1.0)
    x = rows_of(truth, 1000, seed=seed)
    # A poor start: everything in one place.
    mixture = gaussian_mixture(
        truth.weights, 0.1 * truth.means, 4.0 * truth.covariances, truth.kind
    )
    seen = []
    for _ in range(40):
        statistics = e_step(Block(x), mixture)
        seen.append(statistics.log_likelihood)
        mixture = Ridge().m_step(statistics)
    gains = np.diff(seen)
    # sqrt(n) eps of the sum of |log density|.
    assert (gains >= -1e-12 * np.abs(seen[-1])).all()
    assert gains[0] > 1.0


def test_the_step_of_a_mean_is_a_scaled_gradient(family):
    """mu+ - mu = Sigma_k / N_k * dl/dmu_k (Xu and Jordan 1996, eq. 8)."""
    k, d = 3, 2
    mixture = made_mixture(family, k, d, separation=1.0)
    x = rows_of(mixture, 800, seed=3) + 0.3
    statistics = e_step(Block(x), mixture)
    step = Ridge().m_step(statistics).means - mixture.means
    dense = mixture.components.dense()
    h = 1e-5
    gradient = np.empty((k, d))
    for j in range(k):
        for i in range(d):
            sides = []
            for sign in (1, -1):
                means = np.array(mixture.means)
                means[j, i] += sign * h
                moved = gaussian_mixture(mixture.weights, means, mixture.covariances, family)
                sides.append(log_density(x, moved).sum())
            gradient[j, i] = (sides[0] - sides[1]) / (2 * h)
    expected = np.einsum("kij,kj->ki", dense, gradient) / statistics.n_k[:, None]
    # Central differences: h^2 l'''/6 and eps l / h, both near 1e-8 of a gradient of order 100.
    np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(step).max() > 1e-2


def test_the_step_of_the_weights_is_a_scaled_gradient(family):
    """w+ - w = (diag(w) - w w^T) / N * dl/dw (Xu and Jordan 1996, eq. 7)."""
    k = 3
    mixture = made_mixture(family, k, 2, separation=1.0)
    x = rows_of(mixture, 800, seed=3) + 0.3
    w = mixture.weights
    # dl/dw_k = sum_i N(x_i | k) / p(x_i) = sum_i r_ik / w_k.
    gradient = responsibilities(x, mixture).sum(axis=0) / w
    expected = (np.diag(w) - np.outer(w, w)) @ gradient / len(x)
    step = Ridge().m_step(e_step(Block(x), mixture)).weights - w
    np.testing.assert_allclose(step, expected, rtol=1e-10, atol=1e-13)  # eps * K of 1
