"""What is public: the objects that have a page, by section, with the names they are imported by."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

SECTIONS = {
    "Mixtures": ("daskgmm.GaussianMixture", "daskgmm.load_model"),
    "Number of components": (
        *("daskgmm.select", "daskgmm.selection.Selection", "daskgmm.selection.Entry"),
    ),
    "Rows": ("daskgmm.open_rows",),
    "Pictures": (
        *("daskgmm.plot.pairs", "daskgmm.plot.ellipses", "daskgmm.plot.components"),
        *("daskgmm.plot.responsibilities", "daskgmm.plot.log_density", "daskgmm.plot.map"),
        *("daskgmm.plot.convergence", "daskgmm.plot.selection", "daskgmm.plot.drawing.Display"),
    ),
    "What fits find": (
        *("daskgmm.history.Iteration", "daskgmm.history.Collapse"),
        *("daskgmm.history.RareComponent", "daskgmm.em.ThinComponent"),
        *("daskgmm.em.ContradictedLabels", "daskgmm.em.Update", "daskgmm.em.Score"),
        "daskgmm.em.Threshold",
        *("daskgmm.fitting.uncertainty.Uncertainty", "daskgmm.fitting.uncertainty.Spread"),
    ),
    "Jobs": (
        *("daskgmm.job.fit", "daskgmm.job.select_model", "daskgmm.job.predict"),
        *("daskgmm.job.score", "daskgmm.job.update", "daskgmm.metrics.metrics_written"),
    ),
}
"""Headings of the reference, and the full names of what is below each."""

WITH_METHODS = (
    *("daskgmm.GaussianMixture", "daskgmm.selection.Selection", "daskgmm.em.Score"),
    *("daskgmm.fitting.uncertainty.Uncertainty", "daskgmm.plot.drawing.Display"),
)
"""Classes whose methods are public; of others the attributes are."""


def names() -> list[str]:
    """All of them, and each exception and warning."""
    errors = import_module("daskgmm.errors").__all__
    return [
        *(name for section in SECTIONS.values() for name in section),
        *(f"daskgmm.errors.{name}" for name in errors),
    ]


def found(name: str) -> Any:
    """The object of a name."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def is_record(name: str) -> bool:
    """Whether it is a class of which users read attributes."""
    return name not in WITH_METHODS and inspect.isclass(found(name))
