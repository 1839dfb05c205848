"""Peers' table: who takes how long for a pass over the same rows, in one run, or why it cannot.

It is the table of the README: one point, a row for each, this project first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .grid import Point
from .machine import described
from .passes import contestants_of, measured_grid
from .peers import PEERS, THIS_PROJECT, Peer
from .table import Column, Table

__all__ = ["BESIDE", "peers_table"]

BESIDE = ("onedal", "sklearn", "mclust", "spark")
"""Those of the README's table."""
_PACKAGES = {"onedal": "daal4py", "sklearn": "scikit-learn", "spark": "pyspark"}
_VERSION = "from importlib.metadata import version; import sys; print(version(sys.argv[1]))"


def peers_table(
    point: Point,
    names: Sequence[str],
    pythons: dict[str, Path],
    reasons: dict[str, str],
    rounds: int,
) -> Table:
    """Seconds of a pass of everybody, from the same start where a peer takes one.

    Parameters
    ----------
    point : Point
    names : sequence of str
        Keys of :data:`PEERS`.
    pythons, reasons : dict
        As of :func:`environments.pythons_of`.
    rounds : int
    """
    peers = [PEERS[name] for name in names]
    found: list[dict[str, Any]] = []
    measured_grid([point], contestants_of(peers, pythons), rounds, found.append)
    (measured,) = found
    rows = [_row(peer, measured, pythons, reasons) for peer in (THIS_PROJECT, *peers)]
    columns = [
        Column("name", "who"),
        Column("version", "version"),
        Column("seconds", "seconds a pass", "{:.3f}"),
        Column("ratio", "ratio", "{:.1f}"),
        Column("agrees", "log-likelihood agrees"),
        Column("why_not", "not to be had"),
    ]
    machine = described()
    notes = [
        f"{point.n_rows:,} rows of {point.n_features} features, {point.n_components} components, "
        f"{point.covariance} covariances, {point.dtype} in memory; {machine['cores']} cores of "
        f"{machine['processor']}; medians of {rounds} rounds in which all take turns",
        "spark has no start that can be given: what it fits is not compared, its passes are",
    ]
    return Table(f"A pass of {THIS_PROJECT.name} and of its peers", columns, rows, notes)


def _row(
    peer: Peer, measured: dict[str, Any], pythons: dict[str, Path], reasons: dict[str, str]
) -> dict[str, Any]:
    name = peer.name
    row: dict[str, Any] = {
        "name": name,
        "why_not": reasons.get(name) or measured["failed"].get(name),
    }
    if name in pythons:
        row["version"] = _version_of(peer, pythons[name])
    if row["why_not"] is None:
        row["seconds"] = measured[f"{name}_seconds"]
        row["ratio"] = measured.get(f"{name}_ratio")
        if peer.takes_start and peer is not THIS_PROJECT:
            row["agrees"] = "NO" if name in measured["disagree"] else "yes"
    return row


def _version_of(peer: Peer, python: Path) -> str | None:
    """Version of what was measured; None where it does not say."""
    command = [str(python), "-c", _VERSION, _PACKAGES.get(peer.name, peer.name)]
    if peer.name == "mclust":
        command = ["Rscript", "--vanilla", "-e", "cat(as.character(packageVersion('mclust')))"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
