"""Selection: how many components, and which covariances.

The file is longer than others for the documentation of what :func:`select` takes and finds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sklearn.utils import check_random_state

from daskgmm.em import (
    CRITERIA,
    BootstrapPlan,
    Chooser,
    Entry,
    MappedRows,
    Problem,
    Tell,
    far_values,
    said_of_most_tried,
    said_of_poor_fits,
    scan_rows,
    told_in_units_of_data,
)
from daskgmm.errors import DataError, ParameterError
from daskgmm.estimator import GaussianMixture
from daskgmm.events import ProgressLines, teller
from daskgmm.fitted import html_table
from daskgmm.fitting import Outcome
from daskgmm.kernel import COMPONENTS
from daskgmm.keywords import suggesting
from daskgmm.plot import SelectionDisplay
from daskgmm.settings import LEVEL, N_REPLICATES, OPTIONS
from daskgmm.tables import OpenedRows, Use, columns_named, data_frame_of, open_weights

__all__ = ["CRITERIA", "Entry", "Selection", "candidate_models", "select"]

_REFUSED_APART = {"n_components", "covariance_type", "truncate"}
"""What candidates differ in, and what is refused for a reason of its own."""
_UNUSED = {o.name for o in OPTIONS if "fit" in o.commands and "select" not in o.commands}
_UNUSED = (_UNUSED | {"warm_start"}) - _REFUSED_APART
"""Parameters of an estimator that mean nothing where many are fitted together."""

_BOOTSTRAP = "bootstrap"
_MOST_SHOWN = 30
"""Candidates in a table for notebooks."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The outcome of :func:`select`.

    Attributes
    ----------
    entries : tuple of Entry
        In the order asked for.
    best : Entry
    model : GaussianMixture
        The chosen one, fitted to all rows.
    criterion : str
    note : str or None
        Said where the table should not be taken at its word.
    bootstrap : dict or None
        Of the tests, where they decide: ``level``, ``n_replicates``, and ``n_rows`` that each
        likelihood ratio is of.
    """

    entries: tuple[Entry, ...]
    best: Entry
    model: GaussianMixture
    criterion: str
    note: str | None
    bootstrap: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Returns
        -------
        dict
            ``candidates`` (a list), ``best``, ``criterion`` and ``note``.
        """
        return {
            "candidates": [asdict(entry) for entry in self.entries],
            "best": asdict(self.best),
            "criterion": self.criterion,
            "note": self.note,
            "bootstrap": self.bootstrap,
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame of the candidates, a row for each; ``chosen`` marks the best.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        rows = [{**asdict(entry), "chosen": entry == self.best} for entry in self.entries]
        return data_frame_of(rows)

    def plot(self, ax: Any = None) -> SelectionDisplay:
        """Draw the candidates: see :func:`daskgmm.plot.selection`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            What to draw on; new axes by default.

        Returns
        -------
        SelectionDisplay
        """
        return SelectionDisplay.from_selection(self, ax=ax)

    def __str__(self) -> str:
        """The candidates as a table of text, and which was chosen."""
        (heading,), *rows = self._table()
        whole = [row for row in rows if len(row) == len(rows[0])]
        widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
        lines = []
        for first, *others in rows:
            cells = [c.rjust(n) for c, n in zip(others, widths[1 : 1 + len(others)], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
        return "\n".join([heading, *lines])

    def _repr_html_(self) -> str:
        """The candidates as a small table, for notebooks."""
        (heading,), header, *rows = self._table()
        return html_table(heading, header, rows)

    def _table(self) -> list[list[str]]:
        """A heading, the names of columns, and a row for each candidate, at most so many."""
        best = self.best
        rows = [
            [
                f"{entry.n_components} {entry.covariance_type}" + " (chosen)" * (entry == best),
                *(f"{value:,.1f}" for value in (entry.bic, entry.aic, entry.icl)),
                f"{entry.held_out_log_likelihood_per_row:.6g} "
                f"\u00b1 {entry.held_out_standard_error:.2g}",
                *([] if self.bootstrap is None else [_p_value(entry)]),
            ]
            for entry in self.entries[:_MOST_SHOWN]
        ]
        if (n_more := len(self.entries) - _MOST_SHOWN) > 0:
            rows.append([f"... and {n_more} more"])
        heading = (
            f"chosen by {self.criterion}: {best.n_components} {best.covariance_type} components"
        )
        heading += f"; {self.note}" if self.note else ""
        columns = ["components", "BIC", "AIC", "ICL", "held-out per row"]
        columns += [] if self.bootstrap is None else ["p against the next"]
        return [[heading], columns, *rows]


def _p_value(entry: Entry) -> str:
    return "" if entry.p_value is None else f"{entry.p_value:.3g}"


@suggesting(*(option.name for option in OPTIONS))
def select(
    X: Any,
    components: int | Iterable[int],
    *,
    covariance_type: str | Sequence[str] = "full",
    criterion: str = "bic",
    random_state: Any = None,
    verbose: int = 0,
    sample_weight: Any = None,
    level: float = LEVEL.default,
    n_replicates: int = N_REPLICATES.default,
    labels: Any = None,
    measurement_noise: Any = None,
    **settings: Any,
) -> Selection:
    """Choose the number of components and the family of covariances.

    Parameters
    ----------
    X : rows
        As for :meth:`GaussianMixture.fit`.
    components : iterable of int, or int
        Values of K to try, such as ``range(2, 13)``, or the only one.
    covariance_type : str or sequence of str
        Families to try.
    criterion : {"bic", "aic", "icl", "held-out", "bootstrap"}
        What decides. At very many rows the first two keep adding components wherever
        the data are not a mixture of Gaussians; compare the held-out column. ``"bootstrap"``
        tests each candidate against the next larger one, from the fewest components on, and takes
        the first that is not rejected: the likelihood ratio is held against those of rows that are
        drawn from the smaller mixture, and fitted in the same way (McLachlan 1987). All of them are
        of the rows of the sample, or of 10,000 of these: a likelihood ratio grows with the number
        of rows, so that replicates of few rows say nothing of that of many, and replicates of all
        rows would take hundreds of fits of them. Components of a few of 10,000 rows are then not
        found. It is for one family, and rows that count once.
    random_state : int, RandomState or None
    verbose : int
        Above 0, lines on standard error.
    sample_weight : array of shape (n_rows,), optional
        As for :meth:`GaussianMixture.fit`. Criteria take the sum of the weights for the number
        of rows. Weights whose sum is none, such as areas in square metres, are multiplied by what
        makes it the effective number of rows, and ``note`` says so.
    level : float, default=0.05
        Largest p-value at which ``"bootstrap"`` rejects.
    n_replicates : int, default=100
        Of each of its tests. The least p-value is ``1 / (1 + n_replicates)``, and one near
        ``level`` is good to ``sqrt(level / n_replicates)``.
    labels : None
        Refused: they number the components of one candidate.
    measurement_noise : array, optional
        As for :meth:`GaussianMixture.fit`; criteria are of measured rows.
    **settings
        Parameters of every :class:`GaussianMixture`.

    Returns
    -------
    Selection

    Raises
    ------
    ParameterError, DataError, MemoryLimitError
        As :meth:`GaussianMixture.fit`.

    Warns
    -----
    DaskGMMWarning
        As :meth:`GaussianMixture.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from daskgmm import select
    >>> x = np.random.default_rng(0).normal(size=(4000, 2))
    >>> x[::2] += 6
    >>> select(x, range(1, 4), random_state=0).best.n_components
    2
    """
    began = time.perf_counter()
    models = candidate_models(
        components,
        covariance_type=covariance_type,
        criterion=criterion,
        random_state=random_state,
        level=level,
        n_replicates=n_replicates,
        **settings,
    )
    _check_beside(criterion, sample_weight, labels, measurement_noise)
    weights = None
    if sample_weight is not None:
        X, weights = open_weights(sample_weight, X, None, models[-1].missing)
        weights = weights if weights.are_counts else weights.as_counts()
    noise = models[-1]._open_noise(measurement_noise, X)
    sizes = [model._size for model in models]
    opened = models[-1]._open_to_fit(X, sizes, weights, Use(measurement_noise=noise))
    rows, largest = opened.rows, max(model.n_components for model in models)
    _check_enough(rows.n_rows, largest)
    tell = teller(*([ProgressLines()] if verbose else []))
    rng = check_random_state(random_state)
    is_noisy = noise is not None
    model_of = {replace(model._problem(), is_noisy=is_noisy): model for model in models}
    problems = list(model_of)
    for problem in problems:
        problem.check_features(rows.n_features)
    with columns_named(opened.feature_names), opened.staging() as staged:
        seed = int(rng.randint(2**31 - 1))
        chooser = _chooser_on(opened, problems, criterion, seed, tell)
        if criterion == _BOOTSTRAP:
            chooser = replace(chooser, bootstrap=BootstrapPlan(level, n_replicates, seed))
        opened = opened.weighing(chooser.scan.weight)
        _check_enough(rows.n_rows - chooser.scan.gaps.n_left_out, largest)
        trials, n_passes = chooser.fitted(chooser.starts(problems, rng))
    best = min((t for t in trials if t.entry.refined), key=lambda t: chooser.value(t.entry))
    assert best.course is not None
    model = model_of[best.start.problem]
    affine = chooser.scan.affine
    outcome = Outcome(
        model._in_order(best.course.in_units_of_data(affine), affine),
        affine=affine,
        n_passes=1 + n_passes,
        opened=opened,
        seconds=time.perf_counter() - began,
        staged=staged,
        gaps=chooser.scan.gaps,
        far=far_values(chooser.scan),
        is_noisy=is_noisy,
        prior=best.start.problem.prior_on(chooser.scan),
    )
    model._set_weighting(weights)
    model._conclude(outcome)
    by = 0.0 if affine is None else affine.log_jacobian
    entries = tuple(trial.entry.raised(chooser.scan.weight, by) for trial in trials)
    chosen = entries[trials.index(best)]
    notes = (
        said_of_most_tried(entries, chosen, criterion),
        None if model.prior is not None else said_of_poor_fits(entries, chooser.scan),
        None if weights is None else weights.said_of_scale(),
        _note_of_tests(chooser),
    )
    selection = Selection(entries, chosen, model, criterion, _joined(*notes), _of_tests(chooser))
    model.selection_ = selection.as_dict()  # without the model's own note, which it has anyway
    return replace(selection, note=_joined(*notes, model._note))


def _joined(*notes: str | None) -> str | None:
    return "; ".join(one for one in notes if one) or None


def _check_beside(criterion: str, weights: Any, labels: Any, noise: Any) -> None:
    """Refuse what goes with rows and not with a selection, or with what decides it."""
    if labels is not None:
        raise ParameterError(
            "select compares numbers of components, and labels number those of one mixture; leave "
            "labels out, then fit what was chosen with them",
            "labels",
        )
    beside = {
        "sample_weight (--weights)": weights,
        "measurement_noise (--measurement-noise)": noise,
    }
    given = [name for name, value in beside.items() if value is not None]
    if criterion == _BOOTSTRAP and given:
        raise ParameterError(
            f"criterion='bootstrap' draws rows that count once each and are exact, and these have "
            f"{given[0]}; leave it out, or choose by another criterion, such as 'bic'",
            "criterion",
        )


def _of_tests(chooser: Chooser) -> dict[str, Any] | None:
    """Facts of the tests that decided, if any did."""
    if (plan := chooser.bootstrap) is None:
        return None
    n_rows = chooser.n_rows_of_tests
    return {"level": plan.level, "n_replicates": plan.n_replicates, "n_rows": n_rows}


def _note_of_tests(chooser: Chooser) -> str | None:
    """Note on tests by some of the rows."""
    n_rows, n_all = chooser.n_rows_of_tests, chooser.scan.weight
    if chooser.bootstrap is None or n_rows >= n_all:
        return None
    return (
        f"likelihood ratios are of {n_rows:,} of {n_all:,.0f} rows, so that small components that "
        "all rows tell may be missing: compare BIC"
    )


def _check_enough(n_rows: int, n_components: int) -> None:
    """Refuse fewer rows than can tell so many components from fewer."""
    if n_rows < 2 * n_components:
        raise DataError(
            f"{n_rows} rows are too few to try {n_components} components: lower components"
        )


def _chooser_on(
    opened: OpenedRows, problems: Sequence[Problem], criterion: str, seed: int, tell: Tell
) -> Chooser:
    """What fits candidates to rows, after their scan."""
    rows, n_rows, n_sampled = opened.rows, opened.rows.n_rows, opened.n_sampled
    # All rows, held out in folds; or half of them at most, so that there are some to hold out.
    n_taken = n_rows if n_rows <= n_sampled else min(n_sampled, n_rows // 2)
    # Candidates see the same rows, mapped if any of them asks for it.
    scaling = next((p.scaling for p in problems if p.scaling is not None), None)
    drops, may_drop = scaling is not None and scaling.drops, scaling is None or scaling.may_drop
    scan = scan_rows(rows, n_taken, seed, tell, may_be_constant=drops, may_drop=may_drop)
    if scaling is not None:
        scan = scaling.applied(scan)
    if scan.affine is None:
        return Chooser(rows, scan, criterion, seed, tell)
    tell = told_in_units_of_data(tell, scan.affine)
    return Chooser(MappedRows(rows, scan.affine), scan, criterion, seed, tell)


def candidate_models(
    components: int | Iterable[int],
    *,
    covariance_type: str | Sequence[str] = "full",
    criterion: str = "bic",
    random_state: Any = None,
    level: float = LEVEL.default,
    n_replicates: int = N_REPLICATES.default,
    **settings: Any,
) -> list[GaussianMixture]:
    """An unfitted estimator for each candidate of :func:`select`, its parameters checked.

    Raises
    ------
    ParameterError
    """
    if criterion not in CRITERIA:
        raise ParameterError(f"criterion must be one of {', '.join(CRITERIA)}; got {criterion!r}")
    families = (covariance_type,) if isinstance(covariance_type, str) else tuple(covariance_type)
    counts = sorted(set(components if isinstance(components, Iterable) else [components]))
    unknown = [family for family in families if family not in COMPONENTS]
    if not counts or not families or unknown:
        raise ParameterError(
            "select needs numbers of components, and families out of "
            f"{', '.join(COMPONENTS)}; got {counts} and {list(families)}"
        )
    LEVEL.check(level)
    N_REPLICATES.check(n_replicates)
    if criterion == _BOOTSTRAP:
        _check_tests(families, level, n_replicates)
    if unused := _UNUSED & settings.keys():
        raise ParameterError(
            f"select has no use for {', '.join(sorted(unused))}: it makes its own starts, decides "
            "how often rows are read, leaves candidates out that collapse, and cannot go on after an "
            "interruption; leave it out, or fit what was chosen with it"
        )
    if settings.get("truncate") is not None:
        raise ParameterError(
            "select compares log-likelihoods, and with truncate there are only bounds of them; "
            "select without truncate (None), then fit what was chosen with it"
        )
    if settings.get("order") == "previous":
        raise ParameterError(
            "select has no model before the fit for order='previous'; set another order, or None",
            "order",
        )
    if settings.get("max_iter") == 0:
        raise ParameterError("select compares fits, and max_iter=0 makes none; leave it out")
    models = [
        GaussianMixture(k, covariance_type=family, random_state=random_state, **settings)
        for family in dict.fromkeys(families)
        for k in counts
    ]
    for model in models:
        model._check_parameters()
    return models


def _check_tests(families: Sequence[str], level: float, n_replicates: int) -> None:
    """Refuse tests of what is not nested, and those that can reject nothing."""
    if len(set(families)) > 1:
        raise ParameterError(
            "criterion='bootstrap' tests K against more components of one family; got "
            f"{', '.join(families)}: give one covariance_type (--covariance), or another criterion",
            "criterion",
        )
    # A hair below, since 1 / 0.05 is no whole number in binary.
    fewest = max(2, math.ceil(1.0 / level - 1.0 - 1e-9))
    if n_replicates < fewest:
        raise ParameterError(
            f"n_replicates={n_replicates} gives no p-value below {1 / (1 + n_replicates):.3g}, so "
            f"that level={level:g} rejects nothing; set n_replicates={fewest} or more",
            "n_replicates",
        )
