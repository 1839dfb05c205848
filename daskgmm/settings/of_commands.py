"""Options of single commands, and what else has a name outside Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from daskgmm.errors import ParameterError
from daskgmm.redaction import redacted
from daskgmm.rules import COUNT_OF_SEVERAL, FLAG, NAMES, POSITIVE, RESULT_NAMES, SHARE, one_of
from daskgmm.settings.option import Option

__all__ = [
    "CRITERIA",
    "DRAW",
    "HALF_LIFE",
    "KEEP",
    "LEVEL",
    "MARK_OUTLIERS",
    "MISSING",
    "N_REPLICATES",
    "ONLY",
    "OUTLIER_OPTIONS",
    "PICTURES",
    "RESULTS",
    "TIMEOUT_VARIABLE",
    "Picture",
    "check_picture",
    "form_of_picture",
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

N_REPLICATES = Option(
    "n_replicates",
    100,
    COUNT_OF_SEVERAL,
    "How often fits are made again, on rows drawn anew: 100 give errors to about 7%. Of select, with "
    "--criterion bootstrap.",
    commands=("uncertainty", "select"),
    section="model",
)
"""``n_replicates`` of ``GaussianMixture.uncertainty`` and :func:`daskgmm.select`."""

LEVEL = Option(
    "level",
    0.05,
    SHARE._replace(metavar="P"),
    "Largest p-value at which --criterion bootstrap rejects K for more components.",
    commands=("select",),
    section="model",
)
"""``level`` of :func:`daskgmm.select`."""

KEEP = Option(
    "keep",
    None,
    NAMES,
    "Columns of Parquet or CSV rows that are copied beside the results into Parquet outputs.",
    commands=("predict", "outliers", "impute"),
    section="",
)
"""``keep`` of :func:`daskgmm.job.predict`."""

ONLY = Option(
    "only",
    False,
    FLAG,
    "Write only the outliers, into Parquet; its column row has their numbers in DATA, counted from 0.",
    commands=("outliers",),
)
"""``only`` of :func:`daskgmm.outliers.write_outliers`."""

DRAW = Option(
    "draw",
    False,
    FLAG,
    "Draw what is missing from its distribution given what is there, in place of its mean.",
    commands=("impute",),
)
"""``draw`` of ``GaussianMixture.impute``."""

MISSING = Option(
    "missing",
    None,
    one_of("error", "drop", "em"),
    "What missing values are, as of fit. Default: as the model was fitted.",
    commands=("predict", "score", "outliers"),
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

CRITERIA = ("bic", "aic", "icl", "held-out", "bootstrap")
"""What :func:`daskgmm.select` can decide by."""


@dataclass(frozen=True)
class Picture:
    """A kind of picture that ``daskgmm plot`` and :mod:`daskgmm.plot` can draw.

    Attributes
    ----------
    shows : str
        Text for the command line.
    rows : {"none", "some", "needed"}
        Whether it is of rows, too.
    options : tuple of str
        What else can be chosen.
    """

    shows: str
    rows: Literal["none", "some", "needed"] = "needed"
    options: tuple[str, ...] = ("sample_weight",)


def check_picture(kind: str, *, has_rows: bool, options: Mapping[str, Any]) -> None:
    """Refuse what a kind of picture cannot show.

    Parameters
    ----------
    kind : str
        A key of :data:`PICTURES`.
    has_rows : bool
        Whether rows are given.
    options : mapping
        Those that are None were not given.

    Raises
    ------
    ParameterError
    """
    picture = PICTURES[kind]
    if picture.rows == "needed" and not has_rows:
        raise ParameterError(
            f"{kind} shows rows, and none are given; name DATA after MODEL: daskgmm plot {kind} "
            "MODEL DATA --output FILE"
        )
    if picture.rows == "none" and has_rows:
        raise ParameterError(f"{kind} shows the model alone; leave DATA out")
    for name, value in options.items():
        if value is not None and name not in picture.options:
            having = [other for other, row in PICTURES.items() if name in row.options]
            raise ParameterError(
                f"{kind} has no use for {name}; leave it out, or draw {' or '.join(having)}", name
            )


def form_of_picture(output: str) -> str:
    """What a file's ending says that it is: ``svg`` or ``png``.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    ending = output.rpartition(".")[2].lower()
    if ending not in ("svg", "png") or "." not in output:
        raise ParameterError(
            f"{redacted(output)}: a picture is written as SVG or PNG, as the ending says; end its "
            "name in .svg or .png",
            "output",
        )
    return ending


PICTURES = {
    "pairs": Picture(
        "rows by pairs of features, and components", options=("features", "sample_weight")
    ),
    "ellipses": Picture(
        "components in two features, over rows if DATA is given",
        "some",
        ("features", "sample_weight"),
    ),
    "convergence": Picture("log-likelihood of each iteration", "none", ()),
    "selection": Picture("criteria of the candidates that select compared", "none", ()),
    "components": Picture("what makes each component: a heat map of means", "none", ("features",)),
    "responsibilities": Picture("how surely rows belong to components, and their overlap"),
    "log_density": Picture("rows by their log density, and the threshold of outliers"),
    "map": Picture("labels on a grid, and how sure they are", options=("at",)),
}
"""What ``KIND`` of ``daskgmm plot`` can be."""
