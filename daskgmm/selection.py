"""Selection: how many components, and which covariances.

Candidates are fitted on a part of the scan's sample, and those that can still win by the
criterion on all of it; one pass evaluates all, and those that even then can win go on from it
to the end, on the same passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from daskgmm.em import (
    Candidate,
    FitResult,
    GivenStart,
    HeldOut,
    InMemoryRows,
    Rows,
    Scan,
    Score,
    climb,
    finished,
    rows_of_sample,
    run_together,
    scan_rows,
    statistical_tol,
    statistics_of,
    stop_rule_named,
    with_one_less,
    with_one_more,
)
from daskgmm.errors import DataError, ParameterError, SingularComponentError
from daskgmm.estimator import GaussianMixture
from daskgmm.events import Listener, Message, ProgressLines, teller
from daskgmm.execution import MixtureSize, Work, in_force
from daskgmm.kernel import (
    COMPONENTS,
    Float64Array,
    Mixture,
    Ridge,
    Statistics,
    log_density,
    responsibilities,
    warm_up,
)
from daskgmm.kernel.blas import single_thread
from daskgmm.starts import starts_of, stepper_of, tol_of
from daskgmm.tables import Stage, open_input

__all__ = ["CRITERIA", "Entry", "Selection", "select"]

_MARGIN = 1.5
"""Times the gap law that a fit to all rows may gain on a fit to some, where no model is true."""
_ERRORS = 3.0
"""Standard errors, of differences row by row, that are chance."""
_THINNING, _FEWEST = 4, 20_000
"""Of the sample, for the first fits; where that leaves so many rows."""

_UNUSED = {"checkpoint", "checkpoint_every", "resume", "warm_start"}
_UNUSED |= {"weights_init", "means_init", "precisions_init"}
"""Parameters of an estimator that mean nothing where many are fitted together."""


@dataclass(frozen=True)
class Entry:
    """What is known of one candidate; criteria in nats times two, lower is better.

    Attributes
    ----------
    n_components, covariance_type, n_parameters
        Of the candidate.
    log_likelihood_per_row : float
        Over all rows, in nats.
    bic, aic, icl : float
        ``icl`` takes how decided assignments are from the sample.
    held_out_log_likelihood_per_row, held_out_standard_error : float
        Of rows that it was not fitted to, which are decided by their hash: those outside the
        sample, under the candidate as fitted to the sample; where the sample is all rows, of
        folds, each under a fit to the others.
    held_out_gain_per_row, held_out_gain_standard_error : float or None
        Over the next fewer components of the family, of the same rows one by one; None for
        the fewest.
    refined : bool
        Whether it was fitted to all rows. Of the others ``log_likelihood_per_row`` is that of
        where they began, a fit to the sample or to a part of it: they could not win.
    """

    n_components: int
    covariance_type: str
    n_parameters: int
    log_likelihood_per_row: float
    bic: float
    aic: float
    icl: float
    held_out_log_likelihood_per_row: float
    held_out_standard_error: float
    held_out_gain_per_row: float | None
    held_out_gain_standard_error: float | None
    refined: bool


CRITERIA: dict[str, Callable[[Entry], float]] = {
    "bic": lambda entry: entry.bic,
    "aic": lambda entry: entry.aic,
    "icl": lambda entry: entry.icl,
    "held-out": lambda entry: -entry.held_out_log_likelihood_per_row,
}
"""What is made as small as possible."""


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
    """

    entries: tuple[Entry, ...]
    best: Entry
    model: GaussianMixture
    criterion: str
    note: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "candidates": [asdict(entry) for entry in self.entries],
            "best": asdict(self.best),
            "criterion": self.criterion,
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class _Start:
    """A candidate, and the mixture from which it goes on to all rows."""

    model: GaussianMixture
    mixture: Mixture
    can_win: bool = True


@dataclass(eq=False)
class _Trial:
    """A candidate, and what was found of it on all rows."""

    start: _Start
    held_out: HeldOut
    entry: Entry
    can_win: bool
    result: FitResult | None = None

    @property
    def model(self) -> GaussianMixture:
        return self.start.model

    def take_in(self, result: FitResult, scan: Scan) -> None:
        """Take in a fit to all rows, unless its last step collapsed."""
        try:
            score = _score(scan, result.mixture, result.log_likelihood)
        except SingularComponentError:
            return
        self.result = result
        self.entry = replace(
            self.entry,
            log_likelihood_per_row=score.log_likelihood_per_row,
            bic=score.bic,
            aic=score.aic,
            icl=score.icl,
            refined=True,
        )


