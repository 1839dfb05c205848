"""Formulations: every one gives the E-step that deviations-first whitening gives.

Asserted: equal statistics on every family, block length and dtype; equal log-likelihood
where all densities underflow; the choice keeps its digits. Not asserted: which is chosen
where several apply, because that is a matter of speed.
"""

from functools import cache

import numpy as np
import pytest
from made_data import covariances_of, dense_of, has_matrices
from naive import REDUCED, naive_e_step
from with_loops import needs_loops

from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Pass,
    PickedBlock,
    Statistics,
    e_step,
    gaussian_mixture,
    log_density,
    loops,
    moments_and_extremes,
)
from daskgmm.kernel.components import SharesWhitening, WhitensEach
from daskgmm.kernel.formulations import CANDIDATES, formulation_of
from daskgmm.kernel.formulations.compiled import CompiledNatural, CompiledWhitened
from daskgmm.kernel.formulations.direct import Direct

EPS = np.finfo(np.float64).eps
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def made_mixture(family, k, d, spread=3.0, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(k, d, d)) / np.sqrt(d) + np.eye(d)
    full = roots @ np.swapaxes(roots, 1, 2)
    covariances = covariances_of(family, full)
    weights = rng.dirichlet(np.full(k, 5.0))
    return gaussian_mixture(weights, spread * rng.normal(size=(k, d)), covariances, family)


def statistics_by(formulation, mixture, x, dtype=FLOAT64):
    return formulation(mixture, dtype).statistics(Block(x))


def assert_same(found, expected, n, size):
    # Rounding of a log density is ``size * eps``; a sum of n terms adds sqrt(n) such.
    tolerance = 64 * size * EPS
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=tolerance)
    np.testing.assert_allclose(found.n_k, expected.n_k, atol=n * tolerance, rtol=0)
    scale = max(np.abs(expected["second"]).max(), 1.0)
    np.testing.assert_allclose(found["first"], expected["first"], atol=scale * tolerance * n**0.5)
    np.testing.assert_allclose(found["second"], expected["second"], atol=scale * tolerance * n**0.5)


@needs_loops
def test_the_compiled_formulations_are_under_test():
    for formulation in (CompiledNatural, CompiledWhitened):
        assert applies(formulation, made_mixture("full", 2, 2))


OF_TAILS = ("compiled tailed natural", "compiled tailed whitened", "tailed")
"""Formulations of t components, which ``test_students.py`` holds against the direct one."""

DO_NOT_APPLY = {
    *((formulation, family) for formulation in OF_TAILS for family in COMPONENTS),
    *(("shared", name) for name, law in COMPONENTS.items() if not issubclass(law, SharesWhitening)),
    *(
        ("compiled whitened", name)
        for name, law in COMPONENTS.items()
        if not issubclass(law, WhitensEach)
    ),
}
PAIRS = [(c, family) for c in CANDIDATES for family in COMPONENTS]


def applies(formulation, mixture, dtype=FLOAT64):
    is_possible = dtype in formulation.dtypes and np.isfinite(
        formulation.cost(type(mixture.components), *mixture.means.shape, dtype)
    )
    return bool(is_possible and formulation.applies(mixture, dtype))


def applicable(situations, dtypes=(FLOAT64,)):
    """Parameters (formulation, mixture, dtype) of every case that a formulation takes on."""
    made = [
        (kwargs, family, made_mixture(family, **kwargs))
        for kwargs in situations
        for family in COMPONENTS
    ]
    return [
        pytest.param(c, mixture, dtype, id="-".join([c.name, family, str(dtype), *words]))
        for kwargs, family, mixture in made
        for words in [[f"{name}={value:g}" for name, value in kwargs.items()]]
        for c in CANDIDATES
        for dtype in dtypes
        if applies(c, mixture, dtype)
    ]


def sizes(*pairs):
    return [{"k": k, "d": d} for k, d in pairs]


@pytest.mark.parametrize(
    ("formulation", "family"), PAIRS, ids=lambda value: getattr(value, "name", value)
)
def test_which_formulation_is_of_which_family(formulation, family):
    """Near components of few features: what does not apply there applies nowhere."""
    for size in sizes((1, 1), (3, 2), (5, 7), (8, 20)):
        expected = (formulation.name, family) not in DO_NOT_APPLY
        if formulation in (CompiledNatural, CompiledWhitened) and loops.VARIANT is None:
            expected = False
        assert applies(formulation, made_mixture(family, **size)) == expected


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"), applicable(sizes((1, 1), (3, 2), (5, 7), (8, 20)))
)
@pytest.mark.parametrize("n", [1, 127, 128, 1500])
def test_statistics_equal_those_of_whitening(formulation, mixture, dtype, n):
    x = np.random.default_rng(1).normal(size=(n, mixture.n_features)) * 4
    # |A| of these mixtures is a few hundred: the size of a log density's terms.
    assert_same(
        statistics_by(formulation, mixture, x, dtype), statistics_by(Direct, mixture, x), n, 1e3
    )


