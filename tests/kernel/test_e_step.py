"""The E-step and its kin against a plain longdouble oracle, and the laws they keep."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import BAD_SCALES, WORDS_OF_FAMILIES, has_matrices, made_mixture, rescaled, rows_of
from naive import REDUCED, naive_e_step

from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Ridge,
    Statistics,
    density_sums,
    e_step,
    gaussian_mixture,
    labels,
    log_density,
    most_probable,
    responsibilities,
    sub_block_bytes,
    weighted_statistics,
)

RTOL = 1e-11
"""Of a sum relative to the sum of its terms' sizes.

A responsibility errs by that of a log density, eps * condition (below 1e3) * squared
distance (below 100) at most; sums of n terms add sqrt(n) eps. Blocks of any dtype are
exact in float64, so that float32 has the same bound.
"""


def _part(statistics, name):
    is_sum = name != "log_likelihood"
    return statistics[name] if is_sum else np.asarray(statistics.log_likelihood)


def _sizes(x, mixture):
    """sqrt(S_ii S_jj) per component, what an error of the second moments is relative to."""
    oracle = naive_e_step(x, mixture)
    root = np.sqrt(np.diagonal(oracle.second, axis1=1, axis2=2))
    return oracle, root


def _assert_statistics_are(got: Statistics, x, mixture):
    oracle, root = _sizes(x, mixture)
    name = mixture.kind
    assert got.n_rows == len(x)
    for array in (got.n_k, got["first"], got["second"]):
        assert array.dtype == np.float64
    assert (
        abs(got.log_likelihood - oracle.log_density.sum())
        <= RTOL * np.abs(oracle.log_density).sum()
    )
    np.testing.assert_allclose(got.n_k, oracle.n_k.astype(float), rtol=RTOL, atol=RTOL * len(x))
    # |sum r d| <= sqrt(N_k S_ii): the scale of an error of the first moments.
    scale = root * np.sqrt(len(x))
    assert (np.abs(got["first"] - oracle.first) <= RTOL * scale).all()
    dense_scale = root[:, :, None] * root[:, None, :]
    error = np.abs(got["second"] - REDUCED[name](oracle.second))
    assert (error <= RTOL * np.abs(REDUCED[name](dense_scale)) + 0.0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("k", "d", "n"), [(1, 1, 50), (3, 4, 2000), (5, 2, 20_000)])
def test_statistics_are_the_naive_ones(family, k, d, n, dtype):
    mixture = made_mixture(family, k, d)
    x = rows_of(mixture, n).astype(dtype)
    _assert_statistics_are(e_step(Block(x), mixture), x, mixture)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_statistics_of_columns_in_bad_units(family, dtype):
    if COMPONENTS[family].is_scale_equivariant():
        mixture = rescaled(made_mixture(family, 3, 4), BAD_SCALES)
        x = rows_of(mixture, 1000).astype(dtype)
    else:  # one variance for all columns: the large ones decide, the small ones still count
        x = (rows_of(made_mixture(family, 3, 4), 1000) * BAD_SCALES).astype(dtype)
        resp = np.repeat(np.eye(2), 500, axis=0)
        centres = np.stack([x[:500].mean(axis=0), x[500:].mean(axis=0)]).astype(float)
        mixture = Ridge().m_step(weighted_statistics(Block(x), resp, centres, family))
    _assert_statistics_are(e_step(Block(x), mixture), x, mixture)


def test_rows_far_from_every_component(family):
    mixture = made_mixture(family, 3, 2)
    x = np.concatenate([rows_of(mixture, 100), [[1e4, -1e4], [1e6, 1e6]]])
    oracle = naive_e_step(x, mixture)
    density = log_density(x, mixture)
    assert np.isfinite(density).all()
    np.testing.assert_allclose(density, oracle.log_density.astype(float), rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.bool_, np.float16, ">f4"])
def test_blocks_of_any_real_dtype_are_their_float64_values(family, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, size=(400, 3)).astype(dtype)
    mixture = made_mixture(family, 2, 3)
    got, expected = e_step(Block(x), mixture), e_step(Block(x.astype(np.float64)), mixture)
    for name in ("log_likelihood", "n_k", "first", "second"):
        # Conversion is exact: what is left is the order of sums.
        np.testing.assert_allclose(_part(got, name), _part(expected, name), rtol=1e-12)
    np.testing.assert_array_equal(labels(x, mixture), labels(x.astype(np.float64), mixture))


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
def test_memory_layout_does_not_matter(family, layout):
    mixture = made_mixture(family, 3, 3)
    x = rows_of(mixture, 500)
    other = {
        "C": np.ascontiguousarray(x),
        "F": np.asfortranarray(x),
        "strided": np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
        "reversed": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    }[layout]
    np.testing.assert_array_equal(
        e_step(Block(other), mixture)["second"], e_step(Block(x), mixture)["second"]
    )


def test_a_read_only_block_is_left_alone(family):
    mixture = made_mixture(family, 2, 3)
    x = rows_of(mixture, 300)
    before = x.copy()
    x.setflags(write=False)
    e_step(Block(x), mixture)
    responsibilities(x, mixture)
    np.testing.assert_array_equal(x, before)


def test_no_rows_leave_nothing(family):
    mixture = made_mixture(family, 2, 3)
    nothing = e_step(Block(np.empty((0, 3))), mixture)
    assert nothing.n_rows == 0
    assert nothing.log_likelihood == 0
    assert not nothing.n_k.any()
    assert not nothing["second"].any()
    assert log_density(np.empty((0, 3)), mixture).shape == (0,)
    assert responsibilities(np.empty((0, 3)), mixture).shape == (0, 2)
    assert labels(np.empty((0, 3)), mixture).shape == (0,)


def _assert_equal_statistics(got, expected, rtol=1e-12):
    """To the rounding of sums taken in another order: eps * sqrt(n) of the sizes summed."""
    assert got.n_rows == expected.n_rows
    for name in ("log_likelihood", "n_k", "first", "second"):
        a, b = _part(got, name), _part(expected, name)
        size = max(np.abs(b).max(), expected.n_rows)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size, err_msg=name)


@given(
    name=st.sampled_from(WORDS_OF_FAMILIES),
    cuts=st.lists(st.integers(0, 3000), max_size=6).map(sorted),
    seed=st.integers(0, 5),
)
def test_statistics_of_blocks_add_up(name, cuts, seed):
    mixture = made_mixture(name, 3, 3, seed=seed)
    x = rows_of(mixture, 3000, seed=seed)
    total = Statistics.zero(mixture.means, name)
    for block in np.split(x, cuts):
        total = total + e_step(Block(block), mixture)
    _assert_equal_statistics(total, e_step(Block(x), mixture))


def test_rows_of_several_sub_blocks_add_up(family):
    mixture = made_mixture(family, 2, 2)
    x = rows_of(mixture, 30_000)
    single = [e_step(Block(block), mixture) for block in np.split(x, 20)]
    total = sum(single[1:], start=single[0])
    _assert_equal_statistics(total, e_step(Block(x), mixture))


def test_responsibilities(family):
    mixture = made_mixture(family, 4, 3)
    x = rows_of(mixture, 10_000)
    resp = responsibilities(x, mixture)
    assert resp.dtype == np.float64
    assert (resp >= 0).all()
    # K roundings of terms that sum to 1.
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    oracle = naive_e_step(x[:500], mixture)
    np.testing.assert_allclose(resp[:500], oracle.resp.astype(float), rtol=0, atol=RTOL)
    statistics = e_step(Block(x), mixture)
    np.testing.assert_allclose(statistics.n_k, resp.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.n_k.sum(), len(x), rtol=1e-13)


def test_labels_are_the_likeliest(family):
    mixture = made_mixture(family, 4, 3)
    x = rows_of(mixture, 10_000)
    got = labels(x, mixture)
    assert got.dtype == np.int64
    resp = responsibilities(x, mixture)
    # A tie to rounding may fall either way: the label's responsibility is the largest.
    np.testing.assert_allclose(resp[np.arange(len(x)), got], resp.max(axis=1), rtol=1e-12)
    assert (np.bincount(got, minlength=4) > 0).all()


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_the_most_probable_are_the_largest_responsibilities_in_order(family, n):
    """Those that labels and responsibilities give, to the bit."""
    mixture = made_mixture(family, 4, 3)
    x = rows_of(mixture, 10_000)
    components, probabilities = most_probable(x, mixture, n)
    assert components.shape == probabilities.shape == (len(x), min(n, 4))
    np.testing.assert_array_equal(components[:, 0], labels(x, mixture))
    resp = responsibilities(x, mixture)
    np.testing.assert_array_equal(np.take_along_axis(resp, components, axis=1), probabilities)
    np.testing.assert_array_equal(probabilities, np.sort(resp, axis=1)[:, ::-1][:, :n])
    assert all(len(set(row)) == min(n, 4) for row in components[:100].tolist())


def test_components_without_weight_are_among_the_most_probable_once_at_most():
    mixture = made_mixture("diag", 4, 2)
    weights = np.array([0.0, 1.0, 0.0, 0.0])
    one = gaussian_mixture(weights, mixture.means, mixture.covariances, "diag")
    components, probabilities = most_probable(rows_of(mixture, 50), one, 4)
    assert components.tolist() == [[1, 0, 2, 3]] * len(components)
    np.testing.assert_allclose(probabilities, [[1, 0, 0, 0]] * len(components), rtol=1e-15)


def test_density_sums(family):
    mixture = made_mixture(family, 4, 3)
    x = rows_of(mixture, 10_000)
    log_likelihood, log_decided = density_sums(Block(x), mixture)
    density, resp = log_density(x, mixture), responsibilities(x, mixture)
    np.testing.assert_allclose(log_likelihood, density.sum(), rtol=1e-12)
    np.testing.assert_allclose(log_likelihood, e_step(Block(x), mixture).log_likelihood, rtol=1e-12)
    # Each term errs by some eps of a density of order 10, and 10,000 of them are summed.
    np.testing.assert_allclose(log_decided, np.log(resp.max(axis=1)).sum(), rtol=1e-10, atol=1e-10)
    assert log_decided <= 0


def test_weighted_statistics_of_the_responsibilities_are_the_e_step(family):
    mixture = made_mixture(family, 3, 3)
    x = rows_of(mixture, 10_000)
    given_them = weighted_statistics(Block(x), responsibilities(x, mixture), mixture.means, family)
    assert given_them.log_likelihood == 0
    expected = e_step(Block(x), mixture)
    for name in ("n_k", "first", "second"):
        a, b = given_them[name], expected[name]
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * len(x))


def test_weight_zero_is_a_component_that_is_not_there(family):
    mixture = made_mixture(family, 3, 2)
    x = rows_of(mixture, 2000)
    rest = mixture.weights[1:] / mixture.weights[1:].sum()
    gone = gaussian_mixture(np.r_[0.0, rest], mixture.means, mixture.covariances, family)
    table = COMPONENTS[family]
    per_component = table.covariance_shape(3, 2)[0] == 3 and table.covariance_shape(4, 2)[0] == 4
    covariances = mixture.covariances[1:] if per_component else mixture.covariances
    smaller = gaussian_mixture(rest, mixture.means[1:], covariances, family)
    np.testing.assert_allclose(log_density(x, gone), log_density(x, smaller), rtol=1e-13)
    resp = responsibilities(x, gone)
    assert not resp[:, 0].any()
    assert not (labels(x, gone) == 0).any()
    after = Ridge(1e-6).m_step(e_step(Block(x), gone))
    np.testing.assert_array_equal(after.means[0], gone.means[0])
    assert after.weights[0] < 1e-15


def test_permuting_components_permutes_the_statistics(family):
    mixture = made_mixture(family, 4, 3)
    x = rows_of(mixture, 2000)
    order = np.array([2, 0, 3, 1])
    table = COMPONENTS[family]
    per_component = table.covariance_shape(4, 3)[0] == 4 and table.covariance_shape(5, 3)[0] == 5
    pick = order if per_component else slice(None)
    other = gaussian_mixture(
        mixture.weights[order], mixture.means[order], mixture.covariances[pick], family
    )
    got, expected = e_step(Block(x), other), e_step(Block(x), mixture)
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=1e-13)
    np.testing.assert_allclose(got.n_k, expected.n_k[order], rtol=1e-12)
    np.testing.assert_allclose(
        got["second"], expected["second"][pick], rtol=1e-12, atol=1e-12 * len(x)
    )


def test_moving_rows_and_means_alike_changes_nothing(family):
    # Multiples of 2^-20 moved by 2^27: no value is rounded, so the deviations are the same.
    plain = made_mixture(family, 3, 2)
    means = np.round(plain.means * 2**20) / 2**20
    near = gaussian_mixture(plain.weights, means, plain.covariances, family)
    far = gaussian_mixture(plain.weights, means + 2.0**27, plain.covariances, family)
    x = np.round(rows_of(near, 2000) * 2**20) / 2**20
    got, expected = e_step(Block(x + 2.0**27), far), e_step(Block(x), near)
    for name in ("log_likelihood", "n_k", "first", "second"):
        a, b = _part(got, name), _part(expected, name)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * len(x), err_msg=name)


def _random_map(rng, name, d):
    """A linear map A that keeps the family a family, and what it does to covariances."""
    if has_matrices(name):
        a = rng.standard_normal((d, d)) + 2 * np.eye(d)
        return a, lambda c: a @ c @ a.T
    if COMPONENTS[name].is_scale_equivariant():
        scale = np.exp(rng.standard_normal(d))
        return np.diag(scale), lambda c: c * scale**2
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return 3.0 * rotation, lambda c: 9.0 * c


@pytest.mark.parametrize("seed", range(3))
def test_an_em_iteration_is_equivariant_under_affine_maps(family, seed):
    rng = np.random.default_rng(seed)
    d = 3
    mixture = made_mixture(family, 3, d, seed=seed)
    x = rows_of(mixture, 1500, seed=seed)
    a, of_covariances = _random_map(rng, family, d)
    b = rng.standard_normal(d)

    def moved(m):
        return gaussian_mixture(m.weights, m.means @ a.T + b, of_covariances(m.covariances), family)

    there, here = e_step(Block(x @ a.T + b), moved(mixture)), e_step(Block(x), mixture)
    jacobian = np.linalg.slogdet(a)[1]
    # eps * condition of A squared (below 1e3) * condition of the covariances (below 1e3).
    np.testing.assert_allclose(
        there.log_likelihood, here.log_likelihood - len(x) * jacobian, rtol=1e-10
    )
    got, expected = Ridge().m_step(there), moved(Ridge().m_step(here))
    np.testing.assert_allclose(got.weights, expected.weights, rtol=1e-9)
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-9, atol=1e-9)


def test_memory_does_not_grow_with_rows(family):
    k, d, n = 64, 4, 200_000
    mixture = made_mixture(family, k, d)
    x = np.random.default_rng(0).standard_normal((n, d))
    e_step(Block(x[:10]), mixture)  # caches of the first call
    tracemalloc.start()
    try:
        e_step(Block(x), mixture)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What the memory plan counts on, statistics and factors, and 64 KiB of Python's objects.
    planned = sub_block_bytes(k, d) + 4 * 8 * k * (d * d + d + 1) + 2**16
    assert peak <= planned < 8 * n * k / 10