def select(
    X: Any,
    components: Iterable[int],
    *,
    covariance_type: str | Sequence[str] = "full",
    criterion: str = "bic",
    random_state: Any = None,
    verbose: int = 0,
    **settings: Any,
) -> Selection:
    """Choose the number of components and the family of covariances.

    Parameters
    ----------
    X : rows
        As for :meth:`GaussianMixture.fit`.
    components : iterable of int
        Values of K to try, such as ``range(2, 13)``.
    covariance_type : str or sequence of str
        Families to try.
    criterion : {"bic", "aic", "icl", "held-out"}
        What decides. At very many rows the first two keep adding components wherever
        the data are not a mixture of Gaussians; compare the held-out column.
    random_state : int, RandomState or None
    verbose : int
        Above 0, lines on standard error.
    **settings
        Parameters of every :class:`GaussianMixture`.

    Returns
    -------
    Selection

    Raises
    ------
    ParameterError, DataError, MemoryLimitError
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
    models = _models(components, covariance_type, criterion, random_state, settings)
    largest = max(model.n_components for model in models)
    warm_up()
    first = models[0]
    opened = open_input(
        X,
        Work(
            tuple(MixtureSize(model.covariance_type, model.n_components) for model in models),
            sampled=True,
        ),
        memory_limit=first.memory_limit,
        stage=Stage(first.stage, first.stage_limit, first.stage_dtype),
    )
    rows = opened.rows
    if rows.n_rows < 2 * largest:
        raise DataError(
            f"{rows.n_rows} rows are too few to try {largest} components: lower components"
        )
    tell = teller(*([ProgressLines()] if verbose else []))
    rng = check_random_state(random_state)
    with opened.staging() as staged:
        # All rows, held out in folds; or half of them at most, so that there are some to hold out.
        n_sampled, n_rows, seed = opened.n_sampled, rows.n_rows, int(rng.randint(2**31 - 1))
        scan = scan_rows(
            rows, n_rows if n_rows <= n_sampled else min(n_sampled, n_rows // 2), seed, tell
        )
        starts = _starts(models, scan, rng, criterion, tell)
        trials, n_passes = _fitted(starts, rows, scan, seed, criterion, tell)
    best = min((t for t in trials if t.entry.refined), key=lambda t: CRITERIA[criterion](t.entry))
    assert best.result is not None
    best.model.conclude(
        best.result,
        tol=tol_of(best.model, rows),
        n_passes=opened.passes + 1 + n_passes,
        n_rows=rows.n_rows,
        seconds=time.perf_counter() - began,
        staged=staged,
    )
    entries = tuple(trial.entry for trial in trials)
    note = _note(entries, best.entry, criterion)
    return Selection(entries, best.entry, best.model, criterion, note)


def _models(
    components: Iterable[int],
    covariance_type: str | Sequence[str],
    criterion: str,
    random_state: Any,
    settings: dict[str, Any],
) -> list[GaussianMixture]:
    """An estimator for each candidate, its parameters checked."""
    if criterion not in CRITERIA:
        raise ParameterError(f"criterion must be one of {', '.join(CRITERIA)}; got {criterion!r}")
    families = (covariance_type,) if isinstance(covariance_type, str) else tuple(covariance_type)
    counts = sorted(set(components))
    unknown = [family for family in families if family not in COMPONENTS]
    if not counts or not families or unknown:
        raise ParameterError(
            "select needs numbers of components, and families out of "
            f"{', '.join(COMPONENTS)}; got {counts} and {list(families)}"
        )
    if unused := _UNUSED & settings.keys():
        raise ParameterError(
            f"select has no use for {', '.join(sorted(unused))}: it makes its own starts, and "
            "cannot go on after an interruption; leave it out, or fit what was chosen with it"
        )
    if settings.get("truncate") is not None:
        raise ParameterError(
            "select compares log-likelihoods, and with truncate there are only bounds of them; "
            "select with truncate=None, then fit what was chosen with it"
        )
    models = [
        GaussianMixture(k, covariance_type=family, random_state=random_state, **settings)
        for family in dict.fromkeys(families)
        for k in counts
    ]
    for model in models:
        model.check_parameters()
    return models


def _starts(
    models: Sequence[GaussianMixture],
    scan: Scan,
    rng: np.random.RandomState,
    criterion: str,
    tell: Listener,
) -> list[_Start]:
    """Fits to the sample; to a part of it only, where that shows that they cannot win.

    Raises
    ------
    SingularComponentError
        If none of them can be fitted; one that cannot is left out.
    """
    part = replace(scan, sample=scan.sample.thinned(_THINNING))
    in_parts = len(part.sample) >= _FEWEST and models[0].progressive
    fitted_to = part if in_parts else scan
    rows = rows_of_sample(fitted_to.sample, in_force().local_threads)
    starts: list[tuple[GaussianMixture, Mixture]] = []
    for model in models:
        known = _grown(starts[-1], model, rows) if starts else []
        try:
            start = starts_of(model, fitted_to, GivenStart(), rng, known=known)[0]
            start.check()  # raises here, where others may go on
        except SingularComponentError as error:
            if len(models) == 1:
                raise
            tell(Message(f"left out: {_name(model)}: {error}", "warning"))
            continue
        starts.append((model, start))
        tell(Message(f"fitted to the sample: {_name(model)}"))
    if not starts:
        raise SingularComponentError(
            "no candidate can be fitted: a covariance is singular in each; lower components, or "
            "raise reg_covar"
        )
    if models[0].progressive:
        starts = _after_mergers(starts, rows)
    if not in_parts:
        return [_Start(model, start) for model, start in starts]
    can_win = _can_win_by_part([start for _, start in starts], scan, part, criterion)
    tell(Message(f"can win: {_names([model for model, _ in starts], can_win)}"))
    rows = rows_of_sample(scan.sample, in_force().local_threads)
    return [
        _Start(model, finished(rows, start, Ridge(model.reg_covar)) if yes else start, can_win=yes)
        for (model, start), yes in zip(starts, can_win, strict=True)
    ]


def _grown(
    last: tuple[GaussianMixture, Mixture], model: GaussianMixture, rows: InMemoryRows
) -> list[Mixture]:
    """The last candidate's fit with one component more, if that is what the next one asks for."""
    before, mixture = last
    next_one = (before.covariance_type, before.n_components + 1)
    if not model.progressive or next_one != (model.covariance_type, model.n_components):
        return []
    with single_thread():
        grown = with_one_more(rows, mixture, Ridge(model.reg_covar))
    return [] if grown is None else [grown]


