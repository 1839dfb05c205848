"""Environments: a virtual environment for each peer, outside the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from .peers import Peer

__all__ = ["CACHE", "EnvironmentFailedError", "pythons_of"]

CACHE = Path("~/.cache/daskgmm-benchmarks").expanduser()


class EnvironmentFailedError(Exception):
    """A peer's environment could not be made; says why."""


def pythons_of(
    peers: Iterable[Peer], cache: Path, *, here: bool
) -> tuple[dict[str, Path], dict[str, str]]:
    """The interpreter that runs each peer.

    Parameters
    ----------
    peers : iterable of Peer
    cache : Path
        Holds the environments, made where they are not there yet.
    here : bool
        Whether to use the current environment for all, and make none.

    Returns
    -------
    pythons : dict
        By the peer's name.
    reasons : dict
        Why the others have none.
    """
    pythons, reasons = {}, {}
    for peer in peers:
        try:
            own = here or peer.environment is None
            pythons[peer.name] = Path(sys.executable) if own else _made(peer, cache)
        except EnvironmentFailedError as error:
            reasons[peer.name] = str(error)
    return pythons, reasons


def _made(peer: Peer, cache: Path) -> Path:
    folder = cache / peer.environment
    python = folder / "bin" / "python"
    # Written last: an environment without it was interrupted, or is of other packages.
    receipt = folder / "installed.json"
    installs = [list(packages) for packages in peer.installs]
    if receipt.exists() and json.loads(receipt.read_text()) == installs:
        return python
    click.echo(f"making the environment of {peer.name} in {folder}", err=True)
    _run(peer, [sys.executable, "-m", "venv", "--clear", str(folder)])
    for packages in installs:
        _run(peer, [str(python), "-m", "pip", "install", "--quiet", *packages])
    receipt.write_text(json.dumps(installs))
    return python


def _run(peer: Peer, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise EnvironmentFailedError(f"{' '.join(command[1:])}: {errors[0]}")
