"""Rows with measurement noise: the E-step is that of a dense reference, in all families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kernel.naive import REDUCED
from made_data import covariances_of
from scipy.stats import multivariate_normal

from daskgmm.kernel import (
    Block,
    Mixture,
    Pass,
    Ridge,
    density_sums,
    gaussian_mixture,
    labels,
    log_density,
    most_probable,
    probabilities,
)

D, K, N = 4, 3, 100
FAMILIES = tuple(REDUCED)
CLOSE = {"rtol": 1e-10, "atol": 1e-9}
"""Conditioned as 1e2, sums of some hundred terms of order 1 to 10."""


def mixture_of(kind: str, near: float = 0.3) -> Mixture:
    """Three components; ``near`` is what the last feature has of its own beside the first."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(K, D, D))
    dense = a @ a.transpose(0, 2, 1) + 0.3 * np.eye(D)
    dense[:, -1] = dense[:, 0]
    dense[:, :, -1] = dense[:, :, 0]
    dense[:, -1, -1] = dense[:, 0, 0] + near
    means = 2 * rng.normal(size=(K, D))
    return gaussian_mixture([0.2, 0.5, 0.3], means, covariances_of(kind, dense), kind)


def noisy_block(n: int = N, is_correlated: bool = False, **more: object) -> Block:
    """Rows, weights, and noise from far below to far above the widths of the components."""
    rng = np.random.default_rng(2)
    noise = 10.0 ** rng.uniform(-6, 4, (n, D))
    weight = rng.uniform(0.5, 2, n)
    if is_correlated:
        a = rng.normal(size=(n, D, D)) * 10.0 ** rng.uniform(-2, 1, (n, 1, 1))
        noise = a @ a.transpose(0, 2, 1)
    return Block(2 * rng.normal(size=(n, D)), weight=weight, measurement_noise=noise, **more)


def matrices(noise: np.ndarray) -> np.ndarray:
    """Noise (n, D) or (n, D, D) as matrices."""
    return noise if noise.ndim == 3 else noise[:, :, None] * np.eye(D)


class Dense:
    """The E-step by definition: of each row and component, the inverse of V + S."""

    def __init__(self, block: Block, mixture: Mixture) -> None:
        dense, n = mixture.components.dense(), len(block)
        joint, self.first = np.empty((n, K)), np.zeros((K, D))
        values, left = np.empty((n, K, D)), np.empty((n, K, D, D))
        noises = matrices(block.measurement_noise)
        for i, (row, noise) in enumerate(zip(block.x, noises, strict=True)):
            for k, v in enumerate(dense):
                total = v + noise
                joint[i, k] = multivariate_normal(mixture.means[k], total).logpdf(row)
                gain = np.linalg.solve(total, v).T
                values[i, k] = gain @ (row - mixture.means[k])
                left[i, k] = gain @ noise  # V - V inv(T) V = V inv(T) S
        joint += np.log(mixture.weights)
        self.log_density = np.logaddexp.reduce(joint, axis=1)
        self.resp = np.exp(joint - self.log_density[:, None])
        r = block.weights[:, None] * self.resp
        self.n_k = r.sum(axis=0)
        self.first = np.einsum("nk,nkd->kd", r, values)
        second = np.einsum("nk,nki,nkj->kij", r, values, values)
        second += np.einsum("nk,nkij->kij", r, left)
        self.second = REDUCED[mixture.kind](second)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("is_correlated", [False, True], ids=["variances", "covariances"])
