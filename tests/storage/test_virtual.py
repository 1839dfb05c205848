"""Virtual and versioned stores, with the real libraries: rows and fits are those of the file."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from daskgmm import GaussianMixture, open_rows
from daskgmm.errors import DataError

X = np.random.default_rng(0).normal(size=(3000, 3))
X[::3] += 6.0

# They import each other's parts with warnings of their own, and write a log; so they are imported
# in the tests, where the warnings may be.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def hdf5(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(700, 3))
    return tmp_path / "x.h5"


def _kerchunk(hdf5):
    """A file of references, by its URL."""
    from kerchunk import hdf

    references = hdf5.with_suffix(".json")
    references.write_text(json.dumps(hdf.SingleHdf5ToZarr(str(hdf5)).translate()))
    return f"reference://x::{references}"


def _virtualizarr(hdf5):
    """The manifest that a parser makes of a file."""
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr.parsers import HDFParser

    files = ObjectStoreRegistry({"file://": LocalStore()})
    manifest = HDFParser()(url=f"file://{hdf5}", registry=files)
    return zarr.open_array(manifest, path="x", mode="r", zarr_format=3)


def _repository(folder):
    import icechunk

    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder / "ice")))
    _commit(repository, X)
    return repository


def _commit(repository, x):
    session = repository.writable_session("main")
    zarr.create_array(session.store, name="x", data=x, chunks=(700, 3), overwrite=True)
    session.commit("rows")


def _icechunk(hdf5):
    session = _repository(hdf5.parent).readonly_session("main")
    return zarr.open_array(session.store, path="x", mode="r")


STORES = {"kerchunk": _kerchunk, "VirtualiZarr": _virtualizarr, "Icechunk": _icechunk}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_a_fit_has_the_bits_of_one_to_the_rows_in_memory(make, hdf5):
    source = open_rows(make(hdf5))
    np.testing.assert_array_equal(source.read(0, len(X)), X)
    assert source.survey().n_missing_chunks == 0
    travelled = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(travelled.read(650, 1500), X[650:1500])
    model = GaussianMixture(2, random_state=0).fit(source)
    np.testing.assert_array_equal(model.means_, GaussianMixture(2, random_state=0).fit(X).means_)


def test_the_snapshot_is_the_fingerprint(tmp_path):
    repository = _repository(tmp_path)

    def rows():
        store = repository.readonly_session("main").store
        return open_rows(zarr.open_array(store, path="x", mode="r"))

    first = rows()
    assert rows().fingerprint() == first.fingerprint()
    assert rows().state() == first.state() is not None
    other = X.copy()
    other[1] += 1.0  # a row that no fingerprint reads
    _commit(repository, other)
    assert rows().fingerprint() != first.fingerprint()
    np.testing.assert_array_equal(first.read(0, 5), X[:5])


def test_a_session_that_may_write_is_for_this_process_alone(tmp_path):
    repository = _repository(tmp_path)
    writable = zarr.open_array(repository.writable_session("main").store, path="x")
    expected = GaussianMixture(2, random_state=0).fit(X).means_
    np.testing.assert_array_equal(GaussianMixture(2, random_state=0).fit(writable).means_, expected)
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, Client(cluster):
        with pytest.raises(DataError, match=r"cannot be sent .* repo\.readonly_session\('main'\)"):
            GaussianMixture(2).fit(writable)
        readable = zarr.open_array(repository.readonly_session("main").store, path="x", mode="r")
        GaussianMixture(2, random_state=0).fit(readable)
