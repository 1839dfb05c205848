"""The EM algorithm over any rows that can be folded: no Dask, no storage."""

from daskgmm.em.evaluate import (
    Score,
    label_rows,
    log_densities,
    probabilities,
    score_rows,
)
from daskgmm.em.history import Iteration, ScanDone
from daskgmm.em.initialise import INITIALISERS, GivenStart, start_mixture
from daskgmm.em.loop import FitResult, run
from daskgmm.em.progressive import N_STARTS, best_of_starts
from daskgmm.em.rows import InMemoryRows, Rows, Source
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.steppers import PlainEM, Stepper
from daskgmm.em.stopping import STOP_RULES, stop_rule_named

__all__ = [
    "INITIALISERS",
    "N_STARTS",
    "STOP_RULES",
    "FitResult",
    "GivenStart",
    "InMemoryRows",
    "Iteration",
    "PlainEM",
    "Rows",
    "Scan",
    "ScanDone",
    "Score",
    "Source",
    "Stepper",
    "best_of_starts",
    "label_rows",
    "log_densities",
    "probabilities",
    "run",
    "scan_rows",
    "score_rows",
    "start_mixture",
    "stop_rule_named",
]
