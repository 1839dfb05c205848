"""Options of single commands, and what else has a name outside Python."""

from __future__ import annotations

from daskgmm.rules import FLAG, NAMES, POSITIVE, RESULT_NAMES, SHARE, one_of
from daskgmm.settings.option import Option

__all__ = [
    "CRITERIA",
    "HALF_LIFE",
    "KEEP",
    "MARK_OUTLIERS",
    "MISSING",
    "OUTLIER_OPTIONS",
    "RESULTS",
    "TIMEOUT_VARIABLE",
]

RESULTS = Option(
    "results",
    "labels",
    RESULT_NAMES,
    "What OUTPUT holds of each row: labels, probabilities, log_density; top:5: the five likeliest.",
    commands=("predict",),
    section="",
)
"""What :func:`daskgmm.job.predict` writes."""

HALF_LIFE = Option(
    "half_life",
    None,
    POSITIVE._replace(metavar="ROWS"),
    "New rows after which an old row counts half as much. Default: nothing is forgotten.",
    commands=("update",),
    section="",
)
"""``half_life`` of ``GaussianMixture.update``."""

KEEP = Option(
    "keep",
    None,
    NAMES,
    "Columns of Parquet rows that are copied beside the results into Parquet outputs.",
    commands=("predict", "outliers"),
    section="",
)
"""``keep`` of :func:`daskgmm.job.predict`."""

MISSING = Option(
    "missing",
    None,
    one_of("error", "drop", "em"),
    "What missing values are, as of fit. Default: as the model was fitted.",
    commands=("predict", "score"),
    section="",
)
"""``missing`` of rows that are held against a model."""

MARK_OUTLIERS = Option(
    "mark_outliers",
    False,
    FLAG,
    "Label rows beyond the threshold -1 that `daskgmm outliers --save-threshold` left in MODEL.",
    commands=("predict",),
)
"""``mark_outliers`` of ``GaussianMixture.predict``."""

OUTLIER_OPTIONS = (
    Option(
        "quantile",
        None,
        SHARE,
        "Share of the rows of DATA, those of lowest density, that are outliers; takes one more read.  "
        "[default: the threshold of MODEL, else 0.01]",
        commands=("outliers",),
    ),
    Option(
        "probability",
        None,
        SHARE,
        "Probability that a row of a component is as far from its mean as outliers are, by the "
        "chi-square distribution of the squared Mahalanobis distance, in place of --quantile.",
        commands=("outliers",),
    ),
)
"""The parameters of ``GaussianMixture.set_threshold``."""

TIMEOUT_VARIABLE = "DASKGMM_STORAGE_TIMEOUT"
"""Variable of the environment: seconds for which a store that is away is waited for."""

CRITERIA = ("bic", "aic", "icl", "held-out")
"""What :func:`daskgmm.select` can decide by."""
