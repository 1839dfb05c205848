"""Serve one peer: JSON requests on standard input, a line each; replies on standard output.

    python serve.py SCRIPT

The process stays alive between rounds, with its data loaded and its threads started.
Requests, by their ``command``:

load
    ``data``, ``start``, ``covariance``, ``dtype``: see :meth:`Problem.read`.
fit
    ``n_iterations``, ``output``: the fitted parameters go to that .npz file.
pass
    ``n_iterations``: replies ``seconds`` per pass, without setup.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np
from problem import Problem


class Server:
    """Answers requests with one peer's script."""

    def __init__(self, script: ModuleType) -> None:
        self._script = script
        self._problem: Problem | None = None

    def load(self, **where: str) -> dict[str, Any]:
        """Read a problem, in place of the one before."""
        self._problem = None  # so that both are never held at once
        self._problem = Problem.read(**where)
        return {}

    def fit(self, n_iterations: int, output: str) -> dict[str, Any]:
        """Leave the parameters after so many iterations."""
        _, (weights, means, covariances) = self._script.fit(self._problem, n_iterations)
        np.savez(output, weights=weights, means=means, covariances=covariances)
        return {}

    def pass_(self, n_iterations: int) -> dict[str, Any]:
        """Time so many iterations."""
        if not self._script.INCLUDES_SETUP:
            return {"seconds": self._script.fit(self._problem, n_iterations)[0] / n_iterations}
        short = self._script.fit(self._problem, 1)[0]
        long = self._script.fit(self._problem, 1 + n_iterations)[0]
        return {"seconds": (long - short) / n_iterations}


def main() -> None:
    """Serve until standard input ends."""
    # Libraries may print: what they print must not come between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(importlib.import_module(sys.argv[1]))
    commands = {"load": server.load, "fit": server.fit, "pass": server.pass_}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = commands[request.pop("command")](**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
