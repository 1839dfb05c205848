"""A pool of threads in Dask's configuration runs the passes, or is refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import dask
import dask.array as da
import numpy as np
import pytest

from daskgmm import GaussianMixture
from daskgmm.errors import ClusterError
from daskgmm.execution import in_force

X = da.from_array(np.random.default_rng(0).normal(size=(400, 2)), chunks=(100, 2))


class Counting(ThreadPoolExecutor):
    n_tasks = 0

    def submit(self, *args, **options):
        self.n_tasks += 1
        return super().submit(*args, **options)


def test_the_pool_runs_the_passes_and_is_left_open():
    expected = GaussianMixture(1).fit(X).means_
    with Counting(3) as pool, dask.config.set(pool=pool):
        assert in_force().n_threads == 3
        np.testing.assert_array_equal(GaussianMixture(1).fit(X).means_, expected)
        before = pool.n_tasks
        assert before > 0
        GaussianMixture(1).fit(X)
        assert pool.n_tasks > before


def test_another_pool_is_refused_by_name():
    refused = pytest.raises(ClusterError, match="pool=ThreadPool")
    with ThreadPool(2) as pool, dask.config.set(pool=pool), refused:
        GaussianMixture(1).fit(X)
