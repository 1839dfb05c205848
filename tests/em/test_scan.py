"""The scan: what one pass tells, and the sample that it keeps."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import BAD_SCALES, made_mixture, rows_of

from daskgmm.em import STOP_RULES, InMemoryRows, PlainEM, Rules, run, scan_rows
from daskgmm.em.rows import rows_of_sample, statistics_of
from daskgmm.em.scan import sample_threshold
from daskgmm.errors import DamagedDataError, DataError, NonFiniteError
from daskgmm.kernel import Ridge, drawn_rows, hash_rows, loops
from daskgmm.kernel.loops import VARIANT


def _rows(n=5000, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 4)) * BAD_SCALES + BAD_SCALES


@given(start=st.integers(0, 2**62), n=st.integers(0, 50), seed=st.integers(0, 2**31))
def test_a_hash_is_of_the_row_alone(start, n, seed):
    hashes = hash_rows(start, n, seed)
    one_by_one = [hash_rows(start + i, 1, seed)[0] for i in range(n)]
    np.testing.assert_array_equal(hashes, np.array(one_by_one, np.uint64))


@pytest.mark.parametrize("variant", [VARIANT, None], ids=["as here", "in NumPy"])
@given(
    start=st.integers(0, 2**62),
    n=st.integers(0, 300),
    seed=st.integers(0, 2**31),
    threshold=st.integers(0, 2**64 - 1),
)
def test_rows_of_a_low_hash_are_drawn(variant, start, n, seed, threshold):
    with patch.object(loops, "VARIANT", variant):
        drawn = drawn_rows(start, n, threshold, seed)
    low = hash_rows(start, n, seed) < np.uint64(threshold)
    np.testing.assert_array_equal(drawn, np.flatnonzero(low))


def test_hashes_are_distinct_and_depend_on_the_seed():
    hashes = hash_rows(0, 100_000, 0)
    assert len(np.unique(hashes)) == 100_000  # a bijection of the index
    assert not np.isin(hashes[:1000], hash_rows(0, 100_000, 1)).any()


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 2])
def test_hashes_are_uniform(seed):
    n, bins = 200_000, 64
    hashes = hash_rows(10**9, n, seed)
    for bits in (58, 20, 0):  # the highest 6 bits, some in the middle, the lowest
        counts = np.bincount((hashes >> np.uint64(bits)).astype(np.int64) % bins, minlength=bins)
        chi2 = ((counts - n / bins) ** 2 / (n / bins)).sum()
        # 63 degrees of freedom: mean 63, deviation 11; five deviations.
        assert chi2 < 63 + 5 * 11.3


@pytest.mark.parametrize("seed", [0, 7])
def test_sampling_is_not_correlated_between_neighbours(seed):
    taken = (hash_rows(0, 200_000, seed) < np.uint64(sample_threshold(10, 5))).astype(float)
    for lag in (1, 2, 3, 64, 4096):
        correlation = np.corrcoef(taken[:-lag], taken[lag:])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(len(taken))  # five standard errors


def _sample(x, n_sampled, seed=3, grain=None):
    return scan_rows(InMemoryRows(x, grain=grain), n_sampled, seed).sample.x


def _contains(large, small):
    return {row.tobytes() for row in small} <= {row.tobytes() for row in large}


def test_samples_are_nested_uniform_and_in_order():
    x = _rows(20_000)
    samples = [_sample(x, n) for n in (20, 200, 2000, 20_000, 10**9)]
    for n, sample in zip((20, 200, 2000), samples, strict=False):
        assert abs(len(sample) - n) < 5 * np.sqrt(n)  # binomial: five deviations
    for small, large in itertools.pairwise(samples):
        assert _contains(large, small)
    for sample in samples[3:]:
        np.testing.assert_array_equal(sample, x)
    place = {row.tobytes(): i for i, row in enumerate(x)}
    order = [place[row.tobytes()] for row in samples[2]]
    assert order == sorted(order)


@given(grain=st.integers(1, 1200), seed=st.integers(0, 3))
def test_the_sample_does_not_depend_on_the_blocks(grain, seed):
    x = _rows(1000)
    expected = _sample(x, 100, seed)
    np.testing.assert_array_equal(_sample(x, 100, seed, grain), expected)
    assert 0 < len(expected) < 1000


def test_other_seeds_take_other_rows():
    x = _rows()
    assert not _contains(_sample(x, 200, seed=1), _sample(x, 200, seed=2))


def test_the_sample_of_narrow_data_is_float64_and_exact():
    x = _rows(2000).astype(np.float32)
    sample = _sample(x, 100)
    assert sample.dtype == np.float64
    assert _contains(x.astype(np.float64), sample)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moments_and_extremes(dtype):
    x = _rows().astype(dtype)
    scan = scan_rows(InMemoryRows(x, grain=300), 100, 0)
    wide = x.astype(np.float64)
    assert scan.n_rows == scan.weight == len(x)
    np.testing.assert_array_equal(scan.minimum, wide.min(axis=0))
    np.testing.assert_array_equal(scan.maximum, wide.max(axis=0))
    np.testing.assert_allclose(scan.moments.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scan.moments.variances, wide.var(axis=0), rtol=1e-12)
    covariance = np.cov((wide / BAD_SCALES).T, bias=True) * np.outer(BAD_SCALES, BAD_SCALES)
    scale = np.outer(BAD_SCALES, BAD_SCALES)
    # Sums of 5000 terms of order 1 in each column's unit.
    assert (np.abs(scan.moments.scatter / len(x) - covariance) < 1e-12 * scale).all()


@pytest.mark.parametrize("grain", [1, 7, 50, 1000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(bad, grain):
    x = _rows(100)
    x[41, 3] = x[41, 2] = bad
    x[97, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"3 values, the first at row 41, column 2") as caught:
        scan_rows(InMemoryRows(x, grain=grain, n_threads=2), 10, 0)
    assert f"({bad})" in str(caught.value)


def test_nan_wins_over_a_constant_column():
    x = _rows(100)
    x[:, 1] = 2.0
    x[5, 0] = np.nan
    with pytest.raises(NonFiniteError, match="1 value, the first at row 5, column 0"):
        scan_rows(InMemoryRows(x), 10, 0)


def test_huge_finite_values_are_not_refused():
    x = np.array([[1e300, 1.0], [-1e300, 2.0], [0.0, 3.0]], dtype=np.float64)
    x[:, 0] /= 1e160  # squares stay finite
    assert scan_rows(InMemoryRows(x), 10, 0).maximum[0] == pytest.approx(1e140)


def test_constant_columns_are_named():
    x = _rows(100)
    x[:, 1], x[:, 3] = 2.5, 0.0
    with pytest.raises(DataError, match=r"columns 1, 3 .*2\.5 in each of 100 rows"):
        scan_rows(InMemoryRows(x, grain=30), 10, 0)


def test_a_column_constant_within_every_block_only_is_used():
    x = np.column_stack([np.repeat([1.0, 2.0], 50), np.arange(100.0)])
    assert scan_rows(InMemoryRows(x, grain=50), 10, 0).n_rows == 100


class _Losing(InMemoryRows):
    """Rows whose last block is lost on the way."""

    def fold(self, function, *args):
        return InMemoryRows(self.block.x[:-10], grain=10).fold(function, *args)


def test_lost_rows_are_noticed():
    with pytest.raises(DamagedDataError, match="read 90 rows where 100"):
        scan_rows(_Losing(_rows(100)), 10, 0)


def test_the_gap_law():
    """The optimum of n rows lies (p / 2)(1/n - 1/N) below that of N: within a factor of two."""
    truth = made_mixture("full", 3, 2, separation=6.0)
    n_rows, n_sampled, p = 40_000, 1_000, truth.n_parameters
    rows = InMemoryRows(rows_of(truth, n_rows, seed=2))

    def optimum(some):
        return run(some, truth, Rules(PlainEM(Ridge()), STOP_RULES["gap"], 200), tol=1e-12).kept

    def at(mixture):
        return statistics_of(rows, mixture).log_likelihood / n_rows

    best = at(optimum(rows))
    gaps = [
        best - at(optimum(rows_of_sample(scan_rows(rows, n_sampled, seed=seed).sample)))
        for seed in range(12)
    ]
    law = p / 2 * (1 / n_sampled - 1 / n_rows)
    assert law / 2 < np.mean(gaps) < 2 * law
