"""moto's server with conditional puts one at a time, so that they are atomic as those of S3.

moto looks at what is there and then puts, and serves each request on a thread of its own: of
two writers that expect nothing both could win.
"""

from __future__ import annotations

import threading
from typing import Any

import moto.server

_CONDITIONS = {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}


class AtomicPuts(moto.server.DomainDispatcherApplication):
    """The application that answers requests."""

    one_at_a_time = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one."""
        if environ["REQUEST_METHOD"] == "PUT" and _CONDITIONS & environ.keys():
            with self.one_at_a_time:
                return super().__call__(environ, start_response)
        return super().__call__(environ, start_response)


if __name__ == "__main__":
    moto.server.DomainDispatcherApplication = AtomicPuts
    moto.server.main()
