"""Fits: whether this checkout and another one find the same, fit by fit."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..table import Column, Table
from .data import write_data
from .recorded.listed import FITS

__all__ = ["FITS", "TOLERANCE", "CheckoutFailedError", "compared", "fits_table"]

TOLERANCE = 1e-12
"""Largest relative difference of log-likelihoods that counts as none."""

_HERE = Path(__file__).parents[3]
_PARAMETERS = ("weights", "means", "covariances")


class CheckoutFailedError(Exception):
    """The fits could not be run with a checkout; says why."""


def fits_table(peer: Path, names: Sequence[str], say: Callable[[str], None]) -> Table:
    """Run the same fits with this checkout and with another one, and compare what they find.

    Parameters
    ----------
    peer : Path
        Root of the other checkout.
    names : sequence of str
        Of :data:`FITS`.
    say : callable
        Is given a line after each fit.

    Returns
    -------
    Table
        A row for each fit; ``verdict`` is "same", "differs" or "failed".

    Raises
    ------
    CheckoutFailedError
        If there is no daskgmm in the checkout, or the process that runs it dies.
    """
    if not (peer / "daskgmm" / "__init__.py").exists():  # else what is installed would be run
        raise CheckoutFailedError(f"{peer}: has no package daskgmm; name the root of a checkout")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        write_data(data, {FITS[name].data for name in names})
        ours, theirs = (
            _recorded(checkout, data, Path(folder) / side, names, say)
            for side, checkout in (("here", _HERE), ("peer", peer.resolve()))
        )
    rows = [compared(*records) for records in zip(ours, theirs, strict=True)]
    columns = [
        Column("name", "fit"),
        Column("passes", "passes"),
        Column("peer_passes", "peer's"),
        Column("log_likelihood", "log-likelihood per row", "{:.13g}"),
        Column("peer_log_likelihood", "peer's", "{:.13g}"),
        Column("difference", "difference", "{:.1e}"),
        Column("parameters", "parameters", "{:.1e}"),
        Column("verdict", "verdict"),
    ]
    notes = [f"{row['name']}: {reason}" for row in rows for reason in row["reasons"]]
    notes += [
        f"difference is the largest relative one of all log-likelihoods and criteria that a fit "
        f"tells; up to {TOLERANCE:g} is the same. parameters is the largest of weights, means and "
        f"covariances, relative to the largest entry of each",
        f"peer is {peer}, and took {_seconds(theirs):.0f} s for all; here it was "
        f"{_seconds(ours):.0f} s",
    ]
    return Table("The same fits by two checkouts", columns, rows, notes)


def _seconds(records: list[dict[str, Any]]) -> float:
    return sum(record["seconds"] for record in records)


def _recorded(
    checkout: Path, data: Path, own: Path, names: Sequence[str], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """What the fits find with the package of a checkout, in a process of its own."""
    own.mkdir()
    path = os.pathsep.join((str(checkout), str(Path(__file__).parent)))  # the latter: recorded
    environment = dict(os.environ, PYTHONPATH=path, PYTHONSAFEPATH="1")
    command = [sys.executable, "-m", "recorded", str(data), str(own), *names]
    records = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=own, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                records.append(json.loads(line))
                say(f"{own.name}: {records[-1]['name']}, {records[-1]['seconds']:.1f} s")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise CheckoutFailedError(
            f"{checkout}: the fits ended with exit status {process.returncode}; see above"
        )
    return records


def compared(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Compare two records of one fit.

    Parameters
    ----------
    ours, theirs : dict
        As ``recorded`` prints them: ``name``, ``seconds``, and either ``error`` or
        ``passes``, ``log_likelihoods`` (the first is shown), ``facts``, ``weights``, ``means``
        and ``covariances``.

    Returns
    -------
    dict
        A row of the table; ``reasons`` says why the verdict is not "same".
    """
    row: dict[str, Any] = {"name": ours["name"], "verdict": "failed", "reasons": []}
    for whose, record in (("", ours), ("peer's: ", theirs)):
        if "error" in record:
            row["reasons"].append(f"{whose}{record['error']}")
    if row["reasons"]:
        return row
    row |= {
        "passes": ours["passes"],
        "peer_passes": theirs["passes"],
        "log_likelihood": ours["log_likelihoods"][0],
        "peer_log_likelihood": theirs["log_likelihoods"][0],
        "difference": _largest_difference(ours["log_likelihoods"], theirs["log_likelihoods"]),
        "facts": ours["facts"],
        "parameters": max(_scaled_difference(ours[name], theirs[name]) for name in _PARAMETERS),
    }
    if row["passes"] != row["peer_passes"]:
        row["reasons"].append(f"{row['passes']} passes, peer's {row['peer_passes']}")
    if not row["difference"] <= TOLERANCE:  # NaN is no agreement
        row["reasons"].append(f"log-likelihoods differ by {row['difference']:.1e}, relative")
    for fact in sorted({*ours["facts"], *theirs["facts"]}):
        one, other = ours["facts"].get(fact), theirs["facts"].get(fact)
        if one != other:
            row["reasons"].append(f"{fact} is {one}, peer's {other}")
    row["verdict"] = "differs" if row["reasons"] else "same"
    return row


def _largest_difference(ours: list[float], theirs: list[float]) -> float:
    """Of numbers one by one, relative to the larger; infinite if one has more of them."""
    if len(ours) != len(theirs):
        return math.inf
    a, b = np.array(ours), np.array(theirs)
    apart = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(float).tiny)
    return float(apart.max())


def _scaled_difference(ours: list[Any], theirs: list[Any]) -> float:
    """Of two arrays, relative to the largest entry; infinite if their shapes differ."""
    a, b = np.array(ours), np.array(theirs)
    if a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(float).tiny))
