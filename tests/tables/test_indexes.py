"""Indexes of weights beside data frames: the same, or refused; never aligned in silence."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from daskgmm import GaussianMixture, select
from daskgmm.errors import DataError

N = 200
PLAIN = {"random_state": 0, "progressive": False}
"""Which weights rows are given is asked here, and not where fits of them begin."""


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 2)) + 8 * (np.arange(N) % 2)[:, None]
    return pd.DataFrame(x, columns=["a", "b"], index=[f"r{i}" for i in range(N)])


@pytest.fixture(scope="module")
def weights(frame):
    return pd.Series(np.arange(N) % 4, index=frame.index)


DOORS = {
    "fit": lambda x, w: GaussianMixture(2, **PLAIN).fit(x, sample_weight=w).means_,
    "select": lambda x, w: select(x, [2], sample_weight=w, **PLAIN).model.means_,
    "score": lambda x, w: _fitted(x).score(x, sample_weight=w),
    "bic": lambda x, w: _fitted(x).bic(x, sample_weight=w),
}


def _fitted(x):
    return GaussianMixture(2, **PLAIN).fit(x)


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_weights_of_the_same_index_count_rows(door, frame, weights):
    expected = door(frame, weights.to_numpy())
    np.testing.assert_array_equal(door(frame, weights), expected)
    np.testing.assert_array_equal(door(frame, weights.to_frame()), expected)
    np.testing.assert_array_equal(door(frame, weights.astype("Int64")), expected)


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_weights_of_another_order_are_refused_with_both_ways_out(door, frame, weights):
    shuffled = weights.sample(frac=1.0, random_state=0)
    with pytest.raises(DataError, match=r"another order.*\.reindex\(X\.index\).*\.to_numpy\(\)"):
        door(frame, shuffled)
    np.testing.assert_array_equal(door(frame, shuffled.reindex(frame.index)), door(frame, weights))


def test_weights_of_another_index_are_refused(frame, weights):
    with pytest.raises(DataError, match=r"another index.*\.to_numpy\(\)"):
        GaussianMixture(2).fit(frame, sample_weight=weights.reset_index(drop=True))
    with pytest.raises(DataError, match="199 weights"):
        GaussianMixture(2).fit(frame, sample_weight=weights[1:])


def test_weights_on_dask_are_held_by_their_divisions(frame, weights):
    x, w = frame.reset_index(drop=True), weights.reset_index(drop=True)
    lazy = dd.from_pandas(x, npartitions=3)
    expected = DOORS["fit"](lazy, w.to_numpy())
    for partitions in (3, 5):
        found = DOORS["fit"](lazy, dd.from_pandas(w, npartitions=partitions))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    shifted = dd.from_pandas(w.set_axis(w.index + 7), npartitions=3)
    with pytest.raises(DataError, match=r"from 7 to 206.*from 0 to 199.*\.to_dask_array\(\)"):
        DOORS["fit"](lazy, shifted)
    found = DOORS["fit"](lazy, shifted.to_dask_array())
    np.testing.assert_allclose(found, expected, rtol=1e-12)
