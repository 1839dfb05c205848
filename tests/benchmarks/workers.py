"""Workers: processes that each serve one contestant, alive between rounds and points."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .machine import on_cores

__all__ = ["Worker", "WorkerFailedError"]

_SERVE = Path(__file__).with_name("peers") / "serve.py"


class WorkerFailedError(Exception):
    """A contestant could not do what was asked; says why."""


class Worker:
    """A process that serves one script of :mod:`tests.benchmarks.peers`.

    One that ended, out of memory perhaps, is started anew by the next request.

    Parameters
    ----------
    script : str
        Name of the module.
    python : Path
        Interpreter of the environment that it needs.
    cores : int, optional
        How many it may use; all by default.
    """

    def __init__(self, script: str, python: Path, cores: int | None = None) -> None:
        self._command = [str(python), str(_SERVE), script]
        self._cores = cores
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Wait for the reply to one request; start the process if there is none.

        Raises
        ------
        WorkerFailedError
            If the contestant failed, or its process ended.
        """
        process = self._started()
        try:
            print(json.dumps({"command": command, **arguments}), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailedError(f"its process ended: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerFailedError(reply["error"])
        return reply

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            with on_cores(self._cores):  # libraries count cores when they are imported
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    text=True,
                )
        return self._process

    def _last_words(self) -> str:
        self._end()
        self._said.seek(0)
        said = self._said.read().strip().splitlines() or ["it said nothing"]
        return said[-1]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(BrokenPipeError):  # what was not read any more
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def close(self) -> None:
        """End the process."""
        self._end()
        self._said.close()