def _after_mergers(
    starts: list[tuple[GaussianMixture, Mixture]], rows: InMemoryRows
) -> list[tuple[GaussianMixture, Mixture]]:
    """From the most components down: what the next more become by a merger, where that is better.

    One too many can hold what starts of the right number have missed.
    """
    starts = list(starts)
    for at in range(len(starts) - 2, -1, -1):
        (model, mixture), (more, merging) = starts[at : at + 2]
        next_one = (model.covariance_type, model.n_components + 1)
        if next_one != (more.covariance_type, more.n_components):
            continue
        with single_thread():
            merged = with_one_less(rows, merging, Ridge(model.reg_covar))
        fit = climb(rows, merged, Ridge(model.reg_covar), to_the_end=False)
        own = statistics_of(rows, mixture).log_likelihood_per_row
        if fit is not None and fit.log_likelihood > own:
            starts[at] = model, finished(rows, fit.mixture, Ridge(model.reg_covar))
    return starts


def _fitted(
    starts: Sequence[_Start], rows: Rows, scan: Scan, seed: int, criterion: str, tell: Listener
) -> tuple[list[_Trial], int]:
    """Evaluate all on one pass, fit those that can win to the end; and the passes taken.

    Those that collapse are left out; where all that could win do, the others are fitted.
    """
    value, threads, first = CRITERIA[criterion], in_force().local_threads, starts[0].model
    candidates = [
        Candidate(s.mixture, stepper_of(s.model, scan.sample, threads), tol_of(s.model, rows))
        for s in starts
    ]
    trial_of: dict[Candidate, _Trial] = {}
    n_passes = 0

    def narrow(found: Sequence[Statistics]) -> list[bool]:
        """Evaluate all by what the pass has found, and say which can win."""
        trials = _evaluated(starts, found, scan, seed)
        trial_of.update(zip(candidates, trials, strict=True))
        tell(Message(f"evaluated on all rows: {len(trials)} candidates"))
        if first.progressive:
            running = [trial for trial in trials if trial.can_win]
            lead = min(value(trial.entry) for trial in running)
            by_all_rows = _can_win_by_all_rows(running, scan, criterion)
            for trial, yes in zip(running, by_all_rows, strict=True):
                trial.can_win = yes
            # One that a part of the sample ruled out, and all rows put ahead of the others.
            for trial in trials:
                trial.can_win |= value(trial.entry) < lead
        can_win = [trial.can_win for trial in trials]
        tell(Message(f"can still win: {_names([trial.model for trial in trials], can_win)}"))
        return can_win

    def drop(results: Sequence[FitResult]) -> list[bool]:
        """Those that cannot win, by what they have found and expect to gain."""
        nonlocal n_passes
        n_passes = results[0].n_passes
        now, at_best = [], []
        for result in results:
            entry = trial_of[result.candidate].entry
            gained = result.log_likelihood - entry.log_likelihood_per_row
            remaining = result.history[-1].remaining_gain
            now.append(value(_gained(entry, scan.n_rows, gained)))
            at_best.append(value(_gained(entry, scan.n_rows, gained + remaining)))
        lead = min(now)
        out = [best > lead for best in at_best]
        if n_passes == 1:  # evaluated, not fitted to all rows
            for result, yes in zip(results, out, strict=True):
                trial_of[result.candidate].can_win = not yes
        return out

    try:
        results = run_together(
            rows,
            candidates,
            stop=stop_rule_named(first.stopping),
            max_iter=first.max_iter,
            total=scan.moments,
            precision=first.precision,
            on_iteration=tell,
            narrow=narrow,
            drop=drop,
        )
    except SingularComponentError:  # all have collapsed, on the pass after those that drop saw
        results, n_passes = [], n_passes + 1
    for result in results:
        trial = trial_of[result.candidate]
        if trial.can_win:
            trial.take_in(result, scan)
    trials = list(trial_of.values())
    collapsed = [trial for trial in trials if trial.can_win and trial.result is None]
    others = [trial for trial in trials if trial not in collapsed]
    for trial in collapsed:
        tell(Message(f"left out: {_name(trial.model)}: collapsed on all rows", "warning"))
    if any(trial.result is not None for trial in trials):
        return others, n_passes
    if not others:
        raise SingularComponentError(
            "every candidate collapsed on all rows; lower components, or raise reg_covar"
        )
    again = [replace(trial.start, can_win=True) for trial in others]
    trials, more_passes = _fitted(again, rows, scan, seed, criterion, tell)
    return trials, n_passes + more_passes


