"""Options of single commands, and what else has a name outside Python."""

from __future__ import annotations

from daskgmm.rules import NAMES, POSITIVE, RESULT_NAMES
from daskgmm.settings.option import Option

__all__ = ["CRITERIA", "HALF_LIFE", "KEEP", "RESULTS", "TIMEOUT_VARIABLE"]

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
    commands=("predict",),
    section="",
)
"""``keep`` of :func:`daskgmm.job.predict`."""

TIMEOUT_VARIABLE = "DASKGMM_STORAGE_TIMEOUT"
"""Variable of the environment: seconds for which a store that is away is waited for."""

CRITERIA = ("bic", "aic", "icl", "held-out")
"""What :func:`daskgmm.select` can decide by."""
