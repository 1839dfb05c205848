"""Blocks that are not what their Dask array says of them: refused by their index, in every pass."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse

from daskgmm import GaussianMixture, select
from daskgmm.errors import DataError

N, WRONG = 100, 3
MANY = 60
"""How often a row is repeated for blocks of so many rows that none is joined to another."""


class Foreign:
    """A block that NumPy could convert: what a device's array looks like."""

    shape, dtype, ndim = (N, 2), np.dtype(float), 2

    def __len__(self):
        return N

    def __array__(self, dtype=None, copy=None):
        return np.zeros((N, 2))


BLOCKS = {
    "masked": (lambda b: np.ma.masked_greater(b, 9), "masked array"),
    "sparse": (scipy.sparse.csr_matrix, r"csr_matrix.*map_blocks"),
    "of a device": (lambda b: Foreign(), r"Foreign, not a NumPy array"),
    "data frame": (lambda b: __import__("pandas").DataFrame(b), "DataFrame, not a NumPy array"),
    "objects": (lambda b: b.astype(object), "dtype object where float64"),
    "text": (lambda b: b.astype("U5"), "dtype <U5 where float64"),
    "complex": (lambda b: b + 1j, "dtype complex128 where float64"),
    "dates": (lambda b: b.astype("M8[s]"), r"datetime64\[s\] where float64"),
    "wider": (lambda b: b.astype(np.longdouble), "where float64"),
    "shorter": (lambda b: b[:-1], r"shape \(99, 2\) where \(100, 2\)"),
    "longer": (lambda b: np.concatenate([b, b[:1]]), r"shape \(101, 2\) where \(100, 2\)"),
    "empty": (lambda b: b[:0], r"shape \(0, 2\) where \(100, 2\)"),
    "a column less": (lambda b: b[:, :1], r"shape \(100, 1\) where \(100, 2\)"),
    "a column more": (lambda b: np.column_stack([b, b[:, 0]]), r"\(100, 3\) where \(100, 2\)"),
    "one dimension": (lambda b: b[:, 0], r"shape \(100,\) where \(100, 2\)"),
    "three dimensions": (lambda b: b[None], r"shape \(1, 100, 2\) where \(100, 2\)"),
}


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(3 * N, 2)), rng.normal(size=(3 * N, 2)) + 8])


@pytest.fixture(scope="module")
def fitted(x):
    return GaussianMixture(2, random_state=0).fit(x)


def _array(x, wrong):
    @dask.delayed
    def block(i):
        part = x[i * N : (i + 1) * N]
        return wrong(part) if i == WRONG else part

    parts = [da.from_delayed(block(i), (N, 2), x.dtype) for i in range(len(x) // N)]
    return da.concatenate(parts)


def test_large_blocks_which_are_not_joined_are_refused_as_well(x):
    x = np.repeat(x, MANY, axis=0)
    array = da.from_array(x, chunks=(MANY * N, 2)).map_blocks(
        lambda b, block_id: np.ma.masked_greater(b, 9) if block_id == (WRONG, 0) else b,
        dtype=float,
        meta=np.empty((0, 0)),
    )
    with pytest.raises(DataError, match=f"block {WRONG} of the Dask array is a masked array"):
        GaussianMixture(2).fit(array)


@pytest.mark.parametrize(("wrong", "said"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_that_is_not_as_declared_is_refused_by_its_index(wrong, said, x, fitted):
    array = _array(x, wrong)
    for call in (
        lambda: GaussianMixture(2).fit(array),
        lambda: select(array, [1, 2]),
        lambda: fitted.score(array),
        lambda: fitted.predict(array).compute(),
        lambda: fitted.predict_proba(array).compute(),
    ):
        with pytest.raises(DataError, match=rf"block {WRONG} of the Dask array.*{said}"):
            call()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, bool, ">f8"])
def test_narrower_numbers_than_declared_are_widened(dtype, x, fitted):
    array = _array(x.astype(dtype).astype(float), lambda b: b.astype(dtype))
    plain = x.astype(dtype).astype(float)
    assert fitted.score(array) == pytest.approx(fitted.score(plain), rel=1e-13)
    np.testing.assert_array_equal(fitted.predict(array), fitted.predict(plain))


def test_a_column_chunk_is_named_by_both_indices(x):
    array = da.from_array(x, chunks=(N, 1))
    lying = array.map_blocks(
        lambda b, block_id: np.ma.masked_greater(b, 9) if block_id == (WRONG, 1) else b,
        dtype=float,
        meta=np.empty((0, 0)),
    )
    with pytest.raises(DataError, match=r"block \(3, 1\) of the Dask array is a masked array"):
        GaussianMixture(2).fit(lying)


def test_blocks_of_unknown_length_are_held_to_the_rest(x, fitted):
    frame = __import__("dask.dataframe").dataframe.from_array(x, chunksize=N)
    array = frame.to_dask_array().map_blocks(
        lambda b: np.ma.masked_greater(b, 9), dtype=float, meta=np.empty((0, 0))
    )
    with pytest.raises(DataError, match="is a masked array"):
        fitted.score(array)


def test_weights_in_masked_blocks_are_refused(x):
    weights = da.ones(len(x), chunks=N).map_blocks(
        lambda b: np.ma.masked_equal(b, 1), dtype=float, meta=np.empty(0)
    )
    with pytest.raises(DataError, match="masked array"):
        GaussianMixture(2).fit(x, sample_weight=weights)