APPLICABLE = [
    pytest.param(
        c,
        family,
        id=f"{c.name}-{family}",
        marks=[needs_loops] if c in (CompiledNatural, CompiledWhitened) else [],
    )
    for c, family in PAIRS
    if has_matrices(family) and (c.name, family) not in DO_NOT_APPLY
]


@pytest.mark.parametrize(("formulation", "family"), APPLICABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float16, bool])
def test_other_dtypes_are_float64_from_the_start(formulation, family, dtype):
    mixture = made_mixture(family, 3, 4)
    x = (np.random.default_rng(2).normal(size=(300, 4)) * 4).astype(dtype)
    exact = statistics_by(formulation, mixture, x.astype(np.float64))
    found = statistics_by(formulation, mixture, x)
    np.testing.assert_array_equal(found["second"], exact["second"])
    assert found.log_likelihood == exact.log_likelihood


@pytest.mark.parametrize(("formulation", "family"), APPLICABLE)
def test_rows_whose_densities_underflow_keep_their_log_likelihood(formulation, family):
    mixture = made_mixture(family, 3, 2)
    x = np.random.default_rng(3).normal(size=(200, 2))
    x[[0, 77, 199]] = [[1e4, 0.0], [-300.0, 300.0], [0.0, 90.0]]
    found = statistics_by(formulation, mixture, x)
    # Terms reach 1e8 nats: what counts is the error relative to the whole.
    np.testing.assert_allclose(found.log_likelihood, log_density(x, mixture).sum(), rtol=1e-12)
    np.testing.assert_allclose(found.n_k.sum(), 200, rtol=1e-12)


@pytest.mark.parametrize(("formulation", "family"), APPLICABLE)
def test_a_component_of_weight_zero_gets_nothing(formulation, family):
    even = made_mixture(family, 3, 2)
    mixture = gaussian_mixture(np.array([0.5, 0.0, 0.5]), even.means, even.covariances, family)
    found = statistics_by(formulation, mixture, np.random.default_rng(4).normal(size=(500, 2)))
    assert found.n_k[1] < 1e-250
    assert np.isfinite(found.log_likelihood)


@pytest.mark.parametrize("family", COMPONENTS)
@pytest.mark.parametrize("distance", [1e2, 1e4, 1e6, 1e8])
def test_the_choice_keeps_its_digits_however_far_components_are_apart(family, distance):
    # Widths of 1, means ``distance`` apart: natural forms lose (distance)^2 eps.
    near = made_mixture(family, 3, 4)
    mixture = gaussian_mixture(
        near.weights, near.means + distance * np.eye(3, 4), near.covariances, family
    )
    rng = np.random.default_rng(5)
    x = mixture.means[rng.integers(0, 3, 900)] + rng.normal(size=(900, 4))
    exact = statistics_by(Direct, mixture, x)
    found = e_step(Block(x), mixture)
    # 1e-11 nats is what a formulation may lose in a log density; means of deviations of
    # width 1 then agree to that, and to the spacing of numbers at ``distance``.
    tolerance = 1e-10 + 10 * distance * EPS
    np.testing.assert_allclose(found["first"] / 900, exact["first"] / 900, atol=tolerance)
    np.testing.assert_allclose(found.log_likelihood, exact.log_likelihood, rtol=1e-10)


def test_the_choice_is_the_cheapest_that_applies():
    for family in COMPONENTS:
        mixture = made_mixture(family, 4, 5)
        costs = {
            c.name: c.cost(type(mixture.components), *mixture.means.shape, FLOAT64)
            for c in CANDIDATES
            if applies(c, mixture)
        }
        assert formulation_of(mixture, FLOAT64).name == min(costs, key=costs.get)


def rows_from(mixture, n, seed=6):
    rng = np.random.default_rng(seed)
    k, d = mixture.means.shape
    factors = np.linalg.cholesky(mixture.components.dense())
    x = rng.normal(size=(n, d))
    component = rng.choice(k, size=n, p=mixture.weights)
    for one in range(k):  # a factor for each row at once would be n D^2 numbers
        x[component == one] @= factors[one].T
    return mixture.means[component] + x


