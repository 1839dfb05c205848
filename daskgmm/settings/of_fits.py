"""Options of fits: the parameters of the estimator, in their order there.

To add one, add a row here, the parameter with its type to :class:`daskgmm.fitting.FitOptions`, and
its lines of documentation to :class:`~daskgmm.GaussianMixture`, which inherits the parameter; the
tests hold one against the other. A field of :class:`daskgmm.em.Problem` that has its name is its
value; what else it means for a fit is said in :mod:`daskgmm.fitting`. The file is longer than others
for its rows, one for each parameter.

A row's words (families, steppers, stop rules, starts) are the keys of the table that implements
them. They stand here again, and a test holds them against it, so that help needs no table of the
kernel's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from daskgmm.rules import (
    ARRAY,
    COUNT,
    COUNT_OR_NONE,
    COUNTS,
    DEGREES,
    FIXED,
    FLAG,
    N_AXES,
    NOISE,
    NUMBER_OR_AUTO,
    PLACE,
    PLACE_OR_AUTO,
    PRIOR,
    SEED,
    SIZE,
    STANDARDIZE,
    VERBOSITY,
    one_of,
    some_of,
)
from daskgmm.settings.option import Option

__all__ = ["OPTIONS", "check_options", "option_named"]

_BOTH = ("fit", "select")
_FAMILIES = ("full", "tied", "diag", "spherical")
_PASSES = (
    *("fit", "select", "predict", "score", "outliers", "impute", "update", "uncertainty"),
    *("plot", "report"),
)
_STAGES = ("fit", "select", "update", "uncertainty")

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
        of_objective=True,
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
        "variance, to which rows far from most others add little.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "prior",
        None,
        PRIOR,
        "Give each component rows that nobody saw: auto, the safe choice for many components, gives "
        "it the spread of a K-th of the data, in place of reg_covar.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
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
    Option(
        "weights_init",
        None,
        ARRAY,
        "Weights of the start, K numbers as JSON. See --fixed for null.",
        commands=("fit",),
        section="model",
    ),
    Option(
        "means_init",
        None,
        ARRAY,
        "Means of the start, a list of D numbers for each component.",
        commands=("fit",),
        section="model",
    ),
    Option(
        "precisions_init",
        None,
        ARRAY,
        "Inverse covariances of the start, in the shape that belongs to --covariance.",
        commands=("fit",),
        section="model",
    ),
    Option(
        "random_state",
        None,
        SEED,
        "Seed of sample, starts, draws and replicates: the same seed gives the same bits.",
        short="seed",
        commands=(*_BOTH, "impute", "uncertainty"),
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
        of_objective=True,
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
        of_objective=True,
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
        of_objective=True,
    ),
    Option(
        "on_collapse",
        "reseed",
        one_of("reseed", "prune", "error"),
        "What is done about components that are left without a density, or with next to no rows: put "
        "where rows fit worst, and pruned after the third time; pruned, so that fewer are left; or an "
        "error.",
        commands=("fit",),
        section="model",
        is_saved=True,
    ),
    Option(
        "constant",
        "error",
        one_of("error", "drop"),
        "What constant columns are: an error that names them, or left out of the fit and of all that "
        "the model says.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "missing",
        "error",
        one_of("error", "drop", "em"),
        "What NaN, null, and what the store declares missing is: an error that names the first place; "
        "a reason to leave the row out (drop); or a value that is not known, so that rows count by "
        "the others (em).",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "noise",
        None,
        NOISE,
        "Take rows that belong to no component for noise, of uniform density over the box of all "
        "rows; or over a region of this volume, in the data's units.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "tails",
        None,
        one_of("t"),
        "Components with heavy tails: t for the multivariate t distribution, by which outliers "
        "count less. Default: Gaussians.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "degrees_of_freedom",
        "shared",
        DEGREES,
        "Of t components: one number for all, one for each, or the number that all have.",
        commands=_BOTH,
        section="model",
        is_saved=True,
        of_objective=True,
    ),
    Option(
        "fixed",
        None,
        FIXED,
        'Parts that stay as the start has them, such as {"means": [0, 2], "weights": "all"}; the start '
        "may have null for numbers of other components, which are found.",
        commands=("fit",),
        section="model",
        is_saved=True,
        of_objective=True,
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


def objective_of(options: Any) -> dict[str, Any]:
    """What says which objective a fit climbs: names of options, and values that can be compared.

    Parameters
    ----------
    options : object
        Has the value of every parameter as an attribute, as the estimator has.
    """
    return {
        option.name: _comparable(getattr(options, option.name))
        for option in OPTIONS
        if option.of_objective
    }


def _comparable(value: Any) -> Any:
    """A copy of a value in which arrays and ranges are lists."""
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_comparable(item) for item in value]
    return value
