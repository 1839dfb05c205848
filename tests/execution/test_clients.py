"""Distributed clients: fits inside a task, and clients that nobody can wait for."""

from __future__ import annotations

import asyncio

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from daskgmm import GaussianMixture
from daskgmm.errors import ClusterError

X = np.random.default_rng(0).normal(size=(1_000, 2))


def fitted(seed):
    x = da.from_array(X, chunks=(100, 2))
    return float(GaussianMixture(1, random_state=seed).fit(x).lower_bound_)


def scored(seed):
    return float(GaussianMixture(1, random_state=seed).fit(X).score(da.from_array(X, chunks=250)))


@pytest.mark.parametrize("work", [fitted, scored])
def test_fits_inside_tasks_lend_their_threads(work):
    """Two of them on the only thread there is: each waits for passes that it would hold up."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        futures = client.map(work, [0, 1], pure=False)
        found = client.gather(futures, asynchronous=False)
    with dask.config.set(scheduler="synchronous"):
        assert found == [work(0), work(1)]


async def _in_asynchronous_client(function):
    async with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            asynchronous=True,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, asynchronous=True),
    ):
        return await function()


def test_an_asynchronous_client_is_refused_and_the_way_out_works():
    async def work():
        with pytest.raises(ClusterError, match=r"asynchronous.*asyncio\.to_thread"):
            fitted(0)
        return await asyncio.to_thread(fitted, 0)

    found = asyncio.run(_in_asynchronous_client(work))
    with dask.config.set(scheduler="synchronous"):
        assert found == fitted(0)
