"""Options of rows: what every command that reads rows, and :func:`daskgmm.open_rows`, can be told."""

from __future__ import annotations

from daskgmm.rules import NAMES, PLACE, TEXT, one_of
from daskgmm.settings.option import Option

__all__ = ["DATA_OPTIONS", "GRID_OPTIONS", "LABELS", "MEASUREMENT_NOISE", "WEIGHTS"]

GRID_OPTIONS: tuple[Option, ...] = (
    Option(
        "variables",
        None,
        NAMES,
        "Features, where DATA is a group of variables on a grid, as xarray writes it. Each cell is a "
        "row.",
        section="",
    ),
    Option(
        "feature_dim",
        None,
        TEXT._replace(metavar="DIM"),
        "Dimension along which the values of a variable are features, such as levels.",
        section="",
    ),
    Option(
        "mask",
        None,
        TEXT._replace(metavar="VARIABLE"),
        "Variable of the group that is neither 0 nor missing in cells that count; others are left "
        "out.",
        section="",
    ),
)
"""Parameters of :func:`daskgmm.open_rows` for variables on a grid."""

DATA_OPTIONS: tuple[Option, ...] = (
    Option("member", None, TEXT, "Which array, where DATA is a group of several.", section=""),
    Option(
        "missing_chunks",
        "error",
        one_of("error", "fill"),
        "What a chunk that is not stored means: damage, or the fill value.",
        section="",
    ),
    *GRID_OPTIONS,
    Option(
        "columns",
        None,
        NAMES,
        "Which columns of Parquet files are the features, in this order. Default: all but weights.",
        section="",
    ),
)
"""The parameters of :func:`daskgmm.open_rows`: every command that reads rows has them."""

WEIGHTS = Option(
    "weights",
    None,
    PLACE._replace(
        what="an array or column beside the rows: its name, path or URL", is_place=False
    ),
    "How often each row counts: an array in the group of DATA or a column of it, by its name, or "
    "an array anywhere, by its path or URL.",
    commands=("fit", "select", "score", "outliers", "update", "plot", "report", "uncertainty"),
    section="",
)
"""``sample_weight`` in Python."""

LABELS = Option(
    "labels",
    None,
    WEIGHTS.rule,
    "Which component rows are known to be of, -1 where nobody knows: an array as for --weights.",
    commands=("fit",),
    section="",
)
"""``labels`` of ``GaussianMixture.fit``."""

MEASUREMENT_NOISE = Option(
    "measurement_noise",
    None,
    PLACE._replace(
        what="an array beside the rows, or anywhere: its name, path or URL", is_place=False
    ),
    "Variance of the noise of each value, in squared units of the data: an array of as many rows and "
    "columns as DATA; or of D * D columns, the covariance of the noise of each row.",
    commands=("fit", "select", "predict", "score"),
    section="",
)
"""``measurement_noise`` of ``GaussianMixture.fit``, ``predict`` and ``score``, and of ``select``."""
