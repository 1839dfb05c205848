"""Every kind of components in the table keeps the laws; and what is particular to Gaussians.

A kind added to COMPONENTS is tested here without a line more, but for a row in naive.REDUCED,
without which the tests fail by name.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_data import BAD_SCALES, made_mixture, rescaled, rows_of
from naive import REDUCED

from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Ridge,
    components_named,
    e_step,
    gaussian_mixture,
    log_density,
    weighted_statistics,
)
from daskgmm.testing.components import (
    ConjugatePriorTests,
    CovariancesTests,
    TangentTests,
    ways_to_move,
)

SHAPES = [(1, 1), (1, 3), (3, 1), (4, 3), (2, 8)]


@pytest.mark.parametrize("size", [(2, 2), (3, 4)], ids=["2 x 2", "3 x 4"])
class TestKinds(CovariancesTests, TangentTests, ConjugatePriorTests):
    @pytest.fixture
    def components(self, family, size):
        return made_mixture(family, *size, separation=1.5).components


def test_oracles_cover_the_table():
    assert set(REDUCED) == set(COMPONENTS)
    assert all(components_named(name).kind == name for name in COMPONENTS)


@pytest.mark.parametrize("name", ["Full", "", None, 3, ["full"]])
def test_unknown_kind_lists_the_known(name):
    with pytest.raises(ParameterError, match=r"full, tied, diag, spherical"):
        components_named(name)


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_number_of_parameters(family, k, d):
    mixture = made_mixture(family, k, d)
    assert mixture.n_parameters == ways_to_move(mixture)


def test_log_density_of_other_units_is_the_jacobians(family):
    mixture = made_mixture(family, 3, 4)
    if COMPONENTS[family].is_scale_equivariant():
        scales, other = BAD_SCALES, rescaled(mixture, BAD_SCALES)
    else:
        scales = np.full(4, 1e-6)
        other = gaussian_mixture(
            mixture.weights, mixture.means * 1e-6, mixture.covariances * 1e-12, family
        )
    x = rows_of(mixture, 300)
    # Rounding of scaled data and parameters: some eps of a squared distance of order 10.
    np.testing.assert_allclose(
        log_density(x * scales, other),
        log_density(x, mixture) - np.log(scales).sum(),
        rtol=1e-11,
        atol=1e-11,
    )


def test_gaussians_of_scaled_features_are_scaled_back(family):
    law, mixture = COMPONENTS[family], made_mixture(family, 3, 4)
    scaled = mixture.components.scaled(BAD_SCALES)
    assert type(scaled) is law.scaled_family()
    assert law.is_scale_equivariant() == (law.scaled_family() is law)
    by = np.multiply.outer(BAD_SCALES, BAD_SCALES)
    np.testing.assert_allclose(scaled.dense(), mixture.components.dense() * by, rtol=1e-12)
    back = law.of_scaled(scaled.scaled(1.0 / BAD_SCALES))
    assert type(back) is law
    np.testing.assert_allclose(back.covariances, mixture.components.covariances, rtol=1e-12)


def test_a_ridge_alone_makes_the_variances_of_a_component_of_equal_rows(family):
    ridge = np.array([0.5, 1.0, 4.0])
    block, resp, centres = Block(np.ones((40, 3))), np.full((40, 2), 0.5), np.ones((2, 3))
    mixture = Ridge(ridge).m_step(weighted_statistics(block, resp, centres, family))
    found = COMPONENTS[family].variances_of_ridge(ridge, 3)
    np.testing.assert_allclose(mixture.components.variances(), [found] * 2, rtol=1e-12)


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_shapes_and_symmetry(family, k, d):
    components = made_mixture(family, k, d).components
    dense = components.dense()
    shape = components.covariance_shape(k, d)
    assert components.covariances.shape == shape == components.factors.shape
    assert components.precisions.shape == shape
    assert dense.shape == (k, d, d)
    np.testing.assert_array_equal(dense, np.swapaxes(dense, 1, 2))


@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_precisions_are_inverses_and_inverted_inverts(family, k, d):
    components = made_mixture(family, k, d).components
    precisions = type(components)(components.means, components.precisions)
    product = precisions.dense() @ components.dense()
    # eps * condition, which made_mixture keeps below 1e3.
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(d), (k, d, d)), atol=1e-11)
    np.testing.assert_allclose(
        components.inverted(components.precisions), components.covariances, rtol=1e-10, atol=1e-12
    )
    diagonals = np.diagonal(precisions.dense(), axis1=1, axis2=2)
    ridge = np.arange(1.0, d + 1.0)
    np.testing.assert_allclose(components.penalised(ridge), diagonals @ ridge, rtol=1e-12)
    np.testing.assert_allclose(components.penalised(2.0), 2.0 * diagonals.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["full", "tied", "diag"])
def test_precisions_of_columns_in_bad_units(name):
    plain = made_mixture(name, 3, 4)
    components = rescaled(plain, BAD_SCALES).components
    units = {"diag": BAD_SCALES**2}.get(name, np.multiply.outer(BAD_SCALES, BAD_SCALES))
    expected = plain.components.precisions / units
    got = components.precisions
    # In units of each entry: the covariance's condition is 1e24, its correlation's below 1e3.
    np.testing.assert_allclose(got * units, expected * units, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(
        components.inverted(got) / units, components.covariances / units, rtol=1e-10, atol=1e-11
    )


def test_singular_component_is_named(family):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    x[20:40] = [1.0, 2.0]  # component 1 is one point
    law = COMPONENTS[family]
    if law.covariance_shape(2, 3) == law.covariance_shape(5, 3):  # one for all of them
        x[:] = np.repeat(x[[0, 20, 40]], 20, axis=0)
        expected, whose = -1, "the covariance collapsed"
    else:
        expected, whose = 1, "component 1"
    resp = np.repeat(np.eye(3), 20, axis=0)
    mixture = Ridge().m_step(weighted_statistics(Block(x), resp, x[[0, 20, 40]], family))
    with pytest.raises(SingularComponentError, match=whose) as caught:
        mixture.check()
    assert caught.value.component == expected
    with pytest.raises(SingularComponentError):
        log_density(x, mixture)


def test_a_components_rows_are_felt_by_others_where_covariances_are_coupled(family):
    mixture = made_mixture(family, 3, 3)
    statistics = e_step(Block(rows_of(mixture, 500)), mixture)
    more = {name: array.copy() for name, array in statistics.sums.items()}
    resp = np.repeat([[1.0], [0.0], [0.0]], 50, axis=1)
    x_t = np.ascontiguousarray(rows_of(mixture, 50, seed=3).T)
    COMPONENTS[family].add_complete(more, statistics.centres, x_t, resp)
    others = [
        Ridge().m_step(dataclasses.replace(statistics, sums=sums)).components.dense()[1:]
        for sums in (statistics.sums, more)
    ]
    assert np.array_equal(*others) != COMPONENTS[family].couples_covariances


def test_as_many_rows_as_a_kind_says_make_a_component_regular(family):
    law, x = COMPONENTS[family], np.random.default_rng(0).standard_normal((110, 3))

    def least_variance(n: int) -> float:
        resp = np.repeat(np.eye(2), [n, len(x) - n], axis=0)
        centres = [x[:n].mean(axis=0), x[n:].mean(axis=0)]
        mixture = Ridge().m_step(weighted_statistics(Block(x), resp, np.array(centres), family))
        return float(np.linalg.eigvalsh(mixture.components.dense()[0])[0])

    n = law.fewest_rows(3)
    assert least_variance(n) > 1e-4
    if not law.couples_covariances:
        assert least_variance(n - 1) < 1e-12


@pytest.mark.parametrize("name", ["full", "tied"])
@pytest.mark.parametrize("scales", [np.ones(4), BAD_SCALES], ids=["one unit", "bad units"])
def test_linearly_dependent_features_are_singular_in_any_unit(name, scales):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    x[:, 3] = x[:, 0] + x[:, 1] - x[:, 2]
    x *= scales
    resp = np.full((200, 2), 0.5)
    mixture = Ridge().m_step(weighted_statistics(Block(x), resp, x[:2], name))
    with pytest.raises(SingularComponentError, match="raise reg_covar"):
        mixture.check()


@pytest.mark.parametrize("bad", [0.0, -1.0])
@pytest.mark.parametrize("name", ["diag", "spherical"])
def test_variance_that_is_not_positive_is_singular(name, bad):
    covariances = np.ones(COMPONENTS[name].covariance_shape(3, 2))
    covariances[2] = bad
    with pytest.raises(SingularComponentError, match="component 2") as caught:
        COMPONENTS[name](np.zeros((3, 2)), covariances).check()
    assert caught.value.component == 2


def test_factor_is_upper_triangular_as_scikit_learns():
    for name in ("full", "tied"):
        for factor in made_mixture(name, 2, 4).components.factors.reshape(-1, 4, 4):
            np.testing.assert_array_equal(factor, np.triu(factor))
            assert (np.diagonal(factor) > 0).all()
