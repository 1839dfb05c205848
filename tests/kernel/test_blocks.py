"""Blocks: rows that repeat are one row of their weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.kernel import Block, PickedBlock


@given(
    codes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30),
    offset=st.sampled_from([0.0, 1e8]),
)
def test_distinct_rows_are_each_once_where_they_first_come(codes, offset):
    x = np.array(codes, dtype=float) / 7.0 + offset
    once = list(dict.fromkeys(map(tuple, x)))
    block = Block(x).distinct()
    np.testing.assert_array_equal(block.x, once)
    expected = [sum(tuple(row) == one for row in x) for one in once]
    np.testing.assert_array_equal(block.weights, expected)
    again = Block(np.array(once), weight=np.array(expected, dtype=float))
    assert again.distinct() is again


def test_weights_of_rows_that_repeat_are_summed():
    x = np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [-0.0, 0.0]])
    block = Block(x, weight=np.array([0.5, 2.0, 0.25, 4.0])).distinct()
    np.testing.assert_array_equal(block.x, [[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(block.weights, [0.75, 6.0])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_gaps_that_are_few_are_found_once(share):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    x[rng.random(400) < share, 2] = np.nan
    block = Block(x)
    weight = np.arange(400.0)
    marked = block.marked(has_gaps=True, weight=weight)
    assert (marked.has_gaps, marked.weight is weight) == (True, True)
    again = block.marked(has_gaps=False, weight=None)
    if share == 0.0:
        assert marked.gaps is None
    else:
        np.testing.assert_array_equal(marked.gaps.rows, np.flatnonzero(np.isnan(x[:, 2])))
        assert (again.gaps is marked.gaps) == (share < 0.1)  # many take too many bytes to keep
        np.testing.assert_array_equal(again.gaps.rows, marked.gaps.rows)


def test_rows_that_are_picked_are_cut_and_taken_as_copies_are():
    x, weight = np.arange(40.0).reshape(20, 2), np.arange(1.0, 11.0)
    picked = PickedBlock(x, np.arange(0, 20, 2), weight)
    copied = Block(x[::2], weight=weight)
    order = np.array([3, 1, 7])
    for one, other in ((picked[2:5], copied[2:5]), (picked.take(order), copied.take(order))):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.weight, other.weight)