def _evaluated(
    starts: Sequence[_Start], found: Sequence[Statistics], scan: Scan, seed: int
) -> list[_Trial]:
    """What the first pass says of the fits to the sample, and what rows held out do."""
    threads = in_force().local_threads
    trials: list[_Trial] = []
    before: _Trial | None = None
    for start, statistics in zip(starts, found, strict=True):
        of_all = statistics.log_likelihood_per_row
        if len(scan.sample) < scan.n_rows:
            held_out = HeldOut.outside(scan, start.mixture, of_all)
        else:
            held_out = HeldOut.in_folds(
                scan, start.mixture, Ridge(start.model.reg_covar), seed, threads
            )
        if before is not None and before.model.covariance_type != start.model.covariance_type:
            before = None
        gain, its_error = held_out.gain_over(before.held_out) if before else (None, None)
        entry = replace(
            _entry(start.mixture, _score(scan, start.mixture, of_all), held_out.per_row),
            held_out_standard_error=held_out.error,
            held_out_gain_per_row=gain,
            held_out_gain_standard_error=its_error,
        )
        before = _Trial(start, held_out, entry, start.can_win)
        trials.append(before)
    return trials


# -- which can win -------------------------------------------------------------


def _which_can_win(
    entries: Sequence[Entry],
    criterion: str,
    n_rows: int,
    *,
    shortfall: float,
    seen_held_out: float,
    slack: Callable[[int, int], float],
) -> list[bool]:
    """Which candidates a fit to all rows may bring ahead of the one that leads now.

    Parameters that the leader has, too, gain the same for both, so that only the others count:
    of its family those beyond its number, of another family all.

    Parameters
    ----------
    entries : sequence of Entry
        As fitted to some rows.
    criterion : str
    n_rows : int
        N, of all rows.
    shortfall : float
        What the gap law multiplies by p / 2: how far in nats per row a fit to n rows is below
        one to all N. ``1 / n - 1 / N`` where all rows measure it, ``1 / n + 1 / N`` where rows do
        that it was not fitted to.
    seen_held_out : float
        Share of it that the held-out score gains in the end.
    slack : callable
        What a candidate may be better by per row, beside the leader, for other reasons; given
        where the two are in ``entries``.
    """
    now = np.array([CRITERIA[criterion](entry) for entry in entries])
    leader = int(np.argmin(np.where(np.isnan(now), np.inf, now)))  # no number leads nothing

    def at_best(i: int) -> float:
        entry, extra = entries[i], entries[i].n_parameters
        if entry.covariance_type == entries[leader].covariance_type:
            extra = max(0, extra - entries[leader].n_parameters)
        gap, besides = _MARGIN * 0.5 * extra * shortfall, slack(i, leader)
        held_out = entry.held_out_log_likelihood_per_row + seen_held_out * gap + besides
        grown = replace(entry, held_out_log_likelihood_per_row=held_out)
        return CRITERIA[criterion](_gained(grown, n_rows, gap + besides))

    return [i == leader or at_best(i) <= now[leader] for i in range(len(entries))]


