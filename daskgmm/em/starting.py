"""Starting: the mixtures from which the fits of a problem begin."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np

from daskgmm.em.problem import Problem
from daskgmm.em.rows import rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starts.assign import NOISE_OF_STARTS, StartMaker
from daskgmm.em.starts.climbs import Climber
from daskgmm.em.starts.competing import N_STARTS, Competition, Outcome
from daskgmm.em.starts.extended_search import ExtendedSearch
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import Mixture, moments_and_extremes
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Event

__all__ = ["Tell", "competed", "starts_of"]

_RIVAL = "random_from_data"
"""Initialiser of every second start that competes: k-means only finds the widest components."""
_THIRD = "random"
"""Further initialiser of the extended search: the others keep finding the same groups where many
rows are equal."""

Tell = Callable[[Event], None]
"""Called with each event of a fit."""


def starts_of(
    problem: Problem,
    scan: Scan,
    rng: np.random.RandomState,
    tell: Tell = lambda event: None,
    known: Sequence[Mixture] = (),
) -> list[Mixture]:
    """Mixtures from which EM over all rows begins, on the same passes.

    Parameters
    ----------
    problem : Problem
    scan : Scan
    rng : RandomState
    tell : callable
        Called with an event after each round of starts on the sample.
    known : sequence of Mixture
        Mixtures near good optima, which compete as well; half as many starts are then made.

    Raises
    ------
    ParameterError
        If ``problem.last`` has another kind, number of components or number of features.
    """
    if not scan.sample_is_plain:
        return _starts_by_values(problem, scan, rng, tell, known)
    uniform = problem.uniform_on(scan)
    if problem.last is not None:
        last = _of_last_fit(problem, problem.last, scan.sample.n_features)
        return [last.with_noise(uniform, last.noise_weight or NOISE_OF_STARTS)]
    if scan.is_whole:
        distinct = scan.sample.distinct()  # repeated rows go the way of rows that have weights
        scan = replace(scan, sample=distinct)
        if problem.progressive:
            scan = _in_order_of_values(scan)
    prior, rng = problem.prior_on(scan), _rng_of(problem, scan, rng)
    maker = StartMaker(problem.n_components, problem.kind, prior, rng, problem.given, uniform)
    if problem.given.complete:
        return [maker.start(scan, problem.init_params)]
    with single_thread():  # sums of a BLAS on several threads depend on their number
        if not problem.progressive or problem.max_iter == 0:
            some = scan.for_starts
            return [maker.start(some, problem.init_params) for _ in range(problem.n_init)]
        found = competed(problem, scan, maker, tell, known)
        is_sure = found.agree and problem.n_init == 1
        if not scan.is_whole or is_sure or not _may_search(problem, scan):
            return found.best
        ways = cycle(_ways(problem, scan, maker, _THIRD))
        more = (start_from(scan) for start_from in ways)
        sample = Climber(rows_of_sample(scan.sample, problem.n_threads), prior)
        search = ExtendedSearch(sample, more, problem.n_init, problem.may_move_components, rng)
        return [search.best(found.best[0])]


def _starts_by_values(
    problem: Problem,
    scan: Scan,
    rng: np.random.RandomState,
    tell: Tell,
    known: Sequence[Mixture],
) -> list[Mixture]:
    """Starts from plain values of the sample; where they compete, the best on the sample as it is.

    One Gaussian draws what is missing, or takes away noise, as if there were no clusters, and the best
    start on such values can be a poor one. So rows without gaps compete too, with noise as it is.
    """
    starts = starts_of(problem, scan.completed, rng, tell, known)
    is_as_made = problem.last is not None or problem.given.complete or problem.max_iter == 0
    if is_as_made or not problem.progressive:
        return starts
    n_wanted, known_well = len(starts), scan.without_gaps
    if known_well.sample.total_weight >= problem.count_parameters(scan.sample.n_features):
        starts = [*starts, *starts_of(problem, known_well, rng, tell, known)]
    sample = Climber(rows_of_sample(scan.sample, problem.n_threads), problem.prior_on(scan))
    with single_thread():
        ends = [sample.finished(start) for start in starts]
        if len(ends) > n_wanted:
            ends.sort(key=partial(_height, sample), reverse=True)
        return ends[:n_wanted]


def _height(sample: Climber, mixture: Mixture) -> float:
    try:
        return sample.height(mixture)
    except SingularComponentError:
        return -np.inf


def competed(
    problem: Problem,
    scan: Scan,
    maker: StartMaker,
    tell: Tell = lambda event: None,
    known: Sequence[Mixture] = (),
) -> Outcome:
    """The best mixtures that starts lead to on the sample.

    See :meth:`~daskgmm.em.starts.competing.Competition.search`.
    """
    # Of all rows there is no doubt which is the best, however many may go on.
    n_kept = 1 if scan.is_whole else problem.n_init
    most = max(n_kept, N_STARTS // 2 if known else N_STARTS)
    if problem.n_components == 1:  # which has one optimum
        most = 1
    competition = Competition(
        _ways(problem, scan, maker),
        n_components=problem.n_components,
        n_starts=1 if problem.given.has_places else most,
        n_kept=n_kept,
        prior=maker.prior,
        n_threads=problem.n_threads,
        exchanges=problem.may_move_components,
        tell=tell,
    )
    return competition.search(scan, known)


def _ways(
    problem: Problem, scan: Scan, maker: StartMaker, *more: str
) -> list[Callable[[Scan], Mixture]]:
    """Ways to make a start, which take turns: each initialiser on the rows as they are.

    Where some values are far away, each also on rows whose far values are winsorized: in units of the
    variance of all rows, the clusters would be one group beside the far rows.
    """
    initialisers = dict.fromkeys((problem.init_params, _RIVAL, *more))
    has_far = scan.shortest_half.winsorized(scan.sample.x) is not scan.sample.x
    return [
        partial(maker.start, init_params=one, is_winsorized=is_winsorized)
        for is_winsorized in ((False, True) if has_far else (False,))
        for one in initialisers
    ]


def _in_order_of_values(scan: Scan) -> Scan:
    """The scan with the rows of its sample in an order of their values, and moments of those.

    So starts that compete, and draw rows by their place, do not depend on the order in which the
    rows came.
    """
    sample = scan.sample.sorted()
    moments, _, _ = moments_and_extremes(sample)  # so that their last bits do not depend on it
    return replace(scan, sample=sample, moments=moments)


def _may_search(problem: Problem, scan: Scan) -> bool:
    """Whether a search is asked for, has several optima, and rows enough to tell them apart."""
    k, n_distinct = problem.n_components, len(scan.sample)
    p = problem.count_parameters(scan.sample.n_features)
    is_open = problem.progressive and problem.given.means is None and not problem.are_numbered
    return is_open and 1 < k < n_distinct and p <= scan.weight


def _rng_of(problem: Problem, scan: Scan, rng: np.random.RandomState) -> np.random.RandomState:
    """The generator that the starts of a problem draw from.

    If the sample is all rows it is a new one, from the state of ``rng`` and, where the search may
    go on, from K and the kind; ``rng`` is not advanced, so that a problem's result does not depend
    on others. Else it is ``rng`` itself.
    """
    if not scan.is_whole:
        return rng
    same = np.random.RandomState(0)  # without a seed, it would ask the system for one
    same.set_state(rng.get_state())
    if not _may_search(problem, scan):
        return same
    kind = zlib.crc32(problem.kind.encode())
    return np.random.RandomState([same.randint(2**31 - 1), problem.n_components, kind])


def _of_last_fit(problem: Problem, last: Mixture, n_features: int) -> Mixture:
    asked = (problem.n_components, n_features, problem.kind)
    # The last fit may have been left with fewer components than it was asked for.
    pruned = 0 if problem.ended is None else problem.ended.course.n_pruned
    had = (last.n_components + pruned, last.n_features, last.kind)
    if asked != had:
        raise ParameterError(
            "warm_start: the last fit had (n_components, n_features, covariance_type) = "
            f"{had}, this one has {asked}; set warm_start=False, or fit a new estimator",
            "warm_start",
        )
    return last
