"""Identities that hold for every covariance family in the table.

A family added to FAMILIES is tested here without a line more, but for a row in
N_PARAMETERS and in naive.REDUCED, without which the tests fail by name.
"""

from __future__ import annotations

import numpy as np
import pytest
from made_data import BAD_SCALES, made_mixture, rescaled, rows_of
from naive import REDUCED
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import FAMILIES, Mixture, family_named, log_density, m_step, weighted_statistics

SHAPES = [(1, 1), (1, 3), (3, 1), (4, 3), (2, 8)]

N_PARAMETERS = {
    "full": lambda k, d: k - 1 + k * d + k * d * (d + 1) // 2,
    "tied": lambda k, d: k - 1 + k * d + d * (d + 1) // 2,
    "diag": lambda k, d: k - 1 + k * d + k * d,
    "spherical": lambda k, d: k - 1 + k * d + k,
}


def test_oracles_cover_the_table():
    assert set(N_PARAMETERS) == set(REDUCED) == set(FAMILIES)
    assert all(family_named(name).name == name for name in FAMILIES)


@pytest.mark.parametrize("name", ["Full", "", None, 3, ["full"]])
def test_unknown_family_lists_the_known(name):
    with pytest.raises(ParameterError, match=r"full, tied, diag, spherical"):
        family_named(name)


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_number_of_parameters(family, k, d):
    assert made_mixture(family, k, d).n_parameters == N_PARAMETERS[family](k, d)


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_log_density_is_scipys(family, k, d):
    mixture = made_mixture(family, k, d, seed=k + d)
    x = np.concatenate([rows_of(mixture, 300), 20 * rows_of(mixture, 20, seed=1)])
    dense = mixture.family.dense(mixture.covariances, k, d)
    each = [multivariate_normal(m, c).logpdf(x) for m, c in zip(mixture.means, dense, strict=True)]
    expected = logsumexp(np.stack(each, axis=1), axis=1, b=mixture.weights)
    # eps * condition (below 1e3) * squared distance, relative to which is the density's size.
    np.testing.assert_allclose(log_density(x, mixture), expected, rtol=1e-11, atol=1e-11)