def assert_good_to(found, exact, tolerance):
    """Relative: of counts and log-likelihood their own size, of moments sqrt(S_ii S_jj)."""
    assert abs(found.log_likelihood / exact.log_likelihood - 1) < tolerance
    np.testing.assert_allclose(found.n_k, exact.n_k, rtol=tolerance)
    family, shape = exact.law.kind, exact.centres.shape
    dense = dense_of(family, exact["second"], *shape)
    scale = np.sqrt(np.diagonal(dense, axis1=1, axis2=2))
    n_k = exact.n_k[:, None]
    assert (np.abs(found["first"] - exact["first"]) <= tolerance * scale * np.sqrt(n_k)).all()
    error = dense_of(family, found["second"] - exact["second"], *shape)
    assert (np.abs(error) <= tolerance * scale[:, :, None] * scale[:, None, :]).all()


@cache
def drawn_and_exact(mixture, dtype):
    """Rows from a mixture and their statistics, once for all formulations, which is slow."""
    x = rows_from(mixture, 3_000).astype(dtype)
    return x, exact_statistics(x, mixture)


def exact_statistics(x, mixture):
    """By the longdouble oracle."""
    oracle = naive_e_step(x, mixture)
    sums = {
        "n_k": oracle.n_k,
        "first": oracle.first,
        "second": REDUCED[mixture.kind](oracle.second),
    }
    return Statistics(
        len(x),
        float(len(x)),
        float(oracle.log_density.sum()),
        {name: array.astype(np.float64) for name, array in sums.items()},
        mixture.means,
        mixture.kind,
    )


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"),
    applicable(sizes((4, 2), (16, 4), (4, 17)), (FLOAT32, FLOAT64)),
)
def test_precision_against_longdouble(formulation, mixture, dtype):
    x, exact = drawn_and_exact(mixture, dtype)
    found = statistics_by(formulation, mixture, x, dtype)
    assert_good_to(found, exact, 1e-5 if dtype == FLOAT32 else 1e-11)


IN_FLOAT32 = applicable(sizes((4, 2), (64, 2), (16, 8), (3, 33), (4, 128)), (FLOAT32,))


@pytest.mark.parametrize(("formulation", "mixture", "dtype"), IN_FLOAT32)
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_float32_is_good_to_1e5_where_it_says_so(formulation, mixture, dtype, shift):
    moved = gaussian_mixture(
        mixture.weights, mixture.means + shift, mixture.covariances, mixture.kind
    )
    assert applies(formulation, moved, dtype)
    x = (rows_from(mixture, 20_000) + shift).astype(dtype)
    exact = statistics_by(Direct, moved, x)
    assert_good_to(statistics_by(formulation, moved, x, dtype), exact, 1e-5)


@needs_loops
def test_every_family_has_a_formulation_in_float32():
    assert {param.values[1].kind for param in IN_FLOAT32} == set(COMPONENTS)


@pytest.mark.parametrize("family", COMPONENTS)
@pytest.mark.parametrize("distance", [0.0, 1e1, 1e2, 1e3, 1e4, 1e5])
def test_float32_gives_way_where_it_would_lose_more(family, distance):
    near = made_mixture(family, 3, 4)
    mixture = gaussian_mixture(
        near.weights, near.means + distance * np.eye(3, 4), near.covariances, family
    )
    x = rows_from(mixture, 20_000).astype(np.float32)
    found = formulation_of(mixture, FLOAT32).statistics(Block(x))
    assert_good_to(found, statistics_by(Direct, mixture, x), 1e-5)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["rows", "weighted rows"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (4, 3), (7, 20)])
def test_a_known_scatter_completes_linear_sums(k, d, precision, is_weighted):
    mixture = made_mixture("tied", k, d)
    x = rows_from(mixture, 9_000) + np.linspace(0, 30, 9_000)[:, None]  # some far away
    weight = np.random.default_rng(0).uniform(0, 3, 9_000) if is_weighted else None
    block = Block(x, weight=weight)
    known = Pass(mixture, precision, moments_and_extremes(block)[0])
    assert known.knows_scatter
    whole = known.complete(known.of(block[:4_000]) + known.of(block[4_000:]))
    exact = Direct(mixture, FLOAT64).statistics(block)
    assert whole.n_rows == len(x)
    np.testing.assert_allclose(whole.weight, exact.weight, rtol=1e-13)
    np.testing.assert_array_equal(whole.centres, mixture.means)
    assert_good_to(whole, exact, 1e-5 if precision == "float32" else 1e-11)


