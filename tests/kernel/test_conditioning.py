"""Marginals, conditionals and regressions of mixtures.

Asserted: that densities multiply, ``p(x) = p(x_o) p(x_m | x_o)``, for every kind; against gmr,
which knows of nothing here; that nothing depends on units.
"""

from __future__ import annotations

import numpy as np
import pytest
from gmr import GMM
from made_data import BAD_SCALES, made_mixture, rescaled, rows_of
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    conditional_mixture,
    conditional_moments,
    gaussian_mixture,
    log_density,
    marginal_mixture,
    regression_of,
)

OBSERVED = np.array([2, 0])
MISSING = np.array([1, 3])


@pytest.fixture
def mixture(family):
    return made_mixture(family, 3, 4, separation=1.5)


@pytest.fixture
def x(mixture):
    return rows_of(mixture, 40)


def theirs(mixture) -> GMM:
    dense = np.array(mixture.components.dense())
    return GMM(mixture.n_components, np.array(mixture.weights), np.array(mixture.means), dense)


def test_kinds_stay_what_they_are(mixture, x):
    given = marginal_mixture(mixture, OBSERVED)
    rest = conditional_mixture(mixture, OBSERVED, x[0, OBSERVED])
    assert given.kind == rest.kind == mixture.kind


def test_densities_multiply(mixture, x):
    # rtol: log densities of condition below 1e3 in float64
    given = log_density(x[:, OBSERVED], marginal_mixture(mixture, OBSERVED))
    for row, of_given, of_all in zip(x, given, log_density(x, mixture), strict=True):
        rest = conditional_mixture(mixture, OBSERVED, row[OBSERVED])
        of_rest = log_density(row[None, MISSING], rest)[0]
        np.testing.assert_allclose(of_given + of_rest, of_all, rtol=1e-11)


def test_mixtures_given_values_are_gmrs(mixture, x):
    for row in x[:5]:
        ours = conditional_mixture(mixture, OBSERVED, row[OBSERVED])
        expected = theirs(mixture).condition(OBSERVED, row[OBSERVED])
        np.testing.assert_allclose(ours.weights, expected.priors, rtol=1e-10)
        np.testing.assert_allclose(ours.means, expected.means, rtol=1e-10)
        np.testing.assert_allclose(
            ours.components.dense(), expected.covariances, rtol=1e-10, atol=1e-12
        )


def moments_of(mixture, x):
    regression = regression_of(mixture.components, OBSERVED, MISSING)
    return conditional_moments(x[:, OBSERVED], marginal_mixture(mixture, OBSERVED), regression)


def test_regressions_are_gmrs(mixture, x):
    expected = theirs(mixture).predict(OBSERVED, x[:, OBSERVED])
    np.testing.assert_allclose(moments_of(mixture, x)[0], expected, rtol=1e-10, atol=1e-12)


def test_variances_are_those_of_the_mixture_given_the_row(mixture, x):
    _, variances = moments_of(mixture, x)
    for row, found in zip(x, variances, strict=True):
        rest = conditional_mixture(mixture, OBSERVED, row[OBSERVED])
        second = rest.weights @ (rest.components.variances() + rest.means**2)
        # atol: the second moment is of about 10, and the square of the mean is taken off
        np.testing.assert_allclose(found, second - (rest.weights @ rest.means) ** 2, atol=1e-12)


def test_the_order_of_what_is_predicted_is_the_one_asked_for(mixture, x):
    given = marginal_mixture(mixture, OBSERVED)
    turned = regression_of(mixture.components, OBSERVED, MISSING[::-1])
    for one, other in zip(
        moments_of(mixture, x), conditional_moments(x[:, OBSERVED], given, turned), strict=True
    ):
        np.testing.assert_allclose(one, other[:, ::-1], rtol=1e-12)


def test_one_component_by_hand():
    covariance = np.array([[4.0, 1.2], [1.2, 1.0]])
    mixture = gaussian_mixture([1.0], [[1.0, 2.0]], covariance[None], "full")
    rest = conditional_mixture(mixture, np.array([0]), np.array([3.0]))
    # 2 + 1.2 / 4 (3 - 1), and 1 - 1.2^2 / 4
    np.testing.assert_allclose([rest.means[0, 0], rest.covariances[0, 0, 0]], [2.6, 0.64])


def test_a_marginal_is_the_integral(mixture):
    """Over the second feature of two, by the trapezoid rule, which is exact to rounding here."""
    two = marginal_mixture(mixture, np.array([1, 3]))
    grid = np.linspace(-40.0, 40.0, 4001)
    x = np.column_stack([np.full_like(grid, 0.5), grid])
    summed = trapezoid(np.exp(log_density(x, two)), grid)
    one = log_density(np.array([[0.5]]), marginal_mixture(mixture, np.array([1])))
    np.testing.assert_allclose(np.log(summed), one[0], rtol=1e-10)


@pytest.mark.parametrize("family", ["full", "tied", "diag"])
def test_units_do_not_matter(family):
    mixture = made_mixture(family, 3, 4, separation=1.5)
    x, scaled = rows_of(mixture, 10), rescaled(mixture, BAD_SCALES)
    for one, other, power in zip(
        moments_of(mixture, x), moments_of(scaled, x * BAD_SCALES), (1, 2), strict=True
    ):
        np.testing.assert_allclose(one * BAD_SCALES[MISSING] ** power, other, rtol=1e-9)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_what_is_left_is_positive_where_features_nearly_depend_on_each_other(family):
    """The difference of covariances would be of rounding alone: 1e-14 beside 1."""
    direction = np.array([1.0, 1.0, 1.0])
    one = np.outer(direction, direction) + np.diag([1e-13, 1e-13, 2e-13])
    covariances = one if family == "tied" else one[None]
    mixture = gaussian_mixture([1.0], np.zeros((1, 3)), covariances, family)
    rest = conditional_mixture(mixture, np.array([0, 1]), np.array([0.0, 0.0]))
    left = rest.components.variances()[0, 0]
    # of x_0 and x_1 the common part is known up to 5e-14; entries are rounded at 2e-16
    assert 2.4e-13 < left < 2.6e-13


def test_values_where_there_is_no_density_are_refused(mixture):
    for value in (np.nan, np.inf, 1e300):
        with pytest.raises(ParameterError, match="no component has a density at"):
            conditional_mixture(mixture, OBSERVED, np.array([0.0, value]))


def test_far_values_choose_the_component_that_is_nearest():
    mixture = gaussian_mixture([0.5, 0.5], [[0.0, 0.0], [9.0, 5.0]], [1.0, 1.0], "spherical")
    rest = conditional_mixture(mixture, np.array([0]), np.array([1e6]))
    np.testing.assert_array_equal(rest.weights, [0.0, 1.0])
    one = multivariate_normal(5.0, 1.0)
    np.testing.assert_allclose(log_density(np.array([[4.0]]), rest), one.logpdf(4.0))
