"""Settings: every option of a fit, once, as data.

From :data:`OPTIONS` follow the estimator's checks, the options of commands, the keys of job
files with their variables of the environment, the settings in a saved model's record, and what
a checkpoint is known by. :data:`DATA_OPTIONS` are of the rows and not of the estimator.

To add an option, add a row here, and the parameter with its line of documentation to
:class:`~daskgmm.GaussianMixture`; the tests hold one against the other. A row's words
(families, steppers, stop rules, starts) are the keys of the table that implements them. They
stand here again, and a test holds them against it, so that help needs no table of the kernel's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskgmm.errors import InvalidParameterError
from daskgmm.rules import (
    ARRAY,
    COUNT,
    COUNT_OR_NONE,
    COUNTS,
    FLAG,
    N_AXES,
    NAMES,
    NUMBER_OR_AUTO,
    PLACE,
    PLACE_OR_AUTO,
    POSITIVE,
    RESULT_NAMES,
    SEED,
    SIZE,
    STANDARDIZE,
    TEXT,
    VERBOSITY,
    Rule,
    one_of,
    some_of,
)

__all__ = [
    "CRITERIA",
    "DATA_OPTIONS",
    "GRID_OPTIONS",
    "HALF_LIFE",
    "KEEP",
    "OPTIONS",
    "RESULTS",
    "TIMEOUT_VARIABLE",
    "WEIGHTS",
    "Option",
    "check_options",
    "option_named",
]


@dataclass(frozen=True)
class Option:
    """A row of the table.

    Attributes
    ----------
    name : str
        Name of the parameter in Python.
    default : object
        Default of the parameter in Python. None is accepted exactly where it is the default.
    rule : Rule
        What else is accepted, from Python, the command line, a file or the environment.
    help : str
        Text for the command line.
    short : str
        Name outside Python, if that is different.
    commands : tuple of str
        Commands that have it as an option.
    section : str or None
        Section of a job file in which it is a key: ``"model"``, or ``""`` for the top level; None
        where a job has no use for it.
    default_of_commands : object
        Default outside Python, if that is different.
    decides : bool
        Whether the result depends on it: a fit can go on from a checkpoint with no other
        value of it.
    is_saved : bool
        Whether it is among the settings in a saved model's record.
    rule_of_jobs : Rule or None
        What a job file accepts, where that is more: several values, of which the job selects.
    """

    name: str
    default: Any
    rule: Rule
    help: str = ""
    short: str = ""
    commands: tuple[str, ...] = ()
    section: str | None = None
    default_of_commands: Any = None
    decides: bool = True
    is_saved: bool = False
    rule_of_jobs: Rule | None = None

    @property
    def rule_of_key(self) -> Rule:
        """What a job file accepts."""
        return self.rule_of_jobs or self.rule

    @property
    def word(self) -> str:
        """Its name outside Python, with underscores."""
        return self.short or self.name

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.word.replace('_', '-')}"

    @property
    def key(self) -> str | None:
        """Its key in a job file, with a dot where it is in a section."""
        if self.section is None:
            return None
        return f"{self.section}.{self.word}" if self.section else self.word

    def check(self, value: Any) -> None:
        """Raise an error for a value that the parameter does not accept.

        Raises
        ------
        InvalidParameterError
        """
        if (value is None and self.default is None) or self.rule.accepts(value):
            return
        what = f"{self.rule.what}{', or None' if self.default is None else ''}"
        raise InvalidParameterError(f"{self.name} must be {what}; got {value!r:.200}", self.name)


_BOTH = ("fit", "select")
_FAMILIES = ("full", "tied", "diag", "spherical")
_PASSES = ("fit", "select", "predict", "score", "update")
_STAGES = ("fit", "select", "update")

OPTIONS: tuple[Option, ...] = (
    Option(
        "n_components",
        1,
        COUNT._replace(required=True),
        "How many, K.",
        short="components",
        commands=("fit",),
        section="model",
        rule_of_jobs=COUNTS,
    ),
    Option(
        "covariance_type",
        "full",
        one_of(*_FAMILIES),
        "How covariances are constrained.",
        short="covariance",
        commands=("fit",),
        section="model",
        rule_of_jobs=some_of(*_FAMILIES),
    ),
    Option(
        "tol",
        "auto",
        NUMBER_OR_AUTO,
        "What the stop rule compares with: nats per row, or for means their squared units. "
        "auto: a tenth of what N rows can tell, p / (2 N).",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "reg_covar",
        "auto",
        NUMBER_OR_AUTO,
        "Added to each variance, squared units of the data. auto: a millionth of each column's "
        "variance.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "max_iter",
        100,
        COUNT_OR_NONE,
        "Most iterations, each one pass over all rows; 0 leaves the start as it is.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "reads",
        None,
        COUNT,
        "Most reads of all rows, for rows that are dear to read. 1: a start from pieces of them, "
        "and one step.",
        commands=("fit",),
        section="model",
        is_saved=True,
    ),
    Option(
        "n_init",
        1,
        COUNT,
        "Starts, of which the best is kept; up to ten or more compete on a sample.",
        short="restarts",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "init_params",
        "kmeans",
        one_of("kmeans", "k-means++", "random", "random_from_data"),
        "How starts are made.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option("weights_init", None, ARRAY),
    Option("means_init", None, ARRAY),
    Option("precisions_init", None, ARRAY),
    Option(
        "random_state",
        None,
        SEED,
        "Seed of sample and starts: the same seed gives the same bits.",
        short="seed",
        commands=_BOTH,
        section="model",
        default_of_commands=0,
        is_saved=True,
    ),
    Option("warm_start", False, FLAG),
    Option(
        "order",
        None,
        one_of("weight", "first-feature", "previous"),
        "Order of the components: by weight, falling; by the first feature's mean; as in the model "
        "before. Default: as they were found.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option("verbose", 0, VERBOSITY, decides=False),
    Option("verbose_interval", 1, COUNT, decides=False),
    Option(
        "stopping",
        "gap",
        one_of("gap", "increment", "means"),
        "Stop at the estimated remaining gain, the last gain, or the means' movement.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "stepper",
        "auto",
        one_of("auto", "surrogate", "squarem", "plain"),
        "How the next parameters follow from a pass: a surrogate likelihood, EM extrapolated, "
        "or EM.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "progressive",
        True,
        FLAG,
        "Let starts compete on a sample in memory, before the first pass over all rows.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "precision",
        "auto",
        one_of("auto", "float32", "float64"),
        "Precision of the arithmetic on single rows; auto: that of the stored rows.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "truncate",
        None,
        COUNT._replace(metavar="G"),
        "Compare each row with G components near it alone: for 200 and more. Maximises a bound.",
        commands=("fit",),
        section="model",
        is_saved=True,
    ),
    Option(
        "standardize",
        False,
        STANDARDIZE,
        "Fit features that are brought to one scale: by mean and standard deviation, or (robust) "
        "by median and quartiles. Results are in the data's own units.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "n_projected",
        None,
        N_AXES,
        "Fit features that are projected on so many principal axes, or on the fewest that explain "
        "this share of the variance.",
        commands=_BOTH,
        section="model",
        is_saved=True,
    ),
    Option(
        "memory_limit",
        None,
        SIZE,
        "Most memory of a process, such as 2GiB. Default: half of what is free.",
        commands=_PASSES,
        section="",
        decides=False,
    ),
    Option(
        "stage",
        None,
        PLACE_OR_AUTO,
        "Keep decoded rows for later passes: in a folder of a local disk, or in spare memory "
        "and then the temporary folder. Gone after the fit.",
        commands=_STAGES,
        section="",
        decides=False,
    ),
    Option(
        "stage_limit",
        None,
        SIZE,
        "Most that a process writes there. Default: until half of what is free is used.",
        commands=_STAGES,
        section="",
        decides=False,
    ),
    Option(
        "stage_dtype",
        None,
        one_of("float32"),
        "Round rows to it: half the bytes and faster passes, but another result.",
        commands=_BOTH,
        section="",
    ),
    Option(
        "checkpoint",
        None,
        PLACE._replace(metavar="DIR"),
        "Keep there, after each pass, what the fit can go on from: a folder or URL.",
        commands=("fit",),
        section="",
        decides=False,
    ),
    Option(
        "checkpoint_every",
        1,
        COUNT._replace(metavar="PASSES"),
        "From one checkpoint to the next.",
        commands=("fit",),
        section="",
        decides=False,
    ),
    Option(
        "resume",
        False,
        FLAG,
        "Go on from --checkpoint, if a fit was interrupted there.",
        commands=("fit",),
        decides=False,
    ),
)
"""The parameters of :class:`daskgmm.GaussianMixture`, in their order there."""

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
    commands=("fit", "select", "score", "update"),
    section="",
)
"""``sample_weight`` in Python."""

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


def option_named(name: str) -> Option:
    """The row of a parameter of the estimator."""
    return next(option for option in OPTIONS if option.name == name)


def check_options(values: Mapping[str, Any]) -> None:
    """Raise an error for the first parameter of the estimator that has a value it cannot have.

    Parameters
    ----------
    values : mapping
        Value of every parameter, by name.

    Raises
    ------
    InvalidParameterError
        Names the parameter, says what was expected and what came.
    """
    for option in OPTIONS:
        option.check(values[option.name])
