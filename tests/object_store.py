"""An object store to test against: moto's S3 in a process of its own, on loopback."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

KEY, SECRET = "AKIAFORTESTSONLY", "verysecretaccesskey/of+the+tests"
PAGE = 50
"""Objects that a listing gives at once; 1000 on S3."""
_SERVER = Path(__file__).with_name("s3_server.py")
_REQUEST = re.compile(
    r'"(?:\x1b\[[\d;]*m)*(?P<method>[A-Z]+) /(?P<path>[^ "]*) HTTP/[^"]*" (?P<status>\d+)'
)


class Request(NamedTuple):
    """A request that the server answered."""

    method: str
    path: str
    status: int


@dataclass
class ObjectStore:
    """A running server; what it holds goes with it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    _names: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, folder: Path) -> Self:
        """Start a server that logs its requests into ``folder``."""
        port = free_port()
        log = folder / "requests.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", str(_SERVER), "-H", "127.0.0.1", "-p", str(port)],
                stdout=file,
                stderr=file,
                env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
            )
        store = cls(process, port, log)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                store._call("moto-api/data.json")
            except OSError:
                time.sleep(0.05)
            else:
                return store
        raise RuntimeError(f"moto's server did not start: {log.read_text()}")

    def stop(self) -> None:
        """End the server, even one that is paused."""
        self.process.kill()
        self.process.wait()

    def _call(self, path: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}", body, {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=5):
            pass

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to work there."""
        return environment(self.port)

    def bucket(self) -> str:
        """The URL of a new bucket."""
        name = f"bucket-{next(self._names)}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=5):
            return f"s3://{name}"

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are accepted by the kernel, and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def with_authentication(self) -> Iterator[None]:
        """Keys are checked, and none is known."""
        self._call("moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self._call("moto-api/reset-auth", b"inf")

    @contextmanager
    def requests(self) -> Iterator[list[Request]]:
        """Filled, at the end, with what was answered meanwhile."""
        start = self.log.stat().st_size
        found: list[Request] = []
        yield found
        with self.log.open() as file:
            file.seek(start)
            text = file.read()
        found += (
            Request(match["method"], match["path"], int(match["status"]))
            for match in _REQUEST.finditer(text)
        )


def environment(port: int) -> dict[str, str]:
    """Environment variables of an S3 service on loopback."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        # No files of whoever runs the tests, and no question to 169.254.169.254.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
