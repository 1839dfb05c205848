"""t components keep the laws of all kinds, and what is particular to them.

Asserted: SciPy's densities, moments of draws, and at large degrees of freedom those of Gaussians;
R's ``MASS::cov.trob``; a maximum of the likelihood that a general optimiser finds; the M-step's
root. Not asserted: how many steps it takes.
"""

import pickle

import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES, made_mixture
from scipy.optimize import minimize
from scipy.special import digamma
from scipy.stats import multivariate_t
from with_loops import needs_loops

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Mixture,
    Ridge,
    Students,
    Uniform,
    components_named,
    count_parameters,
    e_step,
    family_of,
    kind_of,
    log_density,
    loops,
    students_of,
)
from daskgmm.kernel.components.students import (
    LEAST_DEGREES,
    MOST_DEGREES,
    degrees_of,
    tail_of,
)
from daskgmm.kernel.formulations import CANDIDATES
from daskgmm.kernel.formulations.compiled_tailed import (
    CompiledTailedNatural,
    CompiledTailedWhitened,
)
from daskgmm.kernel.formulations.direct import Direct
from daskgmm.testing.components import ComponentsTests

FAITHFUL = np.loadtxt("tests/data/faithful.txt")

KINDS = [("full", "shared"), ("full", "each"), ("tied", 4.0), ("diag", "each"), ("spherical", 7.5)]


def students(family, degrees, k=3, d=2, nu=None):
    """t components, of 5, 6, 7 ... degrees of freedom where each has its own."""
    gaussians = made_mixture(family, k, d, separation=1.5).components
    if nu is None:
        nu = degrees if not isinstance(degrees, str) else 5.0 + np.arange(k) * (degrees == "each")
    law = students_of(COMPONENTS[family], degrees)
    return law(gaussians.means, gaussians.covariances, np.broadcast_to(nu, (k,)))


@pytest.mark.parametrize(("family", "degrees"), KINDS, ids=str)
class TestStudents(ComponentsTests):
    @pytest.fixture
    def components(self, family, degrees):
        return students(family, degrees)

    def test_densities_are_scipys(self, components, x):
        each = zip(
            components.locations, components.dense(), components.degrees_of_freedom, strict=True
        )
        expected = np.stack([multivariate_t(m, c, df=nu).logpdf(x) for m, c, nu in each])
        got = components.log_densities(np.ascontiguousarray(x.T))
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)

    def test_sampled_rows_have_mean_and_covariance(self, components):
        rng, n = np.random.default_rng(0), 40_000
        for k, dense in enumerate(components.dense()):
            drawn, nu = components.sample(rng, k, n), components.degrees_of_freedom[k]
            covariance = dense * nu / (nu - 2)
            deviation = np.sqrt(np.diagonal(covariance))
            away = np.abs(drawn.mean(axis=0) - components.locations[k])
            assert (away < 5 * deviation / np.sqrt(n)).all()
            # Fourth moments of four degrees of freedom are infinite: a median instead.
            white = np.linalg.solve(np.linalg.cholesky(dense), (drawn - components.means[k]).T)
            squared = np.square(white).sum(axis=0)
            of_f = np.random.default_rng(1).f(len(dense), nu, n) * len(dense)
            assert np.median(squared) == pytest.approx(np.median(of_f), rel=0.05)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
def test_many_degrees_of_freedom_are_gaussian(family):
    gaussian = made_mixture(family, 3, 4)
    many = students(family, "each", 3, 4, nu=1e10)
    x = many.sample(np.random.default_rng(0), 0, 300)
    found = log_density(x, Mixture(gaussian.weights, many.with_gaussians(gaussian.components)))
    # The first term that is left is of order delta^2 / nu.
    np.testing.assert_allclose(found, log_density(x, gaussian), atol=1e-6)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize("degrees", ["shared", "each", 4.0])
def test_kinds_have_names(family, degrees):
    kind = kind_of(family, degrees)
    assert components_named(kind) is students_of(COMPONENTS[family], degrees)
    assert (family_of(kind), family_of(family)) == (family, family)
    more = {"shared": 1, "each": 3}.get(degrees, 0)
    assert count_parameters(kind, 3, 2) == count_parameters(family, 3, 2) + more
    back = pickle.loads(pickle.dumps(students(family, degrees)))
    assert type(back) is components_named(kind)


@pytest.mark.parametrize(
    "kind", ["full-t-", "full-t-many", "full-t-0.0", "full-t-inf", "full-t-1e0", "half-t-each"]
)
def test_other_kinds_are_unknown(kind):
    with pytest.raises(ParameterError, match="must be one of"):
        components_named(kind)


def test_degrees_of_freedom_must_be_above_0():
    with pytest.raises(ParameterError, match="above 0"):
        students("full", "each", nu=0.0)


@pytest.mark.parametrize("nu", [0.2, 1.0, 4.0, 60.0, 3e4])
def test_the_root_of_the_m_step(nu):
    assert degrees_of(tail_of(nu)) == pytest.approx(nu, rel=1e-6)


@pytest.mark.parametrize(("tail", "nu"), [(0.0, MOST_DEGREES), (-1e9, LEAST_DEGREES)])
def test_the_root_has_bounds(tail, nu):
    assert degrees_of(tail) == nu


