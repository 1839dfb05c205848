"""The EM algorithm over any rows that can be folded: no Dask, no storage."""

from daskgmm.em.evaluate import (
    Score,
    label_rows,
    log_densities,
    probabilities,
    score_rows,
)
from daskgmm.em.exchanges import with_one_less, with_one_more
from daskgmm.em.held_out import HeldOut
from daskgmm.em.history import (
    FitBegan,
    FitEnded,
    Iteration,
    RareComponent,
    Resumed,
    ScanDone,
    StartsFitted,
    StartsUnderway,
)
from daskgmm.em.initialise import INITIALISERS, GivenStart, start_mixture
from daskgmm.em.loop import Candidate, Course, FitResult, run, run_together
from daskgmm.em.progressive import N_STARTS, best_of_starts, climb, finished, hopeless
from daskgmm.em.rare import RareComponents
from daskgmm.em.rows import InMemoryRows, Rows, Source, rows_of_sample, statistics_of
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.steppers import STEPPERS, PlainEM, Squarem, Step, Stepper, Surrogate
from daskgmm.em.stopping import STOP_RULES, statistical_tol, stop_rule_named

__all__ = [
    "INITIALISERS",
    "N_STARTS",
    "STEPPERS",
    "STOP_RULES",
    "Candidate",
    "Course",
    "FitBegan",
    "FitEnded",
    "FitResult",
    "GivenStart",
    "HeldOut",
    "InMemoryRows",
    "Iteration",
    "PlainEM",
    "RareComponent",
    "RareComponents",
    "Resumed",
    "Rows",
    "Scan",
    "ScanDone",
    "Score",
    "Source",
    "Squarem",
    "StartsFitted",
    "StartsUnderway",
    "Step",
    "Stepper",
    "Surrogate",
    "best_of_starts",
    "climb",
    "finished",
    "hopeless",
    "label_rows",
    "log_densities",
    "probabilities",
    "rows_of_sample",
    "run",
    "run_together",
    "scan_rows",
    "score_rows",
    "start_mixture",
    "statistical_tol",
    "statistics_of",
    "stop_rule_named",
    "with_one_less",
    "with_one_more",
]
