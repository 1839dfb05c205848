"""Findings: what a fitted model found, and how far to trust it, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from daskgmm.em import (
    STOP_REASONS,
    said_of_contradicted,
    said_of_far_values,
    said_of_thin,
    said_of_wide,
)
from daskgmm.estimator import GaussianMixture
from daskgmm.events import duration, size_of
from daskgmm.plot import ResponsibilitiesDisplay
from daskgmm.plot.drawing import number, share
from daskgmm.plot.subject import Subject
from daskgmm.settings import OPTIONS
from daskgmm.storage import ParquetSource
from daskgmm.telling import passes

__all__ = ["doubts", "doubts_of_rows", "facts", "found", "settings", "trust"]

_FEW_ROWS = 10
"""Rows for each free parameter below which it is said that there are few."""
_UNLIKE = 1.0
"""Nats per row below the fit's from which on rows are not like those of the fit."""
_OVERLAPS = 0.25
"""Mean probability of another component above which two overlap."""


def found(model: GaussianMixture) -> str:
    """What was found, in a sentence."""
    mixture = model._mixture
    k, d = mixture.n_components, model.n_features_in_
    said = f"{k} {mixture.kind} component{'s' * (k != 1)} in {d} feature{'s' * (d != 1)}" + (
        " and noise" if mixture.noise is not None else ""
    )
    n_rows, n_passes = (getattr(model, name, None) for name in ("n_rows_", "n_passes_"))
    if n_rows is None or n_passes is None:
        return f"{said}, of parameters that were found elsewhere."
    return f"{said}, fitted to {n_rows:,} rows in {passes(n_passes)} over them."


def trust(doubted: list[str]) -> str:
    """How far to trust it, in a sentence."""
    if not doubted:
        return "Nothing that can be told from the fit speaks against it."
    n = len(doubted)
    return f"{n} thing{'s' * (n > 1)} should be known before it is relied upon."


def doubts(model: GaussianMixture, sharpness: ResponsibilitiesDisplay | None) -> list[str]:
    """What speaks against relying on a model, or on its labels, a sentence each."""
    said = [*_of_the_fit(model)]
    if sharpness is not None:
        said += _of_the_labels(sharpness)
    return said


def doubts_of_rows(model: GaussianMixture, mean: float) -> list[str]:
    """What speaks against holding a model against rows of such a log-likelihood per row."""
    of_fit = getattr(model, "lower_bound_", None)
    if of_fit is None or mean > of_fit + getattr(model, "penalty_", 0.0) - _UNLIKE:
        return []
    return [
        f"The rows of this report have a log-likelihood of {mean:.6g} nats per row, where those of the "
        f"fit had {of_fit + getattr(model, 'penalty_', 0.0):.6g}: the model is not one of such rows."
    ]


def _of_the_fit(model: GaussianMixture) -> list[str]:
    said = []
    if getattr(model, "converged_", None) is False:
        left = model.remaining_gain_
        much = f"about {left:.2g} nats per row were left to gain" if left is not None else ""
        reason = STOP_REASONS.get(str(model.stop_reason_), str(model.stop_reason_))
        said.append(f"The fit has not converged: {reason}{'; ' * bool(much)}{much}.")
    thin = getattr(model, "thin_components_", None) or ()
    if thin:
        said.append(
            f"{said_of_thin(thin, model._mixture.n_components)}: they come from chance or from "
            "outliers rather than from clusters."
        )
    if blurred := model._blurred:
        said.append(f"{blurred[0].upper()}{blurred[1:]}.")
    names = getattr(model, "feature_names_in_", None)
    if far := said_of_far_values(getattr(model, "far_values_", None) or (), names):
        said.append(f"{far[0].upper()}{far[1:]}." if names is None else f"{far}.")
    contradicted = getattr(model, "contradicted_labels_", None) or ()
    if contradicted:
        said.append(f"{said_of_contradicted(contradicted)}.")
    if wide := said_of_wide(model._mixture, Subject.of(model).names, model.missing):
        said.append(f"{wide[0].upper()}{wide[1:]}.")
    n_rows, n_parameters = getattr(model, "n_rows_", None), model._n_parameters()
    if n_rows is not None and n_rows < _FEW_ROWS * n_parameters:
        said.append(f"{n_rows:,} rows are few for {n_parameters:,} free parameters.")
    note = (getattr(model, "selection_", None) or {}).get("note")
    if note:
        first, blank, rest = note.partition(" ")
        first = first.upper() if first in ("bic", "aic", "icl") else first.capitalize()
        said.append(f"{first}{blank}{rest}.")
    return said


