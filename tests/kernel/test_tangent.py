"""Coordinates: round trips, and gradients against differences of the log-likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import made_mixture, rows_of
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from daskgmm.kernel import Block, Mixture, e_step, gaussian_mixture
from daskgmm.kernel.tangent import Coordinates


def _log_likelihood_per_row(x, mixture):
    """By SciPy."""
    covariances = mixture.components.dense()
    densities = sum(
        w * multivariate_normal(m, c).pdf(x)
        for w, m, c in zip(mixture.weights, mixture.means, covariances, strict=True)
    )
    return float(np.log(densities).mean())


def _elsewhere(coordinates, seed=1):
    u = 0.2 * np.random.default_rng(seed).standard_normal(coordinates.size)
    return coordinates.vector(coordinates.mixture(u))  # without what counts for nothing


def _same(a: Mixture, b: Mixture):
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-12)


def test_the_origin_is_at_zero(family):
    mixture = made_mixture(family, 3, 2)
    coordinates = Coordinates(mixture)
    np.testing.assert_allclose(coordinates.vector(mixture), 0.0, atol=1e-12)
    _same(coordinates.mixture(np.zeros(coordinates.size)), mixture)


def test_a_vector_and_its_mixture_are_one(family):
    coordinates = Coordinates(made_mixture(family, 3, 4))
    u = _elsewhere(coordinates)
    mixture = coordinates.mixture(u)
    _same(coordinates.mixture(coordinates.vector(mixture)), mixture)
    np.testing.assert_allclose(coordinates.vector(mixture), u, rtol=1e-9, atol=1e-10)


def test_any_vector_is_a_mixture(family):
    coordinates = Coordinates(made_mixture(family, 3, 4))
    for seed in range(20):
        u = 3.0 * np.random.default_rng(seed).standard_normal(coordinates.size)
        u *= coordinates.widths
        assert np.isfinite(coordinates.mixture(u).components.factors).all()


@pytest.mark.parametrize("at", ["origin", "elsewhere"])
def test_gradients_are_differences(family, at):
    origin = made_mixture(family, 3, 2, separation=2.0)
    x = rows_of(origin, 400, seed=2) + 0.3
    coordinates = Coordinates(origin)
    u = np.zeros(coordinates.size) if at == "origin" else _elsewhere(coordinates)
    mixture = coordinates.mixture(u)
    got = coordinates.gradient(u, mixture, e_step(Block(x), mixture))
    expected = approx_fprime(u, lambda v: _log_likelihood_per_row(x, coordinates.mixture(v)), 1e-6)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_units_change_nothing():
    scale = np.array([1e-6, 1.0, 1e6])
    one = made_mixture("full", 3, 3)
    other = gaussian_mixture(
        one.weights, one.means * scale, one.covariances * np.outer(scale, scale), "full"
    )
    x = rows_of(one, 500, seed=0)
    gradients = []
    for mixture, rows in ((one, x), (other, x * scale)):
        coordinates = Coordinates(mixture)
        zero = np.zeros(coordinates.size)
        gradients.append(coordinates.gradient(zero, mixture, e_step(Block(rows), mixture)))
    np.testing.assert_allclose(*gradients, rtol=1e-7, atol=1e-9)
