"""A quantile from one pass: exact while there is room, within its bound when there is not.

The oracle is a sort of all values. Asserted for any grouping of rows, weights, ties and order; and
that the same grains give the same bits.
"""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import made_mixture, rows_of

from daskgmm.em import InMemoryRows
from daskgmm.em.lowest import Lowest, quantile_of_rows
from daskgmm.em.rows import tree_sum
from daskgmm.execution import DaskRows
from daskgmm.kernel import log_density

N = 4000


def lowest_of(values, weight, wanted, most, grain):
    return tree_sum(
        Lowest.of(
            values[i : i + grain],
            None if weight is None else weight[i : i + grain],
            wanted,
            most,
        )
        for i in range(0, len(values), grain)
    )


def below(values, weight, value):
    """Weight of the rows strictly below a value."""
    weight = np.ones(len(values)) if weight is None else weight
    return weight[values < value].sum()


@pytest.mark.parametrize("quantile", [1e-4, 0.01, 0.07, 0.29, 0.5, 0.999])
@pytest.mark.parametrize("grain", [N, 64])
def test_with_room_it_is_the_row_of_that_rank(quantile, grain):
    values = np.random.default_rng(0).standard_normal(N)
    found = lowest_of(values, None, quantile * N * (1 + 1e-12), N, grain).quantile(N)
    assert (values < found.value).sum() == round(quantile * N)
    is_whole = abs(quantile * N - round(quantile * N)) < 1e-9
    assert (found.rank_error == 0) == is_whole
    assert found.rank_error < 1 / N


def test_no_more_is_kept_than_the_rank_needs():
    values = np.random.default_rng(0).standard_normal(N)
    found = lowest_of(values, None, 10.0, N, 64)
    np.testing.assert_array_equal(np.sort(found.values), np.sort(values)[:11])


ORDERS = {
    "any": lambda values: values,
    "ascending": np.sort,
    "descending": lambda values: -np.sort(-values),
    "the lowest last": lambda values: np.roll(np.sort(values), -N // 50),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("quantile", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_room_it_is_within_its_bound(order, quantile, weighted):
    rng = np.random.default_rng(1)
    values = ORDERS[order](rng.standard_normal(N).round(2))  # with ties
    weight = rng.exponential(size=N) ** 3 if weighted else None
    total = N if weight is None else weight.sum()
    most, grain = 128, 100
    found = lowest_of(values, weight, quantile * total, most, grain)
    assert len(found.values) <= most
    got = found.quantile(total)
    # atol: rounding of sums of weights
    assert abs(below(values, weight, got.value) / total - quantile) <= got.rank_error + 1e-12
    if not weighted:
        # As the top of the file says, and a level for what is not yet on both sides; what is
        # joined comes in steps of its weight, which is that of N / most rows, or twice as many.
        assert got.rank_error <= (np.log2(N / most) + 1) / (2 * most) + 2 / most


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 400),
    most=st.integers(4, 64),
    grain=st.integers(1, 100),
    share=st.floats(0.001, 0.999),
    distinct=st.integers(1, 400),
)
def test_the_bound_holds_for_every_value_that_is_kept(seed, n, most, grain, share, distinct):
    rng = np.random.default_rng(seed)
    values = rng.integers(distinct, size=n).astype(float)
    weight = rng.choice([0.0, 1.0, 1.0, 2.5, 100.0], size=n)
    weight[0] = 1.0
    total = weight.sum()
    found = lowest_of(values, weight, share * total, most, grain)
    found = found.in_order()
    ranks = np.cumsum(found.weights)
    for i in range(len(found.values) - 1):
        if found.values[i] == found.values[i + 1]:
            continue
        rank = weight[values <= found.values[i]].sum()
        assert ranks[i] - found.below - 1e-9 <= rank <= ranks[i] + found.above + 1e-9
    got = found.quantile(total)
    assert abs(below(values, weight, got.value) / total - share) <= got.rank_error + 1e-9


def test_a_whole_weight_repeats_a_row():
    rng = np.random.default_rng(2)
    values, weight = rng.standard_normal(500), rng.integers(0, 4, size=500).astype(float)
    total = weight.sum()
    one = lowest_of(values, weight, 0.3 * total, 10_000, 64).quantile(total)
    repeated = np.repeat(values, weight.astype(int))
    other = lowest_of(repeated, None, 0.3 * total, 10_000, 64).quantile(total)
    assert one == other


def test_many_rows_of_few_values_have_no_error():
    """Neighbours of one value are joined without moving any, but for the ends of their runs."""
    values = np.random.default_rng(3).integers(8, size=N).astype(float)
    found = lowest_of(values, None, 0.9 * N, 64, 50)
    assert len(found.values) <= 64
    assert set(found.values) == set(range(8))
    bound = found.quantile(N)
    assert abs((values < bound.value).mean() - 0.9) <= bound.rank_error < 0.2


def test_the_same_grains_give_the_same_bits_however_they_lie():
    mixture = made_mixture("full", 3, 2)
    x = rows_of(mixture, N)
    lying = [InMemoryRows(x, grain=256), InMemoryRows(x, grain=256, n_threads=3)]
    lying += [DaskRows(da.from_array(x, chunks=(n, 2)), grain=256) for n in (512, 1024, N)]
    with dask.config.set(scheduler="threads"):
        found = [quantile_of_rows(rows, mixture, _density, 0.05) for rows in lying]
    assert len(set(found)) == 1
    assert (log_density(x, mixture) < found[0].value).sum() == 0.05 * N


def _density(block, mixture):
    return log_density(block.x, mixture)
