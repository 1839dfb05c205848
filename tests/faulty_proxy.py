"""A proxy in front of an HTTP server, with faults where a test wants them."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Fault = Callable[["Handler"], bool]
"""Given a request before it is passed on; True where it has dealt with it."""

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Handler(BaseHTTPRequestHandler):
    """Passes requests on to a port of loopback, unless the fault deals with them."""

    protocol_version = "HTTP/1.1"
    to_port: int
    fault: Fault

    def _serve(self) -> None:
        body = self._body()
        if type(self).fault(self):
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.to_port)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        if body:
            headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP | {"content-length", "server", "date"}:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        assert "chunked" not in self.headers.get("Transfer-Encoding", "")
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes = b"") -> None:
        """Answer in the server's place."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients here are killed."""


@contextmanager
def faulty_proxy(to_port: int, fault: Fault) -> Iterator[int]:
    """The port of a proxy."""
    handler = type("FaultyHandler", (Handler,), {"to_port": to_port, "fault": staticmethod(fault)})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
