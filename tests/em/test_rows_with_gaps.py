"""Rows with gaps count for nothing, and no read but the passes finds out which these are."""

from __future__ import annotations

import itertools

import dask
import numpy as np
import pytest
import xarray as xr

from daskgmm import GaussianMixture, select
from daskgmm.em import InMemoryRows, RowsWithGaps
from daskgmm.errors import DataError
from daskgmm.kernel import Block, e_step, gaussian_mixture

SIZES = (6, 50, 40)
DIMS = ("time", "lat", "lon")


@pytest.fixture(scope="module")
def cells():
    """Two features, (n_cells, 2), of two groups; a third of the cells has a gap in one of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(np.prod(SIZES), 2)) + 6 * (rng.random((np.prod(SIZES), 1)) < 0.3)
    x[rng.random(len(x)) < 0.2, 0] = np.nan
    x[rng.random(len(x)) < 0.2, 1] = np.nan
    return x


class _Counted:
    """A grid on Dask in six blocks, of which each computation is counted."""

    def __init__(self, cells):
        self.n_read = itertools.count()
        self.cells = cells.reshape(*SIZES, 2)

    def __call__(self, block):
        if block.size:  # Dask tries the function on none, too
            next(self.n_read)
        return block

    def grid(self):
        lazy = xr.DataArray(self.cells, dims=(*DIMS, "feature"), name="x").chunk({"time": 1})
        lazy.data = lazy.data.map_blocks(self, dtype=float)
        return lazy


def _complete(cells):
    return cells[~np.isnan(cells).any(axis=1)]


def test_a_fold_is_that_of_the_complete_rows_and_accounts_for_all(cells):
    mixture = gaussian_mixture(
        np.array([0.3, 0.7]), np.array([[0.0, 0.0], [6.0, 6.0]]), np.array([np.eye(2)] * 2), "full"
    )
    rng = np.random.default_rng(1)
    for weight in (None, rng.integers(0, 3, len(cells)).astype(float)):
        there = ~np.isnan(cells).any(axis=1)
        expected = e_step(
            Block(cells[there], 0, None if weight is None else weight[there]), mixture
        )
        if weight is not None:
            weight = np.where(there, weight, np.nan)  # of a cell that is missing, as areas may be
        found = RowsWithGaps(InMemoryRows(cells, weight=weight)).fold(e_step, mixture)
        assert (found.n_rows, found.weight) == (len(cells), expected.weight)
        for name, array in expected.sums.items():  # sums of 10^4 terms of order 1 to 10
            np.testing.assert_allclose(found[name], array, rtol=1e-11, atol=1e-9)


def test_each_pass_that_is_counted_reads_every_block_and_nothing_else_reads(cells):
    counted, n_complete = _Counted(cells), len(_complete(cells))
    with dask.config.set(scheduler="synchronous"):
        model = GaussianMixture(2, random_state=0).fit(counted.grid())
        assert next(counted.n_read) == 6 * model.n_passes_
        assert model.rows_read_ == model.n_passes_ * len(cells)
        assert model.n_rows_ == n_complete
        counted = _Counted(cells)
        weights = xr.DataArray(np.ones(SIZES[1]), dims="lat")
        weighted = GaussianMixture(2, random_state=0).fit(counted.grid(), sample_weight=weights)
        assert next(counted.n_read) == 6 * weighted.n_passes_
        counted = _Counted(cells)
        found = model.criteria(counted.grid())
        assert next(counted.n_read) == 6
        assert (found.n_rows, found.weight) == (n_complete, n_complete)
        chosen = select(_Counted(cells).grid(), [1, 2], random_state=0).model
        assert (chosen.n_components, chosen.n_rows_) == (2, n_complete)


def test_what_follows_from_the_number_of_rows_follows_from_that_of_complete_ones(cells):
    lazy = _Counted(cells).grid()
    rows = _complete(cells)
    model = GaussianMixture(2, random_state=0).fit(lazy)
    assert model.tol_ == GaussianMixture(2, random_state=0).fit(rows).tol_
    np.testing.assert_allclose(model.bic(lazy), model.bic(rows), rtol=1e-12)
    for half_life in (None, 5000):
        ours, theirs = (
            GaussianMixture(2, random_state=0).fit(rows).update(new, half_life=half_life)
            for new in (lazy, rows)
        )
        (found,), (expected,) = ours.updates_, theirs.updates_
        assert (found.n_rows, found.weight) == (expected.n_rows, expected.weight)
        assert found.share_kept == expected.share_kept
        assert ours.n_rows_ == theirs.n_rows_ == 2 * len(rows)
        np.testing.assert_allclose(ours.means_, theirs.means_, atol=0.02)


def test_a_complete_cell_without_a_weight_is_refused_in_the_first_pass(cells):
    there = ~np.isnan(cells).any(axis=1)
    weight = np.where(there, 1.0, np.nan)
    lazy = _Counted(cells).grid()
    model = GaussianMixture(1).fit(lazy, sample_weight=weight)
    np.testing.assert_allclose(model.means_[0], _complete(cells).mean(axis=0), rtol=1e-12)
    row = int(np.flatnonzero(there)[777])
    weight[row] = np.nan
    with pytest.raises(DataError, match=f"nan at row {row}, in which no feature is missing"):
        model.fit(lazy, sample_weight=weight)


def test_fewer_complete_rows_than_components_are_refused(cells):
    few = np.full_like(cells, np.nan)
    few[:3] = np.arange(6).reshape(3, 2)
    with pytest.raises(DataError, match=r"n_components=4 must be <= n_samples=3, .* of 12,000"):
        GaussianMixture(4).fit(_Counted(few).grid())
    with pytest.raises(DataError, match="3 rows are too few to try 4 components"):
        select(_Counted(few).grid(), [2, 4])
    with pytest.raises(DataError, match="each of the 12,000 rows has a gap"):
        GaussianMixture(1).fit(_complete(cells)).score(_Counted(few * np.nan).grid())


def test_a_quantile_is_one_of_the_complete_rows(cells):
    lazy, rows = _Counted(cells).grid(), _complete(cells)
    model = GaussianMixture(2, random_state=0).fit(rows)
    found, expected = (model.set_threshold(x, quantile=0.2).threshold_ for x in (lazy, rows))
    assert found.value == pytest.approx(expected.value, rel=1e-12)