def test_the_e_step_is_that_of_the_dense_reference(kind, is_correlated):
    mixture, block = mixture_of(kind), noisy_block(is_correlated=is_correlated)
    expected = Dense(block, mixture)
    found, densities = Pass(mixture).with_log_densities(block)
    np.testing.assert_allclose(densities, expected.log_density, **CLOSE)
    np.testing.assert_allclose(
        found.log_likelihood, block.weight @ expected.log_density, rtol=1e-11
    )
    for name in ("n_k", "first", "second"):
        np.testing.assert_allclose(found[name], getattr(expected, name), **CLOSE)
    assert (found.n_rows, found.weight) == (N, pytest.approx(block.weight.sum()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_said_of_rows_is_of_measured_rows(kind):
    mixture, block = mixture_of(kind), noisy_block()
    expected, of = Dense(block, mixture), (block.x, mixture)
    noise = block.measurement_noise
    np.testing.assert_allclose(log_density(*of, noise), expected.log_density, **CLOSE)
    np.testing.assert_allclose(probabilities(*of, noise), expected.resp, **CLOSE)
    np.testing.assert_array_equal(labels(*of, noise), expected.resp.argmax(axis=1))
    np.testing.assert_array_equal(most_probable(*of, 1, noise)[0][:, 0], labels(*of, noise))
    sums = density_sums(block, mixture)
    assert sums.log_likelihood == pytest.approx(block.weight @ expected.log_density, rel=1e-11)
    decided = np.log(expected.resp.max(axis=1))
    assert sums.log_decided == pytest.approx(block.weight @ decided, rel=1e-9)


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_noise_is_the_plain_model(kind):
    mixture, block = mixture_of(kind), noisy_block()
    plain, none = (
        replace(block, measurement_noise=noise) for noise in (None, np.zeros_like(block.x))
    )
    found, densities = Pass(mixture).with_log_densities(none)
    expected, plain_densities = Pass(mixture).with_log_densities(plain)
    # Covariances are conditioned as 1e2 to 1e3, and loops invert them.
    np.testing.assert_allclose(densities, plain_densities, rtol=1e-12, atol=1e-12)
    for name, array in expected.sums.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-11, atol=2e-10)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_features_that_are_nearly_sums_of_others_lose_no_digits(kind):
    """By inverses of covariances, of size 1e10, sums would be good to 1e-6."""
    mixture = mixture_of(kind, near=1e-10)
    rng = np.random.default_rng(3)
    x = np.concatenate([mixture.components.sample(rng, k, 50) for k in range(K)])
    found = Pass(mixture).of(Block(x, measurement_noise=np.zeros_like(x)))
    plain = Pass(mixture).of(Block(x))
    for name, array in plain.sums.items():  # responsibilities have the digits of the pivots
        np.testing.assert_allclose(found[name], array, rtol=1e-7, atol=1e-9)
    own = np.zeros(D)
    own[[0, -1]] = 1.0, -1.0  # 150 rows of variance 1e-10, and rounding of sums of order 1e3
    both = (np.reshape(one["second"], (-1, D, D)) @ own @ own for one in (found, plain))
    np.testing.assert_allclose(*both, atol=1e-11)


@pytest.mark.parametrize("kind", FAMILIES)
def test_covariances_without_correlations_are_variances(kind):
    mixture, block = mixture_of(kind), noisy_block(has_gaps=True)
    block.x[::3, 1] = np.nan
    other = replace(block, measurement_noise=matrices(block.measurement_noise))
    (found, densities), (expected, others) = (
        Pass(mixture).with_log_densities(one) for one in (other, block)
    )
    np.testing.assert_allclose(densities, others, rtol=1e-11)
    for name, array in expected.sums.items():
        np.testing.assert_allclose(found[name], array, **CLOSE)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_missing_value_is_one_of_infinite_noise(kind):
    mixture, block = mixture_of(kind), noisy_block()
    rng = np.random.default_rng(4)
    gaps = rng.random((N, D)) < 0.3
    gaps[:, 0] &= ~gaps.all(axis=1)
    x = np.where(gaps, np.nan, block.x)
    with_gaps = replace(block, x=x, has_gaps=True, measurement_noise=np.zeros_like(x))
    found, densities = Pass(mixture).with_log_densities(with_gaps)
    missing = replace(with_gaps, measurement_noise=None)
    expected, of_observed = Pass(mixture).with_log_densities(missing)
    np.testing.assert_allclose(densities, of_observed, rtol=1e-12, atol=1e-12)
    # Noise far beyond all widths tells as little, and its own density stands apart.
    huge = replace(block, measurement_noise=np.where(gaps, 1e30, 0.0))
    far, far_densities = Pass(mixture).with_log_densities(huge)
    apart = 0.5 * np.log(2 * np.pi * 1e30) * gaps.sum(axis=1)
    np.testing.assert_allclose(far_densities + apart, of_observed, rtol=1e-12, atol=1e-11)
    for name, array in expected.sums.items():
        np.testing.assert_allclose(found[name], array, **CLOSE)
        np.testing.assert_allclose(far[name], array, **CLOSE)


@pytest.mark.parametrize("kind", FAMILIES)
def test_statistics_of_parts_add_up(kind):
    mixture, block = mixture_of(kind), noisy_block(5000)  # more rows than are worked on at once
    one = Pass(mixture)
    whole, parts = one.of(block), one.of(block[:1777]) + one.of(block[1777:])
    for name, array in whole.sums.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-11, atol=1e-8)
    twice = one.of(Block.joined([block, block]))
    weighted = one.of(replace(block, weight=2.0 * block.weight))
    np.testing.assert_allclose(twice["second"], weighted["second"], rtol=1e-11, atol=1e-8)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_known_component_has_its_rows_whole(kind):
    mixture = mixture_of(kind)
    known = np.random.default_rng(5).integers(K, size=N)
    block = noisy_block(known=known)
    found = Pass(mixture).of(block)
    for k in range(K):
        rows = replace(block, known=None).take(known == k)
        alone = Pass(Mixture(np.ones(1), mixture.components.take([k]))).of(rows)
        np.testing.assert_allclose(found["n_k"][k], rows.total_weight)
        np.testing.assert_allclose(found["first"][k], alone["first"][0], **CLOSE)