def _of_the_labels(sharpness: ResponsibilitiesDisplay) -> list[str]:
    said = []
    if sharpness.sure < 0.5:
        said.append(
            f"Only {share(sharpness.sure)} of {number(sharpness.counted.n_rows)} rows are of their "
            "component with a probability of 0.9 or more: use probabilities rather than labels."
        )
    names, overlap = list(sharpness.classes.values()), np.nan_to_num(sharpness.overlap)
    pairs = []  # each one once, of whichever component is the less sure
    for i, j in combinations(range(len(names)), 2):
        most, one, other = max(
            (overlap[i, j], names[i], names[j]), (overlap[j, i], names[j], names[i])
        )
        if most > _OVERLAPS and "others" not in (one, other):
            pairs.append((most, one, other))
    if pairs:
        most, one, other = max(pairs)
        n_more = len(pairs) - 1
        said.append(
            f"Components {one} and {other} overlap: rows of {one} are of {other} with a mean "
            f"probability of {most:.2g}"
            + (
                f"; so do{'es' * (n_more == 1)} {n_more} other pair{'s' * (n_more > 1)}."
                if n_more
                else "."
            )
        )
    return said


_FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "n_rows": ("rows", "{:,}".format),
    "n_left_out": ("rows left out for their gaps", "{:,}".format),
    "n_passes": ("passes over all rows", "{:,}".format),
    "rows_read": ("rows read", "{:,}".format),
    "n_iter": ("iterations", "{:,}".format),
    "log_likelihood_per_row": ("log-likelihood per row (nats)", "{:.6g}".format),
    "remaining_gain": ("left to gain per row (nats), estimated", "{:.2g}".format),
    "tol": ("tol", "{:.2g}".format),
    "stop_reason": ("stopped because", lambda reason: STOP_REASONS.get(reason, reason)),
    "seconds": ("took", duration),
    "peak_memory_bytes": ("peak memory", size_of),
    "made_with": ("ran on", lambda made: _ran_on(made)),
}
"""Facts of a record, what they are called, and how they are shown."""
_IF_ANY = {"n_left_out"}
"""Facts that are not said where they are 0."""


def _ran_on(made: dict[str, Any]) -> str:
    """Workers and threads of a fit, with the versions of what it ran with."""
    said = []
    if (n_threads := made.get("n_threads")) is not None:
        n_workers = made["n_workers"]
        threads = f"{n_threads} thread{'s' * (n_threads != 1)}"
        workers = f"{n_workers} worker{'s' * (n_workers != 1)} of {threads} in all"
        said.append(workers if n_workers else f"{threads} of one process")
    said += [f"{name} {version}" for name, version in made.get("versions", {}).items()]
    return ", ".join([*said, f"loops {made['loops']}"] if "loops" in made else said)


def facts(model: GaussianMixture, data: Any) -> dict[str, str]:
    """Facts of the run, for people, by what they are called."""
    record = model.record()
    found = {
        label: shown(record[name])
        for name, (label, shown) in _FACTS.items()
        if record.get(name) is not None and (record[name] or name not in _IF_ANY)
    }
    names = getattr(model, "feature_names_in_", None)
    if isinstance(data, ParquetSource) and names is not None:
        data = data.selecting([str(name) for name in names])  # others need not be numbers
    fingerprint = getattr(data, "fingerprint", None)
    if fingerprint is not None:
        of_rows, _, of_writing = str(fingerprint()).partition(" written ")
        found["checksum of the data"] = of_rows
        if of_writing:
            found["checksum of its files' versions"] = of_writing
    return found


def settings(model: GaussianMixture) -> dict[str, str]:
    """Parameters of the fit that are not the defaults, by their names."""
    saved = model.record()["settings"]
    defaults = {option.name: option.default for option in OPTIONS}
    chosen = {"n_components": model.n_components, "covariance_type": model.covariance_type}
    chosen |= {name: value for name, value in saved.items() if value != defaults[name]}
    return {name: str(value) for name, value in chosen.items()}
