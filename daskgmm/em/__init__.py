"""The EM algorithm over any rows that can be folded: no Dask, no storage."""

from daskgmm.em.choosing import Chooser
from daskgmm.em.collapse import ON_COLLAPSE, said_of_collapses
from daskgmm.em.contradicted import ContradictedLabels, said_of_contradicted
from daskgmm.em.course import Course
from daskgmm.em.criteria import CRITERIA, Entry, GapLaw
from daskgmm.em.ended import Fit
from daskgmm.em.evaluate import (
    Score,
    feature_means,
    feature_moments,
    imputed_rows,
    label_rows,
    log_densities,
    of_present,
    probabilities,
    score_rows,
    top_components,
    with_rows_present,
)
from daskgmm.em.far_values import FarValues, far_values, joined_far_values, said_of_far_values
from daskgmm.em.finite import check_finite
from daskgmm.em.fit import fit, told_in_units_of_data
from daskgmm.em.held_out import HeldOut
from daskgmm.em.known import Known, knowing
from daskgmm.em.likelihood_ratio import BootstrapPlan
from daskgmm.em.lowest import LOWEST_BYTES
from daskgmm.em.mapped import MappedRows, check_complete, of_mapped
from daskgmm.em.missing import (
    NO_GAPS,
    Gaps,
    Missing,
    RowsWithGaps,
    check_density_of_parts,
    check_marks_outliers,
    check_some_complete,
    said_of_gaps,
    weighing,
)
from daskgmm.em.noisy import NoisyRows, check_deconvolves, with_noise
from daskgmm.em.ordering import ORDERS, Previous, order_of
from daskgmm.em.outliers import (
    MEASURES,
    Threshold,
    are_outliers,
    check_no_noise,
    labels_of_inliers,
    threshold_of_mixture,
    threshold_of_rows,
)
from daskgmm.em.problem import Problem
from daskgmm.em.race import Race, Rules, run
from daskgmm.em.replicates import (
    DrawnAnew,
    ReplicatePlan,
    Replicates,
    replicated,
    tol_of_replicates,
)
from daskgmm.em.rows import InMemoryRows, Rows, rows_of_sample, statistics_of
from daskgmm.em.said_of_choice import said_of_most_tried, said_of_poor_fits
from daskgmm.em.scaling import Scaling
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starting import Tell
from daskgmm.em.starts import (
    INITIALISERS,
    N_STARTS,
    Climber,
    Competition,
    GivenStart,
    StartMaker,
    with_exchanges,
    with_one_less,
    with_one_more,
)
from daskgmm.em.steppers import (
    STEPPERS,
    Needs,
    PlainEM,
    Squarem,
    Surrogate,
    stepper_class,
)
from daskgmm.em.stopping import (
    READS,
    STOP_REASONS,
    STOP_RULES,
    statistical_tol,
    stop_rule_named,
)
from daskgmm.em.subsample import Subsample
from daskgmm.em.thin import (
    Blur,
    ThinComponent,
    blurred_by_ridge,
    deviations_of,
    said_of_thin,
    thin_components,
)
from daskgmm.em.updating import OldRows, Update, Updated, update
from daskgmm.em.wide import WideComponent, said_of_wide, widest_component
from daskgmm.history import (
    Collapse,
    FitBegan,
    FitEnded,
    Iteration,
    RareComponent,
    Resumed,
    ScanDone,
    StartsFitted,
    StartsUnderway,
)

__all__ = [
    "CRITERIA",
    "INITIALISERS",
    "LOWEST_BYTES",
    "MEASURES",
    "NO_GAPS",
    "N_STARTS",
    "ON_COLLAPSE",
    "ORDERS",
    "READS",
    "STEPPERS",
    "STOP_REASONS",
    "STOP_RULES",
    "Blur",
    "BootstrapPlan",
    "Chooser",
    "Climber",
    "Collapse",
    "Competition",
    "ContradictedLabels",
    "Course",
    "DrawnAnew",
    "Entry",
    "FarValues",
    "Fit",
    "FitBegan",
    "FitEnded",
    "GapLaw",
    "Gaps",
    "GivenStart",
    "HeldOut",
    "InMemoryRows",
    "Iteration",
    "Known",
    "MappedRows",
    "Missing",
    "Needs",
    "NoisyRows",
    "OldRows",
    "PlainEM",
    "Previous",
    "Problem",
    "Race",
    "RareComponent",
    "ReplicatePlan",
    "Replicates",
    "Resumed",
    "Rows",
    "RowsWithGaps",
    "Rules",
    "Scaling",
    "Scan",
    "ScanDone",
    "Score",
    "Squarem",
    "StartMaker",
    "StartsFitted",
    "StartsUnderway",
    "Subsample",
    "Surrogate",
    "Tell",
    "ThinComponent",
    "Threshold",
    "Update",
    "Updated",
    "WideComponent",
    "are_outliers",
    "blurred_by_ridge",
    "check_complete",
    "check_deconvolves",
    "check_density_of_parts",
    "check_finite",
    "check_marks_outliers",
    "check_no_noise",
    "check_some_complete",
    "deviations_of",
    "far_values",
    "feature_means",
    "feature_moments",
    "fit",
    "imputed_rows",
    "joined_far_values",
    "knowing",
    "label_rows",
    "labels_of_inliers",
    "log_densities",
    "of_mapped",
    "of_present",
    "order_of",
    "probabilities",
    "replicated",
    "rows_of_sample",
    "run",
    "said_of_collapses",
    "said_of_contradicted",
    "said_of_far_values",
    "said_of_gaps",
    "said_of_most_tried",
    "said_of_poor_fits",
    "said_of_thin",
    "said_of_wide",
    "scan_rows",
    "score_rows",
    "statistical_tol",
    "statistics_of",
    "stepper_class",
    "stop_rule_named",
    "thin_components",
    "threshold_of_mixture",
    "threshold_of_rows",
    "tol_of_replicates",
    "told_in_units_of_data",
    "top_components",
    "update",
    "weighing",
    "widest_component",
    "with_exchanges",
    "with_noise",
    "with_one_less",
    "with_one_more",
    "with_rows_present",
]
