"""The command's first seconds, which go into imports, and its last: signals are heard then, too."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from daskgmm.log_format import asks_for_json


def main() -> None:
    """Run the command; :mod:`daskgmm.cli` hears signals by itself, once it is there."""
    atexit.register(_leave_in_peace)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for `command &`
            signal.signal(number, _end)
    from daskgmm.cli import main as command

    command()


def _leave_in_peace() -> None:
    """Have no signal kill the process while Python takes itself down: its status is known."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


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
    os.write(2, f"{text}\n".encode())
    os._exit(status)


if __name__ == "__main__":
    main()
