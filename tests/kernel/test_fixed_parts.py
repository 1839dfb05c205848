"""Fixed parts: the M-step within what is free against one in plain NumPy, and coordinates of it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from made_data import FAMILIES_OF_SKLEARN, made_mixture, rows_of
from scipy.optimize import approx_fprime

from daskgmm.kernel import (
    COMPONENTS,
    NOTHING_FIXED,
    Block,
    Conjugate,
    Coordinates,
    FixedParts,
    Mixture,
    PriorTerms,
    Ridge,
    Uniform,
    count_parameters,
    e_step,
    gaussian_mixture,
    kind_of,
    log_density,
    responsibilities,
)

K, D = 3, 2
ALL = (0, 1, 2)
PARTS = (
    FixedParts(means=(1,)),
    FixedParts(means=(0, 2), weights=(2,)),
    FixedParts(weights=(0, 1)),
    FixedParts(covariances=ALL),
    FixedParts(covariances=ALL, means=ALL),
    FixedParts(weights=ALL, means=ALL),
    FixedParts(weights=ALL, covariances=ALL),
)
SOME_COVARIANCES = FixedParts(means=(0,), weights=(2,), covariances=(1,))
TERMS = PriorTerms(np.array([1.0, -2.0]), 3.0, D + 2.0, 40.0 * np.eye(D))
PRIORS = (Ridge(), Conjugate(TERMS, concentration=5.0))


def cases(family: str) -> list[FixedParts]:
    """Parts that mixtures of a family can have fixed."""
    return [*PARTS, *([] if family == "tied" else [SOME_COVARIANCES])]


EACH = [(family, parts) for family in FAMILIES_OF_SKLEARN for parts in cases(family)]


def start_and_rows(family: str) -> tuple[Mixture, np.ndarray]:
    """A mixture, and rows of another one."""
    return made_mixture(family, K, D), rows_of(made_mixture(family, K, D, seed=1), 300, seed=2)


def reference_step(x: np.ndarray, at: Mixture, parts: FixedParts) -> Mixture:
    """One step of EM by arrays of all rows and components, one component at a time."""
    resp = responsibilities(x, at)
    n_k = resp.sum(axis=0)
    free = [k for k in range(K) if k not in parts.weights]
    weights = at.weights.copy()
    weights[free] = n_k[free] / n_k[free].sum() * (1 - at.weights[list(parts.weights)].sum())
    means = np.array(
        [at.means[k] if k in parts.means else resp[:, k] @ x / n_k[k] for k in range(K)]
    )
    scatter = np.einsum("nk,nki,nkj->kij", resp, x[:, None] - means, x[:, None] - means)
    each = scatter / n_k[:, None, None]
    covariances = {
        "full": each,
        "tied": scatter.sum(axis=0) / len(x),
        "diag": np.diagonal(each, axis1=1, axis2=2).copy(),
        "spherical": np.trace(each, axis1=1, axis2=2) / D,
    }[at.kind]
    if parts.covariances:
        chosen = ... if at.kind == "tied" else list(parts.covariances)
        covariances[chosen] = at.covariances[chosen]
    return gaussian_mixture(weights, means, covariances, at.kind)


@pytest.mark.parametrize(("family", "parts"), EACH)
def test_em_is_that_of_a_dense_reference(family, parts):
    ours, x = start_and_rows(family)
    theirs, prior = ours, Ridge(fixed=parts.in_mixture(ours))
    for _ in range(10):
        ours = prior.m_step(e_step(Block(x), ours))
        theirs = reference_step(x, theirs, parts)
    for name in ("weights", "means", "covariances"):
        # Ten steps of sums of 300 terms, and of scikit-learn's 10 eps in n_k.
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("family", "parts"), EACH)
def test_the_m_step_is_where_the_gradient_is_0_along_what_is_free(family, parts, prior):
    mixture, x = start_and_rows(family)
    prior = dataclasses.replace(prior, fixed=parts.in_mixture(mixture))
    statistics = e_step(Block(x), mixture)
    there = prior.m_step(statistics)
    coordinates = Coordinates(there, prior.fixed)
    rows = prior.with_pseudo_rows(statistics, there)
    gradient = coordinates.gradient(np.zeros(coordinates.size), there, rows)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-11)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("family", "parts"), EACH)
def test_the_objective_never_falls(family, parts, prior):
    mixture, x = start_and_rows(family)
    prior = dataclasses.replace(prior, fixed=parts.in_mixture(mixture))
    seen = []
    for _ in range(20):
        statistics = e_step(Block(x), mixture)
        seen.append(prior.objective(mixture, statistics))
        mixture = prior.m_step(statistics)
    assert (np.diff(seen) >= -1e-13).all()  # sums of 300 terms of a few nats
    assert seen[-1] > seen[0]


def test_all_fixed_is_the_start_to_the_bit(family):
    start, x = start_and_rows(family)
    for prior in PRIORS:
        prior = dataclasses.replace(prior, fixed=FixedParts(ALL, ALL, ALL).in_mixture(start))
        after = prior.m_step(e_step(Block(x), start))
        for name in ("weights", "means", "covariances"):
            np.testing.assert_array_equal(getattr(after, name), getattr(start, name))


@pytest.mark.parametrize(("family", "parts"), EACH)
def test_fixed_parts_keep_their_bits_at_every_vector(family, parts):
    start, _ = start_and_rows(family)
    fixed = parts.in_mixture(start)
    coordinates = Coordinates(start, fixed)
    u = np.random.default_rng(3).standard_normal(coordinates.size) * coordinates.widths
    there = coordinates.mixture(u)
    assert fixed.holds_in(there)
    assert not FixedParts(ALL, ALL, ALL).in_mixture(start).holds_in(there)
    again = coordinates.mixture(coordinates.vector(there))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(again, name), getattr(there, name), rtol=1e-9)


@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("degrees", [None, "each"])
@pytest.mark.parametrize(("family", "parts"), EACH)
def test_gradients_are_differences_along_what_is_free(family, parts, degrees, has_noise):
    start, x = start_and_rows(family)
    start = gaussian_mixture(
        start.weights, start.means, start.covariances, kind_of(family, degrees)
    )
    if has_noise:
        start = start.with_noise(Uniform.over(x.min(axis=0), x.max(axis=0)), 0.1)
    if has_noise and len(parts.weights) == K:
        parts = dataclasses.replace(parts, weights=(0,))
    coordinates = Coordinates(start, parts.in_mixture(start))
    u = 0.1 * np.random.default_rng(4).standard_normal(coordinates.size) * coordinates.widths
    there = coordinates.mixture(u)
    u = coordinates.vector(there)

    def per_row(v: np.ndarray) -> float:
        return float(log_density(x, coordinates.mixture(v)).mean())

    got = coordinates.gradient(u, there, e_step(Block(x), there))
    np.testing.assert_allclose(got, approx_fprime(u, per_row, 1e-6), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", PARTS[:3])
def test_noise_and_the_other_weights_share_what_fixed_ones_leave(parts):
    start, x = start_and_rows("full")
    start = start.with_noise(Uniform.over(x.min(axis=0), x.max(axis=0)), 0.1)
    prior = Ridge(fixed=parts.in_mixture(start))
    statistics = e_step(Block(x), start)
    after, free = prior.m_step(statistics), Ridge().m_step(statistics)
    kept, others = list(parts.weights), [k for k in range(K) if k not in parts.weights]
    np.testing.assert_array_equal(after.weights[kept], start.weights[kept])
    assert after.weights.sum() + after.noise_weight == pytest.approx(1.0, rel=1e-14)
    shares = [np.append(m.weights[others], m.noise_weight) for m in (after, free)]
    np.testing.assert_allclose(*(share / share.sum() for share in shares), rtol=1e-12)


def test_what_is_fixed_is_counted_once(family):
    total = count_parameters(family, K, D)
    of_covariances = total - (K - 1) - K * D
    assert FixedParts(ALL, ALL, ALL).count(family, (K, D)) == total
    for n in range(K + 1):
        some = ALL[:n]
        # The last of the weights is what the others leave.
        assert FixedParts(weights=some).count(family, (K, D)) == min(n, K - 1)
        assert FixedParts(weights=some).count(family, (K, D), has_noise=True) == n
        assert FixedParts(means=some).count(family, (K, D)) == n * D
    assert FixedParts(covariances=ALL).count(family, (K, D)) == of_covariances
    if not COMPONENTS[family].couples_covariances:
        assert FixedParts(covariances=(1,)).count(family, (K, D)) == of_covariances // K


def test_nothing_fixed_changes_nothing():
    for family, number in itertools.product(FAMILIES_OF_SKLEARN, range(2)):
        mixture = made_mixture(family, K, D, seed=number)
        assert NOTHING_FIXED.put_into(mixture) is mixture
        assert FixedParts().in_mixture(mixture).is_nothing
        assert not FixedParts()
