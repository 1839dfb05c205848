"""The tail: the worst-fitting rows of all, whatever the grains and the order of sums."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from made_data import made_mixture, rows_of

from daskgmm.em import InMemoryRows
from daskgmm.em.tail import RowsWithTail, Tail, tail_rows
from daskgmm.execution import DaskRows
from daskgmm.kernel import Block, e_step, log_density

N, D = 20_000, 3


@pytest.fixture(scope="module")
def mixture():
    return made_mixture("full", 4, D)


@pytest.fixture(scope="module")
def x(mixture):
    return rows_of(mixture, N, seed=1)


def _tail(rows, mixture):
    watched = RowsWithTail(rows, mixture)
    watched.fold(e_step, mixture)
    return watched.tail


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


def test_of_equal_rows_the_first_are_kept(mixture):
    x = Block(np.zeros((1000, D)))
    blocks = [Tail.of_block(x[i : i + 100], mixture, most=150) for i in range(0, 1000, 100)]
    forward = sum(blocks[1:], blocks[0])
    backward = sum(blocks[-2::-1], blocks[-1])
    for tail in (forward, backward):
        np.testing.assert_array_equal(tail.indices, np.arange(150))


def test_what_the_fold_is_for_is_not_touched(x, mixture):
    watched = RowsWithTail(InMemoryRows(x, grain=1024), mixture)
    expected = InMemoryRows(x, grain=1024).fold(e_step, mixture)
    for _ in range(2):  # the second fold has no tail beside it
        found = watched.fold(e_step, mixture)
        assert found.log_likelihood == expected.log_likelihood
        assert found["second"].tobytes() == expected["second"].tobytes()


def test_a_tail_of_few_rows_has_them_all(mixture):
    x = rows_of(mixture, 10)
    assert sorted(_tail(InMemoryRows(x), mixture).indices) == list(range(10))
