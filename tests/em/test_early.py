"""Early start: rows that are read once for the scan and the first pass end where others do."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from made_data import assert_same_bits, pass_with_tail

from daskgmm.em import (
    READS,
    InMemoryRows,
    Iteration,
    Problem,
    ScanDone,
    fit,
    scan_rows,
    statistics_of,
)
from daskgmm.em.early import early_start
from daskgmm.em.rows import spread_pieces
from daskgmm.em.scan import EarlyStart, scan_in_pass
from daskgmm.em.stopping import statistical_tol
from daskgmm.errors import NonFiniteError, ParameterError
from daskgmm.kernel import Block, RelativeRidge, gaussian_mixture

N, N_SAMPLED, D, K = 60_000, 6_000, 2, 3
P = (K - 1) + K * D + K * D * (D + 1) // 2


class PiecesOf(InMemoryRows):
    """Rows in memory, of which pieces are given as of rows that are stored.

    ``where`` maps the index of a piece's row to the index of the row that is given instead.
    """

    def __init__(self, x, where=lambda index: index, weight=None):
        super().__init__(x, weight=weight)
        self.where = where

    def pieces(self, n_wanted, seed):
        spread = spread_pieces(self.n_rows, n_wanted, seed)
        return self.block.take(np.concatenate([self.where(np.arange(*one)) for one in spread]))


class Kept:
    """A keeper in memory, which keeps the state of the random numbers with the scan."""

    def __init__(self):
        self.courses, self.history, self._scan = (), (), None

    def scan(self, rng):
        if self._scan is not None:
            rng.set_state(self._scan[1])
        return None if self._scan is None else self._scan[0]

    def keep_scan(self, scan, rng):
        self._scan = scan, rng.get_state()

    def keep_pass(self, courses):
        self.courses = courses

    def finish(self):
        pass


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(4)
    label = rng.integers(K, size=N)
    shapes = 0.4 * rng.normal(size=(K, D, D)) + np.eye(D)
    centres = np.array([[0.0, 0.0], [6.0, 2.0], [-2.0, 8.0]])
    return np.einsum("nij,nj->ni", shapes[label], rng.normal(size=(N, D))) + centres[label]


def _fit(rows, tell=lambda event: None, keeper=None, n_components=K, **options):
    problem = Problem(n_components, "full", RelativeRidge(), **options)
    return fit(rows, problem, np.random.RandomState(0), N_SAMPLED, tell, keeper)


def repeating(x):
    """Rows whose pieces are a corner that repeats, unlike the rest."""
    return PiecesOf(x, lambda index: index % 700)


# Fits that several tests compare with theirs.


@pytest.fixture(scope="module")
def plain(x):
    """Without an early start."""
    return _fit(InMemoryRows(x))


@pytest.fixture(scope="module")
def early(x):
    """With one, and what was told of it."""
    told = []
    return _fit(PiecesOf(x), told.append), told


@pytest.fixture(scope="module")
def early_of_unlike(x):
    return _fit(repeating(x))


def test_one_read_is_saved_and_the_end_is_the_same(early, plain):
    early, told = early
    assert early.n_passes < plain.n_passes
    assert early.n_passes == len(early.course.history), "the scan was the first pass"
    assert all(i.accepted and i.gain > 0 for i in early.course.history)
    assert early.course.log_likelihood == pytest.approx(
        plain.course.log_likelihood, abs=statistical_tol(P, N)
    )
    (scan,) = (event for event in told if isinstance(event, ScanDone))
    assert scan.is_pass
    assert [event.n_iter for event in told if isinstance(event, Iteration)] == list(
        range(1, early.n_passes + 1)
    )


def overlapping():
    """Balls so near each other that an M-step gains little of what a step of the surrogate does."""
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [1.6, 0.0], [0.0, 2.2]])
    return centres[rng.integers(K, size=400_000)] + rng.normal(size=(400_000, D))


@pytest.mark.parametrize("begins_early", [False, True])
def test_a_last_step_that_is_sure_is_not_confirmed_where_passes_are_dear(
    x, begins_early, monkeypatch
):
    x, n_sampled = (x, N_SAMPLED) if begins_early else (overlapping(), 100_000)
    tol, rows, fits = 1e-6, (PiecesOf if begins_early else InMemoryRows)(x), []
    for dear in (len(x) + 1, len(x)):
        monkeypatch.setattr("daskgmm.em.stopping._DEAR", dear)
        problem, rng = Problem(K, "full", RelativeRidge(), tol=tol), np.random.RandomState(0)
        fits.append(fit(rows, problem, rng, n_sampled, lambda event: None))
    confirmed, found = (one.course for one in fits)
    n_passes = len(found.history)
    assert n_passes == len(confirmed.history) - 1
    height, best = (
        statistics_of(rows, one.kept).log_likelihood_per_row for one in (found, confirmed)
    )
    left, expected = (one.history[n_passes - 1].remaining_gain for one in (found, confirmed))
    assert best - left < height < best + left < best + tol
    gained = height - found.log_likelihood
    assert 0.8 * expected < gained < min(1.2 * expected, 5 * tol)
    # What an update goes on from: statistics as of all rows there, whose M-step is kept.
    again = fits[1].prior.m_step(found.statistics)
    assert_same_bits(found.kept, again)
    of_all = statistics_of(rows, found.kept).recentre(found.statistics.centres)
    np.testing.assert_allclose(found.statistics.n_k, of_all.n_k, rtol=1e-4)
    spread = np.sqrt(np.einsum("kii->ki", of_all["second"]) * of_all.n_k[:, None])
    assert (np.abs(found.statistics["first"] - of_all["first"]) < 1e-3 * spread).all()


UNLIKE = {
    "in one component": lambda x: np.flatnonzero(x[:, 0] < np.quantile(x[:, 0], 0.3)),
    "in a corner that repeats": lambda x: np.arange(700),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", UNLIKE)
def test_pieces_that_are_unlike_the_rest_cost_no_read_and_change_no_end(x, plain, name, seed):
    where = UNLIKE[name](x)
    found = _fit(PiecesOf(x, lambda index: where[(index + seed) % len(where)]))
    assert found.n_passes <= plain.n_passes
    assert found.course.log_likelihood == pytest.approx(
        plain.course.log_likelihood, abs=statistical_tol(P, N)
    )


def test_a_whole_weight_repeats_a_row(x):
    weight = np.random.default_rng(1).integers(0, 3, N).astype(float)
    found = _fit(PiecesOf(x, weight=weight))
    expected = _fit(InMemoryRows(np.repeat(x, weight.astype(int), axis=0)))
    assert found.course.log_likelihood == pytest.approx(
        expected.course.log_likelihood, abs=statistical_tol(P, N)
    )


def test_values_that_cannot_be_used_are_those_of_the_first_read(x):
    bad = x.copy()
    bad[[41_000, 7]] = np.nan
    keeper = Kept()
    with pytest.raises(NonFiniteError, match=r"4 values, the first at row 7, column 0"):
        _fit(PiecesOf(bad, lambda index: np.where(index % 2, 7, index)), keeper=keeper)
    with pytest.raises(NonFiniteError, match=r"4 values, the first at row 7, column 0"):
        _fit(PiecesOf(bad, lambda index: np.maximum(index, 42_000)), keeper=keeper)
    assert keeper.scan(np.random.RandomState()) is None


@pytest.mark.parametrize("unlike", [False, True], ids=["like the rest", "unlike the rest"])
@pytest.mark.parametrize("after", [ScanDone, Iteration], ids=["the scan", "a pass"])
def test_a_fit_that_is_interrupted_goes_on_to_the_same_bits(
    x, early, early_of_unlike, after, unlike
):
    rows, expected = (repeating(x), early_of_unlike) if unlike else (PiecesOf(x), early[0])
    keeper = Kept()

    def interrupt(event):
        if isinstance(event, after):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(rows, interrupt, keeper)
    found = _fit(rows, keeper=keeper)
    assert found.n_passes == expected.n_passes
    assert_same_bits(found.course.kept, expected.course.kept)


@pytest.mark.slow
def test_rivals_are_watched_and_wait_also_after_an_interruption(x):
    """Of pieces unlike the rest; and of rows among which a rare group is missing in the sample."""
    both = x.copy()
    both[7::1500] = [40.0, -40.0] + 0.1 * x[7::1500]
    where = np.flatnonzero(both[:, 0] < np.quantile(both[:, 0], 0.3))
    rows = PiecesOf(both, lambda index: where[index % len(where)])
    problem = {"n_components": K + 1}
    keepers = [Kept() for _ in range(3)]

    def stopping_at(n):
        def stop(event):
            if isinstance(event, Iteration) and event.n_iter == n:
                raise KeyboardInterrupt

        return stop

    expected = _fit(rows, **problem)
    for n, keeper in enumerate(keepers, 1):
        with pytest.raises(KeyboardInterrupt):
            _fit(rows, stopping_at(n), keeper, **problem)
        found = _fit(rows, keeper=keeper, **problem)
        assert found.n_passes == expected.n_passes
        assert found.course.rare == expected.course.rare
        assert_same_bits(found.course.kept, expected.course.kept)


def test_where_all_rivals_fail_the_early_start_goes_on(x, plain, monkeypatch):
    """A rival of one point in two columns: its covariance is singular on all rows."""
    degenerate = gaussian_mixture(
        np.ones(K) / K, x[:K] + 1e3, np.broadcast_to(1e-12 * np.eye(D), (K, D, D)), "full"
    )
    module = sys.modules["daskgmm.em.fit"]  # the package's name is the function's
    monkeypatch.setattr(module, "rivals_of", lambda *arguments: ([degenerate], True))
    found = _fit(PiecesOf(x))
    assert found.course.converged
    assert found.course.log_likelihood == pytest.approx(
        plain.course.log_likelihood, abs=statistical_tol(P, N)
    )


@pytest.mark.slow
@pytest.mark.parametrize("unlike", [False, True], ids=["like the rest", "unlike the rest"])
def test_more_starts_are_never_worse(x, unlike):
    rows = repeating(x) if unlike else PiecesOf(x)
    one, five = (_fit(rows, n_components=K + 2, n_init=n).course for n in (1, 5))
    p = (K + 2) * (1 + D + D * (D + 1) // 2) - 1
    # Two components too many have several optima that rows hardly tell apart.
    assert five.log_likelihood >= one.log_likelihood - 2 * statistical_tol(p, N)


def test_a_tolerance_that_holds_at_the_first_pass_ends_the_fit(x):
    found = _fit(PiecesOf(x), tol=1.0)
    assert (found.n_passes, found.course.stop_reason) == (1, "gap")


def test_between_the_scan_and_the_pass_of_one_read_nothing_is_lost(x, early):
    class KilledAtThePass(Kept):
        def keep_pass(self, courses):
            raise KeyboardInterrupt

    rows, killed, keeper = PiecesOf(x), KilledAtThePass(), Kept()
    with pytest.raises(KeyboardInterrupt):
        _fit(rows, keeper=killed)
    keeper._scan = killed._scan
    assert_same_bits(_fit(rows, keeper=keeper).course.kept, early[0].course.kept)


def test_the_read_gives_the_bits_of_a_scan_and_of_a_pass(x):
    rows = InMemoryRows(x, grain=1024)
    mixture = gaussian_mixture(np.ones(1), np.zeros((1, D)), np.eye(D)[None], "full")
    early = EarlyStart(mixture, 1.0, is_found_often=True)
    scan, statistics = scan_in_pass(rows, N_SAMPLED, 3, early, "float64")
    expected = scan_rows(rows, N_SAMPLED, 3)
    assert scan.is_pass
    assert not expected.is_pass
    assert scan.sample.x.tobytes() == expected.sample.x.tobytes()
    assert scan.moments.scatter.tobytes() == expected.moments.scatter.tobytes()
    alone, its_tail = pass_with_tail(rows, mixture)
    assert statistics.log_likelihood == alone.log_likelihood
    assert statistics["first"].tobytes() == alone["first"].tobytes()
    assert scan.early.tail.indices.tobytes() == its_tail.indices.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": False},
        {"stepper": "plain"},
        {"max_iter": 1},
    ],
    ids=str,
)
def test_there_is_none_where_the_start_is_not_left_open(x, options):
    rng = np.random.RandomState(0)
    problem = Problem(K, "full", RelativeRidge(), **options)
    assert early_start(PiecesOf(x), problem, rng, N_SAMPLED) is None


def test_there_is_none_of_too_few_rows_and_random_numbers_are_left_as_they_are(x):
    problem, rng = Problem(K, "full", RelativeRidge()), np.random.RandomState(0)
    assert early_start(PiecesOf(x), problem, rng, N_SAMPLED) is not None
    assert early_start(PiecesOf(x), problem, rng, 40 * P) is None, "a sample of 60 p is the least"
    assert early_start(PiecesOf(x), problem, rng, N) is None, "the sample is all rows"
    assert rng.randint(2**31 - 1) == np.random.RandomState(0).randint(2**31 - 1)


@pytest.mark.parametrize(
    ("n_units", "wanted"), [(10_000, 200), (320, 1), (160, 16), (10**9, 10**5)]
)
def test_pieces_are_spread_over_all_and_are_a_tenth_at_most(n_units, wanted):
    pieces = spread_pieces(n_units, wanted, seed=1)
    flat = [bound for piece in pieces for bound in piece]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] <= n_units
    length = sum(after - first for first, after in pieces)
    assert wanted <= length <= 0.1 * n_units
    assert max(np.diff([first for first, _ in pieces])) <= 2 * n_units / len(pieces)
    assert pieces == spread_pieces(n_units, wanted, seed=1)
    assert pieces != spread_pieces(n_units, wanted, seed=2) or n_units == 160


def test_few_chunks_give_no_pieces():
    assert spread_pieces(159, 1, seed=0) == []


def test_rows_in_memory_give_pieces_where_a_pass_takes_long():
    assert InMemoryRows(np.zeros((1000, 2))).pieces(100, 0) is None
    x = np.broadcast_to(np.arange(2.0), (10_000_000, 2))
    found = InMemoryRows(x).pieces(100, 0)
    assert isinstance(found, Block)
    assert len(found) == 128


def test_one_read_is_all_that_is_made_where_no_more_are_asked_for(x, plain):
    best = plain.course
    one, two = (_fit(PiecesOf(x), reads=n) for n in (1, 2))
    assert one.n_passes == len(one.course.history) == 1
    assert one.course.stop_reason == READS
    assert not one.course.converged
    assert two.n_passes <= 2
    precision = P / (2 * N)
    rows = InMemoryRows(x)
    for found, most in ((one, 2.0), (two, 0.5)):
        height = statistics_of(rows, found.course.kept).log_likelihood_per_row
        assert height >= best.log_likelihood - most * precision
    # What was left at the read is what the step has gained.
    gained = best.log_likelihood - one.course.log_likelihood
    assert one.course.history[-1].remaining_gain == pytest.approx(gained, rel=0.5)


def test_one_read_of_unlike_pieces_ends_at_a_start_of_the_sample(x, plain):
    left = np.flatnonzero(x[:, 0] < np.quantile(x[:, 0], 0.3))
    found = _fit(PiecesOf(x, lambda index: left[index % len(left)]), reads=1)
    best = plain.course
    height = statistics_of(InMemoryRows(x), found.course.kept).log_likelihood_per_row
    expected = P / 2 * (1 / N_SAMPLED - 1 / N)
    assert best.log_likelihood - 3 * expected <= height <= best.log_likelihood


def test_one_read_where_no_start_can_be_made_before_it_is_refused(x):
    told = []
    with pytest.raises(ParameterError, match=r"set reads=2"):
        _fit(InMemoryRows(x), told.append, reads=1)
    assert told == [], "before anything is read"
    assert _fit(InMemoryRows(x), reads=2).n_passes == 2
