"""Metadata that were consolidated are a copy: an array's own count."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from daskgmm.errors import DataError
from daskgmm.storage import open_source

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

X = np.random.default_rng(0).normal(size=(60, 2))


@pytest.fixture(params=[2, 3], ids=["v2", "v3"])
def group(request, tmp_path):
    made = zarr.create_group(tmp_path / "g.zarr", zarr_format=request.param)
    made.create_array("x", data=X[:30], chunks=(10, 2))
    zarr.consolidate_metadata(tmp_path / "g.zarr")
    return zarr.open_group(tmp_path / "g.zarr", mode="r+", use_consolidated=False)


def _opened(path):
    """The same rows in every way to name them."""
    stale = zarr.open_group(path)
    assert stale.metadata.consolidated_metadata is not None
    yield open_source(path)
    yield open_source(path / "x")
    yield open_source(path, member="x")
    yield open_source(stale)
    yield open_source(stale, member="x")
    yield open_source(stale["x"])


def test_rows_that_were_appended_since_are_read(group, tmp_path):
    group["x"].append(X[30:])
    for source in _opened(tmp_path / "g.zarr"):
        np.testing.assert_array_equal(source.read(0, source.shape[0]), X)
        assert source.survey().n_chunks == 6


def test_an_array_that_was_replaced_since_is_read_as_it_is(group, tmp_path):
    y = X.astype(np.float32)[:, :1]
    group.create_array("x", data=y, chunks=(7, 1), overwrite=True)
    for source in _opened(tmp_path / "g.zarr"):
        np.testing.assert_array_equal(source.read(0, source.shape[0]), y)
        assert source.dtype == np.float32


def test_attributes_that_were_written_since_are_heeded(group, tmp_path):
    group["x"].attrs["scale_factor"] = 2.0
    for source in _opened(tmp_path / "g.zarr"):
        np.testing.assert_array_equal(source.read(0, 30), 2.0 * X[:30])


def test_an_array_that_was_added_since_is_a_member(group, tmp_path):
    group.create_array("y", data=X)
    stale = zarr.open_group(tmp_path / "g.zarr")
    for data in (tmp_path / "g.zarr", stale):
        with pytest.raises(DataError, match=r"holds 2 arrays: x .*, y "):
            open_source(data)
    np.testing.assert_array_equal(open_source(stale, member="y").read(0, 60), X)


def test_an_array_that_was_removed_since_is_none(group, tmp_path):
    del group["x"]
    group.create_array("y", data=X)
    assert open_source(tmp_path / "g.zarr").name.endswith("g.zarr/y")
