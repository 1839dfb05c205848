"""Calls of an object store: tried again, ended clearly, and no secrets on the way.

Asserted with s3fs against moto's server, and faults put in between by a proxy. The
same code serves GCS and Azure, whose services are not at hand here.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import sys
import time
from itertools import pairwise

import cloudpickle
import fsspec
import numpy as np
import pytest
import zarr
from dask.callbacks import Callback
from faulty_proxy import faulty_proxy
from object_store import KEY, PAGE, SECRET, free_port
from zarr.storage import FsspecStore

from daskgmm.errors import (
    DaskGMMWarning,
    DataError,
    IntegrityWarning,
    MissingDependencyError,
    NotFoundError,
    ParameterError,
    StorageError,
)
from daskgmm.execution import MixtureSize, Work
from daskgmm.settings import TIMEOUT_VARIABLE
from daskgmm.storage import (
    Location,
    ResultArray,
    RowAxes,
    RowOutput,
    open_source,
    preflight,
)
from daskgmm.storage.places.patience import Tries, storage_timeout
from daskgmm.storage.places.remote import RemoteFileSystem
from daskgmm.tables import open_input

LABELS = {"labels": ResultArray(np.dtype("i4"), -2)}

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
)


def remote(port: int, timeout: float) -> RemoteFileSystem:
    """A file system on a port, with short timeouts of its own."""
    fs = fsspec.filesystem(
        "s3",
        asynchronous=True,
        endpoint_url=f"http://127.0.0.1:{port}",
        max_concurrency=1,
        config_kwargs={"read_timeout": 0.3, "retries": {"total_max_attempts": 1}},
    )
    return RemoteFileSystem(fs, timeout, is_own=True)


def close(handler):
    handler.close_connection = True
    handler.connection.close()
    return True


def truncate(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")
    return close(handler)


def answer(status, body=b""):
    def fault(handler):
        handler.answer(status, body)
        return True

    return fault


def say_nothing(handler):
    time.sleep(0.5)
    return close(handler)


FAULTS = {
    "reset": close,
    "truncated": truncate,
    "silent": say_nothing,
    "slow-down": answer(503, SLOW_DOWN),
    "internal": answer(500),
    "too-many": answer(429),
}


@pytest.fixture(params=FAULTS)
def fault(request):
    return FAULTS[request.param]


def twice_of_three(fault):
    """Two requests fail, the third works, and so on."""
    count = itertools.count()
    return lambda handler: next(count) % 3 < 2 and fault(handler)


@pytest.fixture
def path(bucket):
    path = f"{bucket.removeprefix('s3://')}/object"
    Location.parse(bucket).filesystem()[0].pipe_file(path, b"value")
    return path


def test_writes_and_reads_are_tried_again(object_store, path, fault):
    with faulty_proxy(object_store.port, twice_of_three(fault)) as port:
        fs = remote(port, timeout=20)
        with pytest.warns(DaskGMMWarning, match="gives no answer .* for up to 20 s") as told:
            fs.pipe_file(path, b"other")
        assert len(told) == 1
        with pytest.warns(DaskGMMWarning, match="gives no answer"):
            assert fs.cat_file(path) == b"other"


def test_the_end_is_clear_and_in_time(object_store, path, fault):
    tried = []

    def noted(handler):
        tried.append(handler.path)
        return fault(handler)

    with faulty_proxy(object_store.port, noted) as port:
        fs = remote(port, timeout=1)
        began = time.monotonic()
        with (
            pytest.warns(DaskGMMWarning, match="gives no answer"),
            pytest.raises(StorageError, match=rf"s3://{path}: no answer for 1 s \(") as caught,
        ):
            fs.cat_file(path)
        assert 0.3 < time.monotonic() - began < 30
        assert TIMEOUT_VARIABLE in str(caught.value)
        # Who cleans up after that is not kept waiting as well: it is tried once.
        n_first = len(tried)
        with pytest.raises(StorageError, match="no answer"):
            fs.cat_file(path)
        assert 2 * (len(tried) - n_first) <= n_first
    remote(object_store.port, 1).cat_file(path)


def test_nobody_there_is_an_end_as_well(path):
    fs = remote(free_port(), timeout=1)
    with (
        pytest.warns(DaskGMMWarning, match="Could not connect"),
        pytest.raises(StorageError, match="no answer for 1 s"),
    ):
        fs.cat_file(path)


@pytest.mark.parametrize("status", [400, 401, 403, 416])
def test_what_will_not_change_is_not_tried_again(object_store, path, status):
    counted = []

    def fault(handler):
        counted.append(handler.path)
        handler.answer(status)
        return True

    with faulty_proxy(object_store.port, fault) as port:
        with pytest.raises(StorageError) as caught:
            remote(port, timeout=60).cat_file(path)
        assert len(counted) == 1
    assert "; check " in str(caught.value)
    denied = "access denied" in str(caught.value) and "AWS_ACCESS_KEY_ID" in str(caught.value)
    assert denied == (status in (401, 403))
    assert f"s3://{path}" in str(caught.value)


def test_copies_that_are_denied_say_how_to_get_in(object_store, path):
    """Many are made at once, and an output is shown by them: one line says why it is not."""

    def fault(handler):
        if not handler.headers.get("x-amz-copy-source"):
            return False
        handler.answer(403)
        return True

    with faulty_proxy(object_store.port, fault) as port:
        pairs = [(path, f"{path}-{i}") for i in range(5)]
        with pytest.raises(StorageError, match=r"access denied .* check AWS_ACCESS_KEY_ID"):
            remote(port, timeout=60).copy_all(pairs)


def test_what_is_not_there_is_told_as_it_is(object_store, path):
    with pytest.raises(FileNotFoundError) as caught:
        remote(object_store.port, 60).cat_file(path + "-none")
    assert not isinstance(caught.value, StorageError)


def test_waits_double_up_to_a_limit_and_are_scattered():
    tries = Tries("somewhere", 60)
    with pytest.warns(DaskGMMWarning, match="an object gives no answer"):
        waits = [tries.failed("an object", OSError("away")) for _ in range(20)]
    assert all(0.125 <= wait <= 10 for wait in waits)
    assert sum(waits[:5]) < 8
    assert all(later > 0.9 * former for former, later in pairwise(waits[:5]))
    assert len({round(wait, 6) for wait in waits[10:]}) > 5


def test_an_interrupted_copy_does_not_go_on(object_store, path):
    """Ctrl-C during a commit: what is removed then must not come back."""
    fs = remote(object_store.port, 60)
    began, ended = asyncio.Event(), []

    async def copy(source, target):
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(target)

    fs._fs._cp_file = copy
    with pytest.MonkeyPatch.context() as patch:
        from daskgmm.storage.places import remote as module

        def sync(coroutine):
            """As if SIGINT came while the main thread waits for the copies."""
            if coroutine.__name__ == "result":
                coroutine.close()
                zarr.core.sync.sync(began.wait())
                raise KeyboardInterrupt
            return zarr.core.sync.sync(coroutine)

        patch.setattr(module, "sync", sync)
        with pytest.raises(KeyboardInterrupt):
            fs.copy_all([(path, f"{path}-1"), (path, f"{path}-2")])
    assert sorted(ended) == [f"{path}-1", f"{path}-2"]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_the_timeout_is_checked(monkeypatch, text):
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    with pytest.raises(ParameterError, match=f"{TIMEOUT_VARIABLE} must be .* got '{text}'"):
        storage_timeout()


def test_the_timeout_is_a_minute_or_as_told(monkeypatch):
    monkeypatch.delenv(TIMEOUT_VARIABLE, raising=False)
    assert storage_timeout() == 60
    monkeypatch.setenv(TIMEOUT_VARIABLE, "2.5")
    fs, _ = Location.parse("s3://bucket/x").filesystem()
    assert fs._timeout == 2.5
    assert pickle.loads(pickle.dumps(fs))._timeout == 2.5


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setitem(sys.modules, "adlfs", None)
    for scheme, extra in (("gs", "gs"), ("gcs", "gs"), ("az", "az"), ("abfs", "az")):
        with pytest.raises(MissingDependencyError, match=rf"pip install 'daskgmm\[{extra}\]'"):
            open_source(f"{scheme}://bucket/x.zarr")


def test_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(NotFoundError, match=f"{bucket}-none/x.zarr"):
        open_source(f"{bucket}-none/x.zarr")
    with pytest.raises(NotFoundError, match=rf"bucket .* of {bucket}-none/x.zarr does not exist"):
        RowOutput.create(f"{bucket}-none/x.zarr", RowAxes((1,)), LABELS, partition_rows=1)


def test_a_npy_file_must_be_local(bucket):
    with pytest.raises(DataError, match="must be local; copy it here, or convert it to Zarr"):
        open_source(f"{bucket}/x.npy")


def opened_with_secrets(bucket, object_store, x):
    """An array that a user opened with credentials in storage options."""
    store = FsspecStore.from_url(
        f"{bucket}/x.zarr",
        storage_options={
            "key": KEY,
            "secret": SECRET,
            "client_kwargs": {
                "endpoint_url": object_store.environment["AWS_ENDPOINT_URL"],
                "aws_session_token": SECRET,
            },
        },
    )
    array = zarr.create_array(store, shape=x.shape, dtype=x.dtype, chunks=(10, 5))
    array[:] = x
    return array


def graph_of_fold(data, monkeypatch) -> bytes:
    """All that a fold gives to Dask, pickled."""
    from daskgmm.execution.scheduler import Scheduler

    graphs = []

    def keep(self, task, *_, **__):
        graphs.append(cloudpickle.dumps(task))
        raise InterruptedError

    monkeypatch.setattr(Scheduler, "compute", keep)
    opened = open_input(data, Work((MixtureSize("full", 2),)))
    with pytest.raises(InterruptedError), Callback():  # which sees the graph that clusters get
        opened.rows.fold(np.add)
    return graphs[0]


@pytest.mark.filterwarnings(f"ignore::{IntegrityWarning.__module__}.IntegrityWarning")
@pytest.mark.parametrize("how", ["url", "options", "fsspec-configuration"])
def test_no_secret_is_in_a_graph(how, bucket, object_store, x, monkeypatch):
    data = opened_with_secrets(bucket, object_store, x)
    assert SECRET.encode() in pickle.dumps(data)  # this is what zarr itself does
    if how != "options":
        data = f"{bucket}/x.zarr"
    if how == "fsspec-configuration":
        monkeypatch.setitem(fsspec.config.conf, "s3", {"key": KEY, "secret": SECRET})
    graph = graph_of_fold(data, monkeypatch)
    assert SECRET.encode() not in graph
    assert KEY.encode() not in graph
    assert bucket.removeprefix("s3://").encode() in graph


def test_a_source_opened_with_secrets_travels_and_reads_by_the_environment(bucket, object_store, x):
    source = open_source(opened_with_secrets(bucket, object_store, x))
    travelled = pickle.dumps(source)
    assert SECRET.encode() not in travelled
    np.testing.assert_array_equal(pickle.loads(travelled).read(3, 40), x[3:40])


def test_a_writer_travels_without_secrets(bucket, monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "s3", {"key": KEY, "secret": SECRET})
    output = RowOutput.create(f"{bucket}/y.zarr", RowAxes((10,)), LABELS, partition_rows=10)
    travelled = pickle.dumps(output.writer)
    assert SECRET.encode() not in travelled
    pickle.loads(travelled).write(0, {"labels": np.arange(10, dtype="i4")})
    output.commit()
    assert zarr.open_array(f"{bucket}/y.zarr/labels", mode="r")[3] == 3


def test_a_pass_asks_once_for_each_chunk(bucket, object_store, x):
    zarr.create_array(f"{bucket}/x.zarr", data=x, chunks=(4, 5))
    source = open_source(f"{bucket}/x.zarr")
    with object_store.requests() as found:
        source.read(0, len(x))
    assert {request.method for request in found} == {"GET"}
    assert len(found) == len({request.path for request in found}) == 26


def test_a_preflight_is_a_listing(bucket, object_store):
    n_chunks = 2 * PAGE + 1
    array = zarr.create_array(f"{bucket}/x.zarr", shape=(n_chunks, 1), chunks=(1, 1), dtype="f4")
    array[:] = np.ones((n_chunks, 1))
    source = open_source(f"{bucket}/x.zarr")
    with object_store.requests() as found, pytest.warns(IntegrityWarning):
        assert preflight(source).n_missing_chunks == 0
    assert [request.path.partition("?")[0] for request in found] == [bucket[5:]] * 3