def test_the_log_likelihood_has_the_gradient_of_the_statistics():
    """``d l / d mu_k = inv(V_k) sum r b``: Fisher's identity, by differences."""
    mixture, block = mixture_of("full"), noisy_block()
    found = Pass(mixture).of(block)
    expected = np.linalg.solve(mixture.covariances, found["first"][:, :, None])[:, :, 0]
    for k, j in ((0, 1), (2, 3)):
        heights = []
        for step in (1e-5, -1e-5):
            means = mixture.means.copy()
            means[k, j] += step
            moved = gaussian_mixture(mixture.weights, means, mixture.covariances, "full")
            heights.append(Pass(moved).of(block).log_likelihood)
        assert (heights[0] - heights[1]) / 2e-5 == pytest.approx(expected[k, j], rel=1e-5)


def test_the_published_example_ends_where_it_should():
    """The doctest of Bovy, Hogg and Roweis' code: each row has one of two features, by turns.

    Its start is no covariance but for the upper triangles; the result is that of its tolerance.
    """
    values = 1.0 + np.random.RandomState(1).normal(size=200)
    x = np.full((200, 2), np.nan)
    x[np.arange(200), np.arange(200) % 2] = values
    block = Block(x, has_gaps=True, measurement_noise=np.full_like(x, 0.01))
    mixture = gaussian_mixture(
        [0.5, 0.5],
        [[0.86447943, 0.322681], [0.67078879, 0.45087394]],
        [
            [[0.03821028, 0.04108113], [0.04108113, 0.03173839]],
            [[0.06219194, 0.04302473], [0.04302473, 0.06778009]],
        ],
        "full",
    )
    before, gain = -np.inf, np.inf
    while gain >= 1e-6:
        found = Pass(mixture).of(block)
        mixture = Ridge(0.0).m_step(found)
        before, gain = found.log_likelihood_per_row, found.log_likelihood_per_row - before
    assert before == pytest.approx(-1.3114744655258121, abs=1e-4)  # as its own test has it
    expected = [[2.30368235, 1.70701517], [1.08009397, 0.8888667]]
    np.testing.assert_allclose(mixture.means, expected, atol=1e-6)
    np.testing.assert_allclose(mixture.weights, [0.11968415, 0.88031585], atol=1e-6)
    assert mixture.covariances[0, 0, 0] == pytest.approx(0.445645987259, abs=1e-6)
