"""Settings: every option, once, as data.

From :data:`OPTIONS`, those of a fit, follow the estimator's checks, the options of commands, the
keys of job files with their variables of the environment, the settings in a saved model's record,
and what a checkpoint is known by. :data:`DATA_OPTIONS` are of the rows and not of the estimator,
and the others of single commands. To add an option, add a row to the table that it belongs to.
"""

from daskgmm.settings.of_commands import (
    CRITERIA,
    DRAW,
    HALF_LIFE,
    KEEP,
    LEVEL,
    MARK_OUTLIERS,
    MISSING,
    N_REPLICATES,
    ONLY,
    OUTLIER_OPTIONS,
    PICTURES,
    RESULTS,
    TIMEOUT_VARIABLE,
    Picture,
    check_picture,
    form_of_picture,
)
from daskgmm.settings.of_fits import OPTIONS, check_options, objective_of, option_named
from daskgmm.settings.of_rows import (
    DATA_OPTIONS,
    GRID_OPTIONS,
    LABELS,
    MEASUREMENT_NOISE,
    WEIGHTS,
)
from daskgmm.settings.option import Option

__all__ = [
    "CRITERIA",
    "DATA_OPTIONS",
    "DRAW",
    "GRID_OPTIONS",
    "HALF_LIFE",
    "KEEP",
    "LABELS",
    "LEVEL",
    "MARK_OUTLIERS",
    "MEASUREMENT_NOISE",
    "MISSING",
    "N_REPLICATES",
    "ONLY",
    "OPTIONS",
    "OUTLIER_OPTIONS",
    "PICTURES",
    "RESULTS",
    "TIMEOUT_VARIABLE",
    "WEIGHTS",
    "Option",
    "Picture",
    "check_options",
    "check_picture",
    "form_of_picture",
    "objective_of",
    "option_named",
]
