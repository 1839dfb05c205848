"""Advice of errors in places behind a URL: object stores, and servers that do not answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from following import X, fit, found_in, stored

from daskgmm import load_model, open_rows
from daskgmm.errors import DaskGMMError

pytestmark = [
    pytest.mark.slow,  # waits for servers that do not answer
    pytest.mark.filterwarnings("ignore:.*trying again for up to"),
]


def refusal(function: Callable[[str], object], place: str) -> str:
    with pytest.raises(DaskGMMError) as caught:
        function(place)
    return str(caught.value)


class Server(ThreadingHTTPServer):
    """A server of the files in a folder."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), partial(Quiet, directory=str(folder)))
        self.port = self.server_address[1]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: standard error is the tests'."""


def test_a_server_that_comes_late_is_waited_for_as_long_as_the_variable_says(tmp_path, monkeypatch):
    stored(tmp_path)
    with Server(tmp_path) as server:
        port = server.port
    place = f"http://127.0.0.1:{port}/x.zarr"
    monkeypatch.setenv("DASKGMM_STORAGE_TIMEOUT", "0.2")
    said = found_in(
        refusal(open_rows, place), r"no answer for 0\.2 s .* wait longer by (\w+)=SECONDS in the"
    )
    monkeypatch.setenv(said[1], "60")

    def serve() -> None:
        time.sleep(0.6)  # longer than was waited before
        with Server(tmp_path, port) as late:
            servers.append(late)
            late.serve_forever(poll_interval=0.02)

    servers: list[Server] = []
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        assert open_rows(place).shape == X.shape
    finally:
        thread.join(0.6)
        for server in servers:
            server.shutdown()
        thread.join()


def test_seconds_that_are_none_are_a_number_above_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("DASKGMM_STORAGE_TIMEOUT", "soon")
    said = found_in(
        refusal(open_rows, "http://127.0.0.1:9/x.zarr"),
        r"(DASKGMM_STORAGE_TIMEOUT) must be a number of seconds above (\d+); got",
    )
    monkeypatch.setenv(said[1], str(float(said[2]) + 0.1))
    assert said[1] not in refusal(open_rows, "http://127.0.0.1:9/x.zarr").partition(";")[0]


def test_credentials_are_held_by_the_variables_that_are_named(bucket, monkeypatch):
    place = f"{bucket}/m.zarr"
    secret = place.replace("s3://", "s3://key:secret@")
    said = found_in(
        refusal(fit(X).save, secret), r"let the environment hold credentials \((AWS_\w+), "
    )
    assert said[1] in os.environ  # by the fixture
    fit(X).save(place)
    assert load_model(place).n_components == 1


def test_a_bucket_that_is_created_can_be_written_to(bucket):
    said = found_in(
        refusal(fit(X).save, f"{bucket}-too/m.zarr"),
        r"the bucket or folder of (\S+) does not exist; create it first",
    )
    fsspec.filesystem("s3").mkdir(said[1].rpartition("/")[0])
    fit(X).save(said[1])
    assert load_model(said[1]).n_components == 1