def test_passes_do_without_the_scatter_where_means_are_too_many_widths_apart():
    near = made_mixture("tied", 3, 4)
    far = gaussian_mixture(near.weights, near.means + 1e5 * np.eye(3, 4), near.covariances, "tied")
    total = moments_and_extremes(Block(rows_from(near, 100)))[0]
    assert not Pass(far, total=total).knows_scatter
    assert not Pass(made_mixture("full", 3, 4), total=total).knows_scatter


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"),
    applicable(sizes((1, 2), (3, 2), (40, 3), (3, 33)), (FLOAT32, FLOAT64)),
)
def test_weights_are_repetition(formulation, mixture, dtype):
    rows = rows_from(mixture, 700)
    if dtype == FLOAT64:
        rows[::50] *= 20  # where no component is near, and float32 has other digits
    x = np.repeat(rows, 3, axis=0)
    weight = np.tile([3.0, 0.5, 1e-9], 700)
    found = formulation(mixture, dtype).statistics(Block(x, weight=weight))
    whole = statistics_by(Direct, mixture, rows)
    assert found.weight == pytest.approx(weight.sum(), rel=1e-13)
    tolerance = 1e-5 if dtype == FLOAT32 else 1e-11
    assert_good_to(found.scaled(700 / weight.sum()), whole, tolerance)


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"),
    applicable(sizes((1, 2), (3, 2), (64, 6), (3, 33)), (FLOAT32, FLOAT64)),
)
@pytest.mark.parametrize("is_weighted", [False, True], ids=["rows", "weighted rows"])
def test_log_densities_come_with_the_statistics(formulation, mixture, dtype, is_weighted):
    x = rows_from(mixture, 701)
    block = Block(x, weight=np.linspace(0.1, 3.0, 701) if is_weighted else None)
    one, found = formulation(mixture, dtype), np.full(701, np.nan)
    statistics, expected = one.statistics(block, found), one.statistics(block)
    assert statistics.log_likelihood == expected.log_likelihood
    exact = Direct(mixture, FLOAT64).log_densities(x)
    tolerance = 1e-3 if dtype == FLOAT32 else 1e-9
    np.testing.assert_allclose(found, exact, rtol=1e-3 * tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"),
    applicable(
        [
            {"k": k, "d": d, "spread": spread}
            for k, d in [(32, 2), (50, 3), (64, 6)]
            for spread in (1.0, 8.0, 40.0)
        ]
    ),
)
def test_what_is_zero_to_rounding_is_not_missed(formulation, mixture, dtype):
    x, exact = spread_and_exact(mixture)
    assert_good_to(statistics_by(formulation, mixture, x, dtype), exact, 1e-10)


@cache
def spread_and_exact(mixture):
    """Rows of each component for itself, of all at once, and some where none is near."""
    x = rows_from(mixture, 1_500)
    x[:500] = x[np.argsort(x[:500, 0])]
    x[700:710] *= 30
    return x, exact_statistics(x, mixture)


@pytest.mark.parametrize(
    ("formulation", "mixture", "dtype"),
    applicable(sizes((1, 2), (3, 4), (64, 6), (3, 33)), (FLOAT32, FLOAT64)),
)
@pytest.mark.parametrize("stored", [np.float32, np.float64])
@pytest.mark.parametrize("is_weighted", [False, True], ids=["rows", "weighted rows"])
def test_rows_that_are_picked_give_the_bits_of_a_copy(
    formulation, mixture, dtype, stored, is_weighted
):
    among = rows_from(mixture, 900).astype(stored)
    rows = np.flatnonzero(np.random.default_rng(1).random(900) < 0.8)
    among[np.setdiff1d(np.arange(900), rows)] = np.nan  # it would show in every sum
    weight = np.linspace(0.1, 3.0, len(rows)) if is_weighted else None
    one = formulation(mixture, dtype)
    found, expected = np.empty(len(rows)), np.empty(len(rows))
    of_picked = one.statistics(PickedBlock(among, rows, weight), found)
    of_copy = one.statistics(Block(among[rows], weight=weight), expected)
    np.testing.assert_array_equal(found, expected)
    assert of_picked.log_likelihood == of_copy.log_likelihood
    assert (of_picked.n_rows, of_picked.weight) == (of_copy.n_rows, of_copy.weight)
    for name, sums in of_copy.sums.items():
        np.testing.assert_array_equal(of_picked[name], sums)


@pytest.mark.parametrize("family", COMPONENTS)
def test_a_pass_does_without_rows_of_weight_zero(family):
    mixture = made_mixture(family, 3, 4)
    x = rows_from(mixture, 500)
    weight = np.where(np.arange(500) % 7 == 0, 0.0, 1.0)
    x[::7] = np.nan
    found = Pass(mixture).of(Block(x, weight=weight))
    expected = Pass(mixture).of(Block(x[weight > 0], weight=weight[weight > 0]))
    assert found.log_likelihood == expected.log_likelihood
    np.testing.assert_array_equal(found["first"], expected["first"])
