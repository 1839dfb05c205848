"""The command's first seconds, which go into imports, and its last: signals are heard then, too."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from daskgmm.log_format import asks_for_json


def main() -> None:
    """Run the command; :mod:`daskgmm.cli` hears signals by itself, once it is there."""
    _have_standard_files()
    atexit.register(_leave_in_peace)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for `command &`
            signal.signal(number, _end)
    from daskgmm.cli import main as command

    command()


def _have_standard_files() -> None:
    """Put the null device where standard input, output or error are closed (``2>&-``).

    Python has None for such a stream. And the next file to be opened would have its number, so
    that messages would be written into data.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _leave_in_peace() -> None:
    """Have nothing spoil the status while Python takes itself down: it is known.

    A signal would; and what a full disk or a broken pipe did not take, when it is tried again.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for file, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), file)


def _end(*_: Any) -> None:
    """End at once, and not by an exception, which the module being imported might catch."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        status, message = 75, "interrupted; run the same command again to go on"
    elif any(a.partition("=")[0] == "--checkpoint" for a in arguments):
        status, message = 75, "interrupted; run the same command again with --resume to go on"
    else:
        status, message = 1, "interrupted; no output was left half written"
    text = f"Error: {message}"
    if asks_for_json(arguments):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": "error", "event": "failed", "message": message}
        text = json.dumps({**line, "status": status, "traceback": None})
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
    os._exit(status)


if __name__ == "__main__":
    main()