def _can_win_by_part(
    starts: Sequence[Mixture], scan: Scan, part: Scan, criterion: str
) -> list[bool]:
    """Which fits to a part of the sample can win, by the rows of the sample that it has not."""
    is_held_out = np.arange(len(scan.sample)) % _THINNING != 0
    held_out = replace(scan, sample=scan.sample.take(is_held_out))
    is_icl = criterion == "icl"
    entries, terms = [], []  # what each row adds to the criterion, up to a factor
    for start in starts:
        densities = log_density(held_out.sample.x, start)
        per_row = float(densities.mean())
        entries.append(_entry(start, _score(held_out, start, per_row), per_row))
        terms.append(densities + _log_decided(held_out, start) if is_icl else densities)

    def by_chance(i: int, leader: int) -> float:
        differences = terms[i] - terms[leader]
        return _ERRORS * float(differences.std()) / np.sqrt(len(differences))

    return _which_can_win(
        entries,
        criterion,
        scan.n_rows,
        shortfall=1 / len(part.sample) + 1 / scan.n_rows,
        # Held out in the end is a fit to the sample, S: 1 / n - 1 / S of about 1 / n.
        seen_held_out=1.0 - 1.0 / _THINNING,
        slack=by_chance,
    )


def _can_win_by_all_rows(trials: Sequence[_Trial], scan: Scan, criterion: str) -> list[bool]:
    """Which fits to the sample can win, by all rows."""
    entries, n = [trial.entry for trial in trials], len(scan.sample)

    def left_by_climb(i: int, leader: int) -> float:
        # Of the held-out score, which is final, nothing is left to gain.
        return 0.0 if criterion == "held-out" else statistical_tol(entries[i].n_parameters, n)

    return _which_can_win(
        entries,
        criterion,
        scan.n_rows,
        shortfall=1 / n - 1 / scan.n_rows,
        seen_held_out=0.0,  # it is final: of the fit to the sample
        slack=left_by_climb,
    )


def _gained(entry: Entry, n_rows: int, gain: float) -> Entry:
    """With the criteria as if the log-likelihood per row were higher by a gain."""
    shift = 2.0 * n_rows * gain
    return replace(entry, bic=entry.bic - shift, aic=entry.aic - shift, icl=entry.icl - shift)


def _score(scan: Scan, mixture: Mixture, per_row: float) -> Score:
    """Of a log-likelihood per row of all rows, and what the sample tells of assignments."""
    n, decided = scan.n_rows, float(_log_decided(scan, mixture).mean())
    return Score(n, float(n), n * per_row, n * decided, mixture.n_parameters)


def _log_decided(scan: Scan, mixture: Mixture) -> Float64Array:
    """Log responsibility of the likeliest component of each row of the sample."""
    logs: Float64Array = np.log(responsibilities(scan.sample.x, mixture).max(axis=1))
    return logs


def _entry(mixture: Mixture, score: Score, held_out: float) -> Entry:
    return Entry(
        n_components=mixture.n_components,
        covariance_type=mixture.kind,
        n_parameters=mixture.n_parameters,
        log_likelihood_per_row=score.log_likelihood_per_row,
        bic=score.bic,
        aic=score.aic,
        icl=score.icl,
        held_out_log_likelihood_per_row=held_out,
        held_out_standard_error=0.0,
        held_out_gain_per_row=None,
        held_out_gain_standard_error=None,
        refined=False,
    )


def _name(model: GaussianMixture) -> str:
    return f"{model.n_components} {model.covariance_type}"


def _names(models: Sequence[GaussianMixture], chosen: Sequence[bool]) -> str:
    return ", ".join(_name(model) for model, yes in zip(models, chosen, strict=True) if yes)


def _note(entries: Sequence[Entry], best: Entry, criterion: str) -> str | None:
    """Where the best is the largest that was tried, what that means."""
    same = [entry for entry in entries if entry.covariance_type == best.covariance_type]
    ks = [entry.n_components for entry in same]
    if len(ks) < 2 or best.n_components < max(ks):
        return None
    return (
        f"{criterion} still improves at {best.n_components} {best.covariance_type} components, the "
        f"most that were tried: try more; or, since with many rows it may rise for ever, ask "
        f"whether the last step's gain of {best.held_out_gain_per_row:.2g} nats per held-out row "
        f"(standard error {best.held_out_gain_standard_error:.1g}) is worth having"
    )
