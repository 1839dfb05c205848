"""Noise in the kernel: a uniform density beside the components of a mixture.

Asserted: the densities of SciPy, by every formulation and for every kind; a noise of weight 0 is
no noise; EM never lowers the likelihood; the gradient is that of the likelihood.
"""

import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES, made_mixture, rows_of
from scipy.optimize import approx_fprime
from scipy.special import logsumexp

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    Block,
    Coordinates,
    Noise,
    Pass,
    Ridge,
    Uniform,
    e_step,
    labels,
    moments_and_extremes,
    most_probable,
    probabilities,
    responsibilities,
)
from daskgmm.kernel.formulations import CANDIDATES
from daskgmm.kernel.truncated import Neighbourhoods, truncated_statistics


def noisy(family, k=3, d=2, weight=0.2, seed=0):
    uniform = Uniform.over(np.full(d, -9.0), np.full(d, 11.0))
    return made_mixture(family, k, d, seed=seed).with_noise(uniform, weight)


def rows_with_noise(mixture, n, seed=1):
    rng = np.random.default_rng(seed)
    return np.vstack([rows_of(mixture, n, seed=seed), mixture.uniform.sample(rng, n // 4)])


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize(("k", "d"), [(3, 2), (40, 3)])
def test_every_formulation_gives_the_densities_of_components_and_noise(family, k, d):
    mixture = noisy(family, k, d)
    x = rows_with_noise(mixture, 600)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, len(x))
    x_t = np.ascontiguousarray(x.T)
    joint = mixture.components.log_densities(x_t) + np.log(mixture.weights)[:, None]
    of_noise = np.full((1, len(x)), mixture.log_noise)
    total = logsumexp(np.vstack([joint, of_noise]), axis=0)
    resp = np.exp(np.vstack([joint, of_noise]) - total)
    for candidate in CANDIDATES:
        for dtype in candidate.dtypes:
            if not np.isfinite(
                candidate.cost(type(mixture.components), *mixture.means.shape, dtype)
            ):
                continue
            if not candidate.applies(mixture, dtype):
                continue
            one, densities = candidate(mixture, dtype), np.empty(len(x))
            found = one.statistics(Block(x, weight=weight), densities)
            # Float32: rounding of one row, whose average over rows is far less.
            exact = dtype == np.float64
            np.testing.assert_allclose(densities, total, atol=1e-10 if exact else 1e-4)
            np.testing.assert_allclose(one.log_densities(x), total, atol=1e-10 if exact else 1e-4)
            rtol = 1e-11 if exact else 1e-6
            np.testing.assert_allclose(found.log_likelihood, weight @ total, rtol=rtol)
            np.testing.assert_allclose(
                [*found.n_k, found.n_noise], resp @ weight, atol=rtol * len(x)
            )
    np.testing.assert_allclose(probabilities(x, mixture), resp.T, atol=1e-11)
    np.testing.assert_allclose(responsibilities(x, mixture), resp[:-1].T, atol=1e-11)
    expected = np.where(resp.argmax(axis=0) == k, -1, resp.argmax(axis=0))
    np.testing.assert_array_equal(labels(x, mixture), expected)
    best, found_of_best = most_probable(x, mixture, k + 5)
    assert best.shape == (len(x), k + 1)
    np.testing.assert_array_equal(best[:, 0], expected)
    np.testing.assert_allclose(found_of_best.sum(axis=1), 1.0, atol=1e-11)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_noise_of_no_weight_is_none(family):
    without = made_mixture(family, 3, 2)
    mixture = noisy(family, weight=0.0)
    x = rows_with_noise(mixture, 300)
    expected, found = e_step(Block(x), without), e_step(Block(x), mixture)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)
    for name, sums in expected.sums.items():
        np.testing.assert_allclose(found[name], sums, rtol=1e-9, atol=1e-9 * np.abs(sums).max())
    assert found.n_noise <= 1e-12 * len(x)
    np.testing.assert_array_equal(labels(x, mixture), labels(x, without))
    assert (probabilities(x, mixture)[:, -1] == 0).all()


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_steps_of_em_never_lower_the_likelihood(family):
    mixture = noisy(family, weight=0.5)
    block, before = Block(rows_with_noise(mixture, 400)), -np.inf
    for _ in range(30):
        statistics = e_step(block, mixture)
        now = statistics.log_likelihood_per_row
        assert now >= before - 1e-13
        mixture, before = Ridge().m_step(statistics), now
        assert mixture.weights.sum() + mixture.noise_weight == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_the_gradient_is_that_of_the_likelihood(family):
    origin = noisy(family)
    block = Block(rows_with_noise(origin, 200))
    coordinates = Coordinates(origin)
    u = 0.1 * np.random.default_rng(3).standard_normal(coordinates.size)

    def height(u):
        return e_step(block, coordinates.mixture(u)).log_likelihood_per_row

    mixture = coordinates.mixture(u)
    found = coordinates.gradient(u, mixture, e_step(block, mixture))
    # A difference quotient of steps 1e-6 is good to about 1e-6 of terms of order 1.
    np.testing.assert_allclose(found, approx_fprime(u, height, 1e-6), atol=2e-5)
    again = coordinates.mixture(coordinates.vector(mixture))
    np.testing.assert_allclose(again.weights, mixture.weights, rtol=1e-12)
    np.testing.assert_allclose(again.noise_weight, mixture.noise_weight, rtol=1e-12)


def test_cells_of_near_components_have_the_noise_too():
    mixture = noisy("full", 12, 2)
    x = rows_with_noise(mixture, 500)
    near, dtype = Neighbourhoods.of(mixture, 12), np.dtype(np.float64)
    found, exact = truncated_statistics(Block(x), mixture, near, dtype), e_step(Block(x), mixture)
    np.testing.assert_allclose(found.log_likelihood, exact.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(found.n_noise, exact.n_noise, rtol=1e-10)


def test_a_noise_must_leave_something():
    uniform = Uniform.over(np.zeros(1), np.ones(1))
    with pytest.raises(ParameterError, match="weight of noise"):
        Noise(1.0, uniform)
    with pytest.raises(ParameterError, match="from a box"):
        Uniform.over(np.zeros(1), np.zeros(1))


def test_a_pass_that_knows_the_scatter_sees_every_row_of_noise():
    """Second moments of tied components follow from the scatter only without noise."""
    mixture = noisy("tied")
    x = rows_with_noise(mixture, 300)
    total, _, _ = moments_and_extremes(Block(x))
    one = Pass(mixture, total=total)
    assert not one.knows_scatter
    found, exact = one.complete(one.of(Block(x))), e_step(Block(x), mixture)
    np.testing.assert_allclose(found["second"], exact["second"], rtol=1e-12)
