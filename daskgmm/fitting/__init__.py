"""Between an estimator's options and a fit: what is asked, and what a fit comes to.

The functions take options, by :class:`FitOptions`, and values, and give values; the estimator
alone keeps state. A subject has a file. A new option of fits goes into :class:`FitOptions`, and
reaches the field of :class:`daskgmm.em.Problem` that has its name. Where something is to be made of it
first, that goes into the file of its subject, and from there into :func:`problem_of`.
"""

from daskgmm.fitting.fixed import check_numbered, parts_of
from daskgmm.fitting.measurement_noise import check_measurement_noise
from daskgmm.fitting.options import FitOptions
from daskgmm.fitting.order import check_previous, in_order
from daskgmm.fitting.outcome import (
    Outcome,
    warn_of_collapses,
    warn_of_contradicted,
    warn_of_end,
    warn_of_scales,
    warn_of_thin,
)
from daskgmm.fitting.prior import prior_of
from daskgmm.fitting.problem import kind_asked, problem_of
from daskgmm.fitting.start import check_start
from daskgmm.fitting.uncertainty import Uncertainty, at_once, check_replicable, uncertainty_of
from daskgmm.fitting.update import Kept, remembered, updated

__all__ = [
    "FitOptions",
    "Kept",
    "Outcome",
    "Uncertainty",
    "at_once",
    "check_measurement_noise",
    "check_numbered",
    "check_previous",
    "check_replicable",
    "check_start",
    "in_order",
    "kind_asked",
    "parts_of",
    "prior_of",
    "problem_of",
    "remembered",
    "uncertainty_of",
    "updated",
    "warn_of_collapses",
    "warn_of_contradicted",
    "warn_of_end",
    "warn_of_scales",
    "warn_of_thin",
]
