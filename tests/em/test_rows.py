"""Sums over rows: the tree has the same bits however its terms are grouped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.em.known import Known, KnownRows
from daskgmm.em.mapped import MappedRows, check_complete
from daskgmm.em.missing import RowsWithGaps
from daskgmm.em.rows import InMemoryRows, _guided_runs, fold_block, grain_rows, tree_sum
from daskgmm.kernel import Affine, Block
from daskgmm.testing.rows import RowsTests

TERMS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=70)


class Text(str):
    """A sum that shows its brackets."""

    __slots__ = ()

    def __add__(self, other):
        return Text(f"({self!s}{other!s})")


@given(terms=TERMS, log2=st.integers(0, 6))
def test_grouping_by_a_power_of_two_changes_no_bit(terms, log2):
    size = 2**log2
    groups = [terms[i : i + size] for i in range(0, len(terms), size)]
    assert tree_sum(tree_sum(g) for g in groups) == tree_sum(terms)


@given(terms=TERMS, log2=st.integers(0, 4), fan_in=st.sampled_from([2, 4, 16]))
def test_a_tree_of_trees_is_the_tree(terms, log2, fan_in):
    size = 2**log2
    level = [tree_sum(terms[i : i + size]) for i in range(0, len(terms), size)]
    while len(level) > 1:
        level = [tree_sum(level[i : i + fan_in]) for i in range(0, len(level), fan_in)]
    assert level[0] == tree_sum(terms)


@given(terms=TERMS)
def test_a_tree_is_a_sum(terms):
    exact = float(np.sum(np.array(terms, np.longdouble)))
    # log2(70) roundings of partial sums.
    assert tree_sum(terms) == pytest.approx(exact, abs=7 * 1e-16 * 70e9, rel=1e-13)


@pytest.mark.parametrize(
    ("n", "brackets"),
    [(1, "a"), (2, "(ab)"), (3, "((ab)c)"), (5, "(((ab)(cd))e)"), (7, "(((ab)(cd))((ef)g))")],
)
def test_the_tree_is_fixed_by_position(n, brackets):
    assert tree_sum(Text(c) for c in "abcdefg"[:n]) == brackets


def test_some_groupings_do_change_bits():
    # What the laws above are worth: a chain of the same terms has other bits.
    terms = np.random.default_rng(0).standard_normal(1000).tolist()
    assert sum(terms) != tree_sum(terms)


def test_no_terms_have_no_sum():
    with pytest.raises(ValueError, match="no block"):
        tree_sum([])


@given(
    n_features=st.integers(1, 3000),
    unit_rows=st.integers(1, 10**6),
)
def test_a_grain_is_a_power_of_two_of_units(n_features, unit_rows):
    grain = grain_rows(n_features, unit_rows)
    doublings = grain // unit_rows
    assert grain == unit_rows * doublings
    assert doublings & (doublings - 1) == 0
    # No more doublings than it takes to reach 65,536 rows or 2 MiB.
    if doublings > 1:
        assert grain // 2 < 2**16
        assert grain // 2 * 8 * n_features < 2**21


class TestInMemoryRows(RowsTests):
    @pytest.fixture
    def made(self):
        return lambda x, weight: [
            InMemoryRows(x, self.grain, n_threads, weight) for n_threads in (1, 2, 3, 8)
        ]


def test_a_block_without_rows_is_one_empty_grain():
    empty = Block(np.zeros((0, 2)), start=7)
    assert fold_block(empty, 10, lambda block: [(block.start, len(block))], ()) == [(7, 0)]


@pytest.mark.parametrize("n_threads", [1, 2, 3, 16])
def test_runs_of_grains_follow_each_other_and_are_aligned(n_threads):
    for n_grains in range(1, 300):
        runs = list(_guided_runs(n_grains, n_threads))
        after = [0, *(first + 2**level for level, first in runs)]
        assert [first for _, first in runs] == after[:-1]
        assert after[-1] == n_grains
        assert all(first % 2**level == 0 for level, first in runs)
        assert len(runs) <= 2 * n_threads * (1 + n_grains.bit_length())


@pytest.mark.parametrize("n_grains", [5, 31, 64, 77])
def test_sums_of_runs_have_the_brackets_of_single_grains(n_grains):
    rows = [InMemoryRows(np.zeros((n_grains, 1)), 1, threads) for threads in (1, 2, 5)]
    one, *others = [r.fold(lambda block: Text(f"{block.start};")) for r in rows]
    assert others == [one, one]


class TestMappedRows(RowsTests):
    """Rows that a map leaves as they are; an affine one is tested beside its arithmetic."""

    @pytest.fixture
    def made(self):
        def rows(x, weight):
            nothing = Affine(np.zeros(x.shape[1]), np.ones(x.shape[1]))
            return [MappedRows(InMemoryRows(x, self.grain, weight=weight), nothing, check_complete)]

        return rows


class TestKnownRows(RowsTests):
    """Rows of which the components of none are known; what labels change is tested elsewhere."""

    @pytest.fixture
    def made(self):
        def rows(x, weight):
            known = Known(len(x), np.empty(0, np.int64), np.empty(0, np.int64))
            plain = InMemoryRows(x, self.grain, weight=weight)
            return [KnownRows(plain, known), RowsWithGaps(KnownRows(plain, known))]

        return rows


class TestRowsWithGaps(RowsTests):
    """Rows that could have gaps and have none."""

    @pytest.fixture
    def made(self):
        return lambda x, weight: [
            RowsWithGaps(InMemoryRows(x, self.grain, weight=weight), missing)
            for missing in ("drop", "em")
        ]