# cov.trob(x, nu, maxit = 1000, tol = 1e-14) of MASS 7.3: of Old Faithful, and of its eruptions
# below 3 minutes.
BY_TROB = [
    (
        5.0,
        np.inf,
        [3.58541406516463, 71.88610042894641],
        [[1.19075553622294, 12.7517963935046], [12.75179639350463, 164.3801354996918]],
    ),
    (
        4.0,
        3.0,
        [1.99302448929918, 54.03325323652921],
        [[0.0433268485551426, 0.297635931197254], [0.2976359311972544, 25.648059909168886]],
    ),
]


def climbed(mixture, x, n):
    for _ in range(n):
        mixture = Ridge().m_step(e_step(Block(x), mixture))
    return mixture


@pytest.mark.parametrize(("nu", "below", "centre", "scatter"), BY_TROB)
def test_one_component_is_that_of_trob(nu, below, centre, scatter):
    x = FAITHFUL[FAITHFUL[:, 0] < below]
    start = students("full", nu, 1, 2).with_gaussians(
        COMPONENTS["full"](x.mean(axis=0)[None], np.cov(x.T)[None])
    )
    found = climbed(Mixture(np.ones(1), start), x, 200)
    np.testing.assert_allclose(found.means[0], centre, rtol=1e-9)
    np.testing.assert_allclose(found.covariances[0], scatter, rtol=1e-8)


def test_an_optimiser_finds_no_higher_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) / np.sqrt(rng.gamma(1.5, 1 / 1.5, (400, 1)))
    start = students("full", "shared", 1, 2)
    found = climbed(Mixture(np.ones(1), start), x, 400)

    def minus(v):
        lower = np.array([[np.exp(v[2]), 0.0], [v[3], np.exp(v[4])]])
        return -multivariate_t(v[:2], lower @ lower.T, df=np.exp(v[5])).logpdf(x).mean()

    best = minimize(minus, np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    assert log_density(x, found).mean() == pytest.approx(-best.fun, abs=1e-9)
    components = found.components
    assert isinstance(components, Students)
    # At an optimum, an error e of the likelihood leaves parameters wrong by its root.
    np.testing.assert_allclose(components.degrees_of_freedom, np.exp(best.x[5]), rtol=1e-3)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize(("k", "d"), [(3, 2), (40, 5)])
def test_every_formulation_gives_tails_beside_noise(family, k, d):
    components = students(family, "each", k, d, nu=1.0 + np.arange(k) / 4)
    uniform = Uniform.over(np.full(d, -9.0), np.full(d, 11.0))
    mixture = Mixture(np.full(k, 1 / k), components).with_noise(uniform, 0.2)
    rng = np.random.default_rng(0)
    x = np.vstack([components.sample(rng, j, 700 // k) for j in range(k)])
    block = Block(x, weight=rng.uniform(0.5, 2.0, len(x)))
    dtype, densities = np.dtype(np.float64), np.empty(len(x))
    expected = Direct(mixture, dtype).statistics(block)
    log_densities = Direct(mixture, dtype).log_densities(x)
    names = []
    for candidate in CANDIDATES:
        if not np.isfinite(candidate.cost(type(mixture.components), *mixture.means.shape, dtype)):
            continue
        names.append(candidate.name)
        found = candidate(mixture, dtype).statistics(block, densities)
        np.testing.assert_allclose(densities, log_densities, atol=1e-9)
        np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-11)
        np.testing.assert_allclose(found.n_noise, expected.n_noise, rtol=1e-9)
        for name, sums in expected.sums.items():
            np.testing.assert_allclose(found[name], sums, atol=1e-9 * np.abs(sums).max())
    assert "tailed" in names
    assert loops.VARIANT is None or "compiled tailed natural" in names


@needs_loops
@pytest.mark.parametrize("formulation", [CompiledTailedNatural, CompiledTailedWhitened])
@pytest.mark.parametrize("nu", [LEAST_DEGREES, 1.0, 30.0, MOST_DEGREES])
def test_the_loops_keep_the_digits_of_logarithms_and_weights(formulation, nu):
    away = np.concatenate([[0.0], np.geomspace(1e-9, 1e9, 1_501)])
    x = np.concatenate([away, -away])
    law = students_of(COMPONENTS["full"], "each")
    components = law(np.zeros((1, 1)), np.ones((1, 1, 1)), np.array([nu]))
    mixture, densities = Mixture(np.ones(1), components), np.empty(len(x))
    found = formulation(mixture, np.dtype(np.float64)).statistics(Block(x[:, None]), densities)

    squared, nu = np.square(x.astype(np.longdouble)), np.longdouble(nu)
    logs, u = np.log1p(squared / nu), (nu + 1) / (nu + squared)
    expected = components.log_peaks[0] - (nu + 1) / 2 * logs
    eps = np.finfo(np.float64).eps
    # A logarithm near 0 has the error of the number near 1 that it is of.
    lost = (nu + 1) / 2 * 2 * eps + 4 * eps * np.abs(expected)
    assert (np.abs(densities - expected) <= lost).all()
    half = float(nu + 1) / 2
    tails = np.log((nu + 1) / (nu + squared)) - u + digamma(half) - np.log(half)
    for name, of_rows in {"n_u": u, "second": u * squared, "tails": tails}.items():
        atol = 8 * eps * float(np.abs(of_rows).sum())
        np.testing.assert_allclose(found[name].ravel(), float(of_rows.sum()), rtol=0, atol=atol)
