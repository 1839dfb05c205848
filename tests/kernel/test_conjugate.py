"""The conjugate prior: densities of SciPy, closed forms, M-steps of mclust, and ascent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_data import FAMILIES_OF_SKLEARN, made_mixture, rows_of
from scipy.optimize import approx_fprime
from scipy.stats import dirichlet, invgamma, invwishart, multivariate_normal
from sklearn.datasets import load_iris

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    COMPONENTS,
    Affine,
    Block,
    Components,
    Conjugate,
    Coordinates,
    Mixture,
    RelativeConjugate,
    Ridge,
    components_named,
    e_step,
    gaussian_mixture,
    moments_and_extremes,
    weighted_statistics,
)

SCALE = np.array([[1.0, 0.2, 0.0], [0.2, 0.5, 0.1], [0.0, 0.1, 2.0]])
SPECS = [
    {},
    {"shrinkage": 3.0, "dof": 7.0, "scale": SCALE, "mean": [1.0, 0.0, -1.0], "concentration": 4.0},
    {"shrinkage": 0.0, "scale": 0.3},
    {"row": 0.01, "concentration": 2.0},
]


def _prior(x: np.ndarray, **spec: object) -> Conjugate:
    return RelativeConjugate(**spec).of(moments_and_extremes(Block(x))[0])


def _few(family: str, n: int = 60) -> tuple[Mixture, np.ndarray]:
    mixture = made_mixture(family, 3, 3, separation=1.0)
    return mixture, rows_of(mixture, n, seed=1)


def test_a_flat_prior_is_none(family):
    mixture, x = _few(family)
    flat, statistics = _prior(x, shrinkage=0, scale=0), e_step(Block(x), mixture)
    got, expected = flat.m_step(statistics), Ridge().m_step(statistics)
    assert flat.penalty(mixture, 60.0) == 0.0
    # The order of sums differs.
    np.testing.assert_allclose(got.weights, expected.weights, rtol=1e-14)
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-12)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("spec", SPECS)
def test_the_objective_never_falls(family, spec):
    mixture, x = _few(family)
    prior, seen = _prior(x, **spec), []
    for _ in range(30):
        statistics = e_step(Block(x), mixture)
        seen.append(prior.objective(mixture, statistics))
        mixture = prior.m_step(statistics)
    assert (np.diff(seen) >= -1e-13).all()  # sums of 60 terms of a few nats
    assert seen[-1] > seen[0] + 1e-3


@pytest.mark.parametrize("spec", SPECS)
def test_the_gradient_is_that_of_the_objective(family, spec):
    mixture, x = _few(family)
    prior, coordinates = _prior(x, **spec), Coordinates(mixture)

    def objective(u: np.ndarray) -> float:
        at = coordinates.mixture(u)
        return prior.objective(at, e_step(Block(x), at))

    u = 0.1 * np.random.default_rng(2).standard_normal(coordinates.size) * coordinates.widths
    at = coordinates.mixture(u)
    rows = prior.with_pseudo_rows(e_step(Block(x), at), at)
    got = coordinates.gradient(u, at, rows)
    np.testing.assert_allclose(got, approx_fprime(u, objective, 1e-6), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_the_m_step_is_where_the_gradient_is_0(family, spec):
    mixture, x = _few(family)
    prior, statistics = _prior(x, **spec), e_step(Block(x), mixture)
    there = prior.m_step(statistics)
    coordinates = Coordinates(there)
    rows = prior.with_pseudo_rows(statistics, there)
    gradient = coordinates.gradient(np.zeros(coordinates.size), there, rows)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-11)


def _log_density_by_scipy(prior: Conjugate, mixture: Mixture) -> float:
    """Of the normal and the inverse Wishart or gamma distributions, and the Dirichlet."""
    terms, d = prior.terms, mixture.n_features
    dense = mixture.components.dense()
    total = dirichlet(np.full(mixture.n_components, prior.concentration)).logpdf(mixture.weights)
    for mean, covariance in zip(mixture.means, dense, strict=True):
        total += multivariate_normal(terms.mean, covariance / terms.shrinkage).logpdf(mean)
    variances = np.diagonal(terms.scale)
    if mixture.kind == "spherical":
        own = invgamma(terms.dof / 2, scale=variances.mean() / 2)
        return total + own.logpdf(mixture.covariances).sum()
    if mixture.kind == "diag":
        own = invgamma(terms.dof / 2, scale=variances / 2)
        return total + own.logpdf(mixture.covariances).sum()
    each = dense[:1] if mixture.kind == "tied" else dense
    assert terms.dof > d - 1
    return total + sum(invwishart(terms.dof, terms.scale).logpdf(one) for one in each)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)  # whose priors are written out above
def test_the_penalty_is_the_log_density_of_scipy(family):
    mixture, x = _few(family)
    prior = _prior(x, **SPECS[1])
    other = prior.m_step(e_step(Block(x), mixture))
    got = prior.penalty(mixture, 1.0) - prior.penalty(other, 1.0)
    expected = _log_density_by_scipy(prior, other) - _log_density_by_scipy(prior, mixture)
    np.testing.assert_allclose(got, expected, rtol=1e-10)  # terms of a hundred nats cancel


def test_no_mixture_has_a_negative_penalty_and_the_mode_has_none(family):
    mixture, x = _few(family)
    prior = _prior(x, **SPECS[1])
    none = replace(e_step(Block(x[:0]), mixture), n_rows=0)
    mode = prior.m_step(none)
    np.testing.assert_allclose(mode.means, np.tile(prior.terms.mean, (3, 1)), atol=1e-12)
    np.testing.assert_allclose(mode.weights, 1 / 3, rtol=1e-12)
    np.testing.assert_allclose(prior.penalty(mode, 1.0), 0.0, atol=1e-10)
    assert prior.penalty(mixture, 1.0) > 1.0


def test_one_component_has_a_closed_form():
    x = rows_of(made_mixture("full", 1, 3), 40)
    n, d, kappa, nu = 40, 3, 2.0, 6.0
    mean, own = np.array([0.5, 0.0, 1.0]), x.mean(axis=0)
    prior = _prior(x, shrinkage=kappa, dof=nu, scale=SCALE, mean=mean)
    start = made_mixture("full", 1, 3)
    got = prior.m_step(e_step(Block(x), start))
    away = np.outer(own - mean, own - mean) * kappa * n / (kappa + n)
    scatter = SCALE + n * np.cov(x.T, bias=True) + away
    np.testing.assert_allclose(got.means[0], (n * own + kappa * mean) / (n + kappa), rtol=1e-12)
    np.testing.assert_allclose(got.covariances[0], scatter / (n + nu + d + 2), rtol=1e-11)


def test_by_itself_the_prior_follows_rows_of_any_unit(family):
    """Fits of full, tied and diag kinds are those of rows in other units; penalties are the same."""
    law = components_named(family)
    factor = np.array([1e-3, 1.0, 1e4]) if law.is_scale_equivariant() else np.full(3, 1e3)
    mixture, x = _few(family)
    affine = Affine(np.full(3, 7.0), factor)
    moved = Mixture(mixture.weights, affine.mixture_of(mixture, family).components)
    z = affine.of(x)
    here, there = _prior(x), _prior(z)
    np.testing.assert_allclose(there.penalty(moved, 60.0), here.penalty(mixture, 60.0), rtol=1e-9)
    expected = here.m_step(e_step(Block(x), mixture))
    got = affine.mixture_back(there.m_step(e_step(Block(z), moved)))
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-9, atol=1e-11)
    dense = got.components.dense()
    np.testing.assert_allclose(dense, expected.components.dense(), rtol=1e-8, atol=1e-10)


def test_rows_of_another_weight_are_as_many(family):
    mixture, x = _few(family)
    spec = SPECS[1]
    expected = _prior(x, **spec).m_step(e_step(Block(x), mixture))
    light = e_step(Block(x, weight=np.full(60, 1e-3)), mixture)
    got = _prior(x, **spec, row=1e-3).m_step(light)
    np.testing.assert_allclose(got.weights, expected.weights, rtol=1e-12)
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-11)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-10, atol=1e-13)


def test_parts_have_the_prior_of_the_whole():
    """A scale that is divided by the number of components stays that of all of them."""
    mixture, x = _few("full")
    whole = _prior(x)
    part = whole.of_parts(3)
    statistics = e_step(Block(x), mixture)
    one = replace(statistics, sums={n: a[:1] for n, a in statistics.sums.items()})
    one = replace(one, centres=statistics.centres[:1])
    expected = whole.m_step(statistics).covariances[0]
    np.testing.assert_allclose(part.m_step(one).covariances[0], expected, rtol=1e-13)
    assert np.abs(whole.m_step(one).covariances[0] - expected).max() > 0.01


# -- mclust ----------------------------------------------------------------------

# R 4.2.2, mclust 6.0.0:
#
#   x <- as.matrix(iris[, 1:4]); z <- unmap(rep(1:3, each = 50)); i <- 1:150
#   z <- z * 0.8 + 0.2 / 3; z[, 1] <- z[, 1] + 0.05 * sin(i); z <- z / rowSums(z)
#   for (m in c("VVV", "EEE", "VVI", "VII")) {
#     s <- if (m %in% c("VVV", "EEE")) diag(c(.5, .4, .6, .3)) else 0.4
#     p <- priorControl(mean = c(5, 3, 4, 1), shrinkage = 2, scale = s)
#     print(mstep(data = x, modelName = m, z = z, prior = p)$parameters) }
#   p <- priorControl(mean = 4, shrinkage = 2, scale = 0.4)
#   for (m in c("V", "E")) mstep(data = x[, 3], modelName = m, z = z, prior = p)$parameters
#
# Its degrees of freedom are D + 2, whatever is asked for. Of full covariances the second is here.
MEANS = [
    [5.16173739544, 3.34045139839, 1.99216902768, 0.45593105071],
    [5.88039055229, 2.83268221141, 4.15179725420, 1.28838305509],
    [6.38822493940, 2.99329004247, 5.15154866861, 1.82803346515],
]
COVARIANCES = {
    "full": [
        [0.3130759875662, 0.038953531651714, 0.3308176692880, 0.128194571565451],
        [0.0389535316517, 0.111220182584413, -0.0194625958956, 0.000497695582368],
        [0.3308176692880, -0.019462595895588, 0.6831610179375, 0.263671593616522],
        [0.1281945715655, 0.000497695582368, 0.2636715936165, 0.127499723138343],
    ],
    "tied": [
        [0.4104107708496, 0.0379750577016, 0.5239137777619, 0.2051319889846],
        [0.0379750577016, 0.1324848489509, -0.0854623262205, -0.0243899549251],
        [0.5239137777619, -0.0854623262205, 1.1850534741536, 0.4708653017113],
        [0.2051319889846, -0.0243899549251, 0.4708653017113, 0.2283497991934],
    ],
    "diag": [
        [0.288727679833, 0.156154914259, 1.369030274481, 0.243036369953],
        [0.327284684138, 0.116869281151, 0.714474015948, 0.135668760157],
        [0.536354842048, 0.108890203451, 1.221580067394, 0.271371798366],
    ],
    "spherical": [0.566917563208, 0.354507268419, 0.589340322460],
}
OF_ONE_FEATURE = {
    "full": [1.442536368177, 0.752705451922, 1.286950115434],
    "tied": [1.22878968203],
}


def _m_step_on_iris(family: str, columns: slice, **spec: object) -> Mixture:
    x = np.ascontiguousarray(load_iris().data[:, columns])
    resp = np.repeat(np.eye(3), 50, axis=0) * 0.8 + 0.2 / 3
    resp[:, 0] += 0.05 * np.sin(np.arange(1, 151))
    resp /= resp.sum(axis=1, keepdims=True)
    centres = np.tile(x.mean(axis=0), (3, 1))
    return _prior(x, shrinkage=2.0, **spec).m_step(
        weighted_statistics(Block(x), resp, centres, family)
    )


@pytest.mark.parametrize("family", COVARIANCES)
def test_an_m_step_is_that_of_mclust(family):
    scale = np.diag([0.5, 0.4, 0.6, 0.3]) if family in ("full", "tied") else 0.4
    got = _m_step_on_iris(family, slice(0, 4), scale=scale, mean=[5.0, 3.0, 4.0, 1.0])
    np.testing.assert_allclose(got.means, MEANS, rtol=1e-10)  # as many digits as are printed
    found = got.covariances[1] if family == "full" else got.covariances
    np.testing.assert_allclose(found, COVARIANCES[family], rtol=1e-9)


@pytest.mark.parametrize("family", OF_ONE_FEATURE)
def test_an_m_step_of_one_feature_is_that_of_mclust(family):
    got = _m_step_on_iris(family, slice(2, 3), scale=0.4, mean=4.0)
    np.testing.assert_allclose(got.covariances.ravel(), OF_ONE_FEATURE[family], rtol=1e-10)


# -- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"shrinkage": -1.0}, r"shrinkage=-1.0 must be 0 or more"),
        ({"dof": 0.0}, r"dof=0.0 must be above 0"),
        ({"concentration": 0.5}, r"concentration=0.5 must be 1 or more"),
        ({"scale": -1.0}, r"scale=-1.0 must be"),
        ({"scale": [1.0, 0.0]}, r"scale=\[1.0, 0.0\] must be"),
        ({"scale": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite"),
        ({"scale": [[1.0, 0.5], [0.0, 1.0]]}, "symmetric"),
        ({"scale": 0.0}, "set shrinkage=0 as well"),
    ],
)
def test_values_that_no_prior_has_are_refused(spec, message):
    with pytest.raises(ParameterError, match=message) as caught:
        RelativeConjugate(**spec)
    assert caught.value.parameter == "prior"


@pytest.mark.parametrize("spec", [{"mean": [0.0, 1.0]}, {"scale": np.eye(2)}, {"scale": [1.0, 2]}])
def test_other_numbers_of_features_are_refused(spec):
    prior = RelativeConjugate(**spec)
    prior.check("full", 2)
    with pytest.raises(ParameterError, match="the data have 3 features"):
        prior.check("full", 3)


def test_a_kind_without_one_is_refused(monkeypatch):
    monkeypatch.setitem(COMPONENTS, "bare", Components)
    with pytest.raises(ParameterError, match="bare components have no prior"):
        RelativeConjugate().check("bare", 2)


def test_columns_that_are_sums_of_others_keep_a_variance():
    x = np.random.default_rng(0).standard_normal((50, 2))
    x = np.column_stack([x, x.sum(axis=1)])
    centres = np.zeros((2, 3))
    start = gaussian_mixture([0.5, 0.5], [[0, 0, 0], [1, 1, 2.0]], np.ones((2, 3)), "diag")
    resp = np.random.default_rng(1).dirichlet([1.0, 1.0], size=50)
    mixture = _prior(x).m_step(weighted_statistics(Block(x), resp, centres, "full"))
    mixture.check()
    assert np.isfinite(_prior(x).objective(start, e_step(Block(x), start)))
