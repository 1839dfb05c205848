"""Count, mean and scatter of rows, against numpy in longdouble."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import BAD_SCALES

from daskgmm.kernel import Block, Moments
from daskgmm.kernel.moments import _by_sub_blocks, moments_and_extremes

WAYS = {"as used": moments_and_extremes, "reference": _by_sub_blocks}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def _rows(n=30_000, offset=0.0, scales=BAD_SCALES, seed=0):
    rng = np.random.default_rng(seed)
    return (offset + rng.standard_normal((n, 4)) @ rng.standard_normal((4, 4))) * scales


def _oracle(x):
    x = x.astype(np.longdouble)
    mean = x.sum(axis=0) / len(x)
    return mean.astype(float), ((x - mean).T @ (x - mean)).astype(float)


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [(np.float64, 0.0), (np.float64, 1e3), (np.float64, 1e8), (np.float32, 0.0), (np.float32, 1e3)],
)
@every_way
def test_moments_are_numpys(dtype, offset, way):
    x = _rows(offset=offset).astype(dtype)
    got, minimum, maximum = way(Block(x))
    np.testing.assert_array_equal(minimum, x.min(axis=0))
    np.testing.assert_array_equal(maximum, x.max(axis=0))
    mean, scatter = _oracle(x)
    root = np.sqrt(np.diagonal(scatter))
    assert got.weight == len(x)
    # Sums err by sqrt(n) eps of sqrt(S_ii S_jj). Means of sub-blocks are rounded at eps *
    # offset, and the update multiplies that by their differences, some 1/100 of a deviation.
    slack = 1e-12 + 0.02 * offset * np.finfo(np.float64).eps
    assert (np.abs(got.scatter - scatter) <= slack * np.multiply.outer(root, root)).all()
    np.testing.assert_array_equal(got.scatter, got.scatter.T)
    deviation = root / np.sqrt(len(x))
    assert (np.abs(got.mean - mean) <= 1e-14 * (np.abs(mean) + deviation)).all()
    # numpy.cov rounds its mean at eps * offset, too, and the deviations from it.
    covariance = np.cov((x.astype(float) / BAD_SCALES).T, bias=True)
    rtol = 1e-11 + 4 * offset * np.finfo(np.float64).eps
    np.testing.assert_allclose(got.variances / BAD_SCALES**2, np.diagonal(covariance), rtol=rtol)


@every_way
@given(cuts=st.lists(st.integers(0, 500), max_size=6).map(sorted), offset=st.floats(-1e6, 1e6))
def test_moments_of_blocks_add_up(cuts, offset, way):
    x = _rows(500, offset, np.ones(4))
    total = Moments.zero(4)
    for block in np.split(x, cuts):
        if len(block):
            total = total + way(Block(block))[0]
    mean, scatter = _oracle(x)
    assert total.weight == 500
    # Means of blocks are rounded at eps * offset beside a spread of order 1, in each of n terms.
    atol = 1e-12 + 1e-15 * abs(offset)
    np.testing.assert_allclose(total.mean, mean, rtol=1e-14, atol=1e-12)
    np.testing.assert_allclose(total.scatter, scatter, rtol=1e-11, atol=500 * atol)


@every_way
def test_no_rows_add_nothing(way):
    zero = Moments.zero(2)
    x, _, _ = way(Block(np.array([[1.0, 2.0], [3.0, 5.0]])))
    for total in (zero + x, x + zero, zero + zero + x):
        assert total.weight == 2
        np.testing.assert_array_equal(total.mean, [2.0, 3.5])
        np.testing.assert_array_equal(total.scatter, [[2.0, 3.0], [3.0, 4.5]])
    assert (zero + zero).weight == 0
    np.testing.assert_array_equal(zero.variances, [0.0, 0.0])


@every_way
def test_constant_columns_have_no_variance(way):
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000.0)])
    # The mean of equal values can be off by an eps; its square is what is left.
    assert way(Block(x))[0].variances[0] <= (1e-15) ** 2


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float16, np.bool_])
@every_way
def test_other_dtypes_do_not_overflow(dtype, way):
    x = (np.random.default_rng(0).integers(0, 120, (5000, 2))).astype(dtype)
    got, expected = way(Block(x))[0], way(Block(x.astype(np.float64)))[0]
    np.testing.assert_array_equal(got.mean, expected.mean)
    np.testing.assert_array_equal(got.scatter, expected.scatter)


@every_way
def test_weights_are_repetition(way):
    x = _rows(3_000, offset=10.0)
    weight = np.random.default_rng(1).integers(1, 4, len(x))
    got, minimum, maximum = way(Block(x, weight=weight.astype(float)))
    expected = way(Block(np.repeat(x, weight, axis=0)))[0]
    assert got.weight == expected.weight
    np.testing.assert_array_equal(minimum, x.min(axis=0))
    np.testing.assert_array_equal(maximum, x.max(axis=0))
    root = np.sqrt(np.diagonal(expected.scatter))
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-13)
    slack = 1e-12 * np.multiply.outer(root, root)
    assert (np.abs(got.scatter - expected.scatter) <= slack).all()
