"""The tail: the worst-fitting rows of all, whatever the grains and the order of sums."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from made_data import made_mixture, pass_with_tail, rows_of

from daskgmm.em import InMemoryRows
from daskgmm.em.tail import Tail, tail_rows
from daskgmm.execution import DaskRows
from daskgmm.kernel import Block, Pass, log_density

N, D = 20_000, 3


@pytest.fixture(scope="module")
def mixture():
    return made_mixture("full", 4, D)


@pytest.fixture(scope="module")
def x(mixture):
    return rows_of(mixture, N, seed=1)


def _tail(rows, mixture):
    return pass_with_tail(rows, mixture)[1]


def test_it_holds_the_rows_of_lowest_density(x, mixture):
    tail = _tail(InMemoryRows(x, grain=1024), mixture)
    worst = np.argsort(log_density(x, mixture))[: tail_rows(D)]
    np.testing.assert_array_equal(np.sort(tail.indices), np.sort(worst))
    np.testing.assert_array_equal(tail.rows.x, x[tail.indices])
    assert (np.diff(tail.log_densities) >= 0).all()


def test_the_same_grains_give_the_same_bits_however_they_lie(x, mixture):
    expected = _tail(InMemoryRows(x, grain=1024), mixture)
    others = [InMemoryRows(x, grain=1024, n_threads=3)]
    others += [DaskRows(da.from_array(x, chunks=(n, D)), grain=1024) for n in (2048, 4096, N)]
    for rows in others:
        tail = _tail(rows, mixture)
        assert tail.rows.x.tobytes() == expected.rows.x.tobytes()
        for name in ("log_densities", "indices"):
            assert getattr(tail, name).tobytes() == getattr(expected, name).tobytes()


def test_of_equal_rows_the_first_are_kept():
    x = Block(np.zeros((1000, D)))
    equal = np.zeros(100)
    blocks = [Tail.of_block(x[i : i + 100], equal, most=150) for i in range(0, 1000, 100)]
    forward = sum(blocks[1:], blocks[0])
    backward = sum(blocks[-2::-1], blocks[-1])
    for tail in (forward, backward):
        np.testing.assert_array_equal(tail.indices, np.arange(150))


# In any order, and where rows that lie 16 apart are nothing like the others.
@pytest.mark.parametrize("order", ["random", "ascending", "descending", "periodic low", "ties"])
@pytest.mark.parametrize("most", [1, 50, 300, 4000])
def test_a_block_keeps_its_worst_rows_in_whatever_order_they_are(order, most):
    n = 5000
    densities = np.random.default_rng(0).normal(size=n)
    if order != "random":
        densities = np.sort(densities)[:: -1 if order == "descending" else 1].copy()
    if order == "periodic low":
        densities[::16] -= 100
    if order == "ties":
        densities = np.round(densities)
    tail = Tail.of_block(Block(np.arange(n)[:, None]), densities, most)
    worst = np.lexsort((np.arange(n), densities))[:most]
    np.testing.assert_array_equal(np.sort(tail.indices), np.sort(worst))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_pass_has_the_same_bits_as_without(x, mixture, dtype, weighted):
    weight = np.random.default_rng(0).integers(0, 3, N).astype(float) if weighted else None
    rows = InMemoryRows(x.astype(dtype), grain=1024, weight=weight)
    found, tail = pass_with_tail(rows, mixture, "auto")
    one = Pass(mixture, "auto")
    expected = one.complete(rows.fold(_of, one))
    assert (found.n_rows, found.weight) == (expected.n_rows, expected.weight)
    assert found.log_likelihood == expected.log_likelihood
    for name, array in expected.sums.items():
        assert found[name].tobytes() == array.tobytes()
    assert weight is None or (weight[tail.indices] > 0).all()
    np.testing.assert_array_equal(tail.log_densities, log_density(tail.rows.x, mixture))


def _of(block, one):
    return one.of(block)


def test_a_tail_of_few_rows_has_them_all(mixture):
    x = rows_of(mixture, 10)
    assert sorted(_tail(InMemoryRows(x), mixture).indices) == list(range(10))