def test_log_density_of_other_units_is_the_jacobians(family):
    if not FAMILIES[family].scale_equivariant:
        scales = np.full(4, 1e-6)
        mixture = made_mixture(family, 3, 4)
        other = Mixture(mixture.weights, mixture.means * 1e-6, mixture.covariances * 1e-12, family)
    else:
        scales = BAD_SCALES
        mixture = made_mixture(family, 3, 4)
        other = rescaled(mixture, scales)
    x = rows_of(mixture, 300)
    # Rounding of scaled data and parameters: some eps of a squared distance of order 10.
    np.testing.assert_allclose(
        log_density(x * scales, other),
        log_density(x, mixture) - np.log(scales).sum(),
        rtol=1e-11,
        atol=1e-11,
    )


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_shapes_and_symmetry(family, k, d):
    mixture = made_mixture(family, k, d)
    table = mixture.family
    dense = table.dense(mixture.covariances, k, d)
    factors = table.factor(mixture.covariances)
    assert mixture.covariances.shape == table.shape(k, d) == factors.shape
    assert table.precisions(factors).shape == table.shape(k, d)
    assert dense.shape == (k, d, d)
    np.testing.assert_array_equal(dense, np.swapaxes(dense, 1, 2))


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_log_det_is_half_of_minus_slogdet(family, k, d):
    mixture = made_mixture(family, k, d)
    table = mixture.family
    sign, expected = np.linalg.slogdet(table.dense(mixture.covariances, k, d))
    assert (sign == 1).all()
    # Both lose D eps per pivot.
    np.testing.assert_allclose(
        table.log_det(table.factor(mixture.covariances), k, d),
        -0.5 * expected,
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_precisions_are_inverses_and_invert_inverts(family, k, d):
    mixture = made_mixture(family, k, d)
    table = mixture.family
    precisions = table.precisions(table.factor(mixture.covariances))
    product = table.dense(precisions, k, d) @ table.dense(mixture.covariances, k, d)
    # eps * condition, which made_mixture keeps below 1e3.
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(d), (k, d, d)), atol=1e-11)
    np.testing.assert_allclose(
        table.invert(precisions), mixture.covariances, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("name", ["full", "tied", "diag"])
def test_precisions_of_columns_in_bad_units(name):
    mixture = rescaled(made_mixture(name, 3, 4), BAD_SCALES)
    table = mixture.family
    units = {"diag": BAD_SCALES**2}.get(name, np.multiply.outer(BAD_SCALES, BAD_SCALES))
    plain = made_mixture(name, 3, 4)
    expected = table.precisions(table.factor(plain.covariances)) / units
    got = table.precisions(table.factor(mixture.covariances))
    # In units of each entry: the covariance's condition is 1e24, its correlation's below 1e3.
    np.testing.assert_allclose(got * units, expected * units, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(
        table.invert(got) / units, mixture.covariances / units, rtol=1e-10, atol=1e-11
    )


def test_singular_component_is_named(family):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    x[20:40] = [1.0, 2.0]  # component 1 is one point
    if FAMILIES[family].shape(2, 3) == FAMILIES[family].shape(5, 3):  # one for all of them
        x[:] = np.repeat(x[[0, 20, 40]], 20, axis=0)
        expected, whose = -1, "the covariance collapsed"
    else:
        expected, whose = 1, "component 1"
    resp = np.repeat(np.eye(3), 20, axis=0)
    centres = x[[0, 20, 40]]
    mixture = m_step(weighted_statistics(x, resp, centres, family))
    with pytest.raises(SingularComponentError, match=whose) as caught:
        mixture.family.factor(mixture.covariances)
    assert caught.value.component == expected
    with pytest.raises(SingularComponentError):
        log_density(x, mixture)


@pytest.mark.parametrize("name", ["full", "tied"])
@pytest.mark.parametrize("scales", [np.ones(4), BAD_SCALES], ids=["one unit", "bad units"])
def test_linearly_dependent_features_are_singular_in_any_unit(name, scales):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    x[:, 3] = x[:, 0] + x[:, 1] - x[:, 2]
    x *= scales
    mixture = m_step(weighted_statistics(x, np.full((200, 2), 0.5), x[:2], name))
    with pytest.raises(SingularComponentError, match="raise reg_covar"):
        mixture.family.factor(mixture.covariances)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["diag", "spherical"])
def test_variance_that_is_not_positive_is_singular(name, bad):
    covariances = np.ones(FAMILIES[name].shape(3, 2))
    covariances[2] = bad
    with pytest.raises(SingularComponentError, match="component 2") as caught:
        FAMILIES[name].factor(covariances)
    assert caught.value.component == 2


def test_sampled_deviations_have_the_covariance(family):
    k, d, n = 2, 3, 40_000
    mixture = made_mixture(family, k, d)
    dense = mixture.family.dense(mixture.covariances, k, d)
    rng = np.random.default_rng(0)
    for j in range(k):
        drawn = mixture.family.sample(rng, mixture.covariances, j, (n, d))
        sd = np.sqrt(np.diagonal(dense[j]))
        # Five standard errors: of a mean sd/sqrt(n), of a covariance at most sqrt(2/n) sd sd.
        assert (np.abs(drawn.mean(axis=0)) < 5 * sd / np.sqrt(n)).all()
        error = np.abs(np.cov(drawn.T, bias=True) - dense[j])
        assert (error < 5 * np.sqrt(2 / n) * np.multiply.outer(sd, sd)).all()


def test_shrink_moves_from_itself_to_the_weighted_mean(family):
    k, d = 3, 2
    mixture = made_mixture(family, k, d)
    table, covariances, weights = mixture.family, mixture.covariances, mixture.weights
    np.testing.assert_array_equal(table.shrink(covariances, weights, np.zeros(k)), covariances)
    dense = table.dense(covariances, k, d)
    mean = np.tensordot(weights, dense, 1)
    shrunk = table.dense(table.shrink(covariances, weights, np.array([1.0, 0.5, 0.0])), k, d)
    expected = np.stack([mean, 0.5 * (mean + dense[1]), dense[2]])
    np.testing.assert_allclose(shrunk, expected, rtol=1e-13, atol=1e-13)  # a few roundings


def test_factor_is_upper_triangular_as_scikit_learns():
    for name in ("full", "tied"):
        mixture = made_mixture(name, 2, 4)
        factors = np.atleast_3d(mixture.family.factor(mixture.covariances)).reshape(-1, 4, 4)
        for factor in factors:
            np.testing.assert_array_equal(factor, np.triu(factor))
            assert (np.diagonal(factor) > 0).all()
