"""Starts: few where few suffice, and what no start would find."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from daskgmm.em import (
    N_STARTS,
    Competition,
    InMemoryRows,
    StartMaker,
    StartsFitted,
    StartsUnderway,
    scan_rows,
)
from daskgmm.em.rows import statistics_of
from daskgmm.kernel import Ridge

N_ROWS = 120_000


def drawn(means: np.ndarray, widths: np.ndarray, seed: int) -> np.ndarray:
    """Rows of balls of equal weight."""
    rng = np.random.default_rng(seed)
    of = rng.integers(len(means), size=N_ROWS)
    return means[of] + widths[of, None] * rng.standard_normal((N_ROWS, means.shape[1]))


def fitted(x, n_components, seed, *kinds, tell=lambda event: None, silence=5.0):
    """The best of starts of these kinds, by log-likelihood per row, and how many were fitted."""
    scan = scan_rows(InMemoryRows(x), N_ROWS, seed)
    rng, events = np.random.RandomState(seed), []

    def hear(event):
        tell(event)
        if isinstance(event, StartsFitted):
            events.append(event)

    maker = StartMaker(n_components, "full", Ridge(1e-6), rng)
    competition = Competition(
        [partial(maker.start, init_params=kind) for kind in kinds],
        n_components=n_components,
        n_starts=N_STARTS,
        n_kept=1,
        prior=Ridge(1e-6),
        tell=hear,
        silence=silence,
    )
    best = competition.search(scan).best[0]
    assert [event.n_rows for event in events] == sorted(event.n_rows for event in events)
    height = statistics_of(InMemoryRows(x), best).log_likelihood / N_ROWS
    return height, events[0].n_starts


BOTH = ("kmeans", "random_from_data")


def test_it_is_told_how_far_a_long_round_of_starts_is():
    x = drawn(np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), np.ones(3), seed=1)
    told = []
    fitted(x, 3, 0, *BOTH, tell=told.append, silence=-1.0)
    underway = [event for event in told if isinstance(event, StartsUnderway)]
    done = [event for event in told if isinstance(event, StartsFitted)]
    first = [event.n_starts for event in underway if event.n_rows == done[0].n_rows]
    assert first[: done[0].n_starts] == list(range(1, done[0].n_starts + 1))


def test_where_every_start_finds_the_same_some_are_enough():
    x = drawn(np.array([[-9.0, 0.0], [9.0, 0.0]]), np.ones(2), 0)
    assert fitted(x, 2, 0, *BOTH)[1] == 4
    assert fitted(x, 2, 0, "kmeans")[1] == 2


@pytest.mark.parametrize("n_features", [2, 4])
@pytest.mark.parametrize("seed", range(2))
def test_balls_of_any_size_are_found(n_features, seed):
    """Each ten times as wide and as far as the one before: k-means sees the last only."""
    widths = np.logspace(0, 3, 4)
    corners = np.vstack([np.eye(2), -np.eye(2)]) if n_features == 2 else np.eye(4)
    x = drawn(4 * widths[:, None] * corners, widths, 1)
    entropy = np.log(4) + n_features * (0.5 + 0.5 * np.log(2 * np.pi) + np.log(widths).mean())
    for kinds in (BOTH, BOTH[:1]):
        assert fitted(x, 4, seed, *kinds)[0] > -entropy - 0.05


@pytest.mark.parametrize("n", [100_400, 149_000, 210_000])
def test_only_the_best_start_is_fitted_to_all_of_a_large_sample(n):
    x = np.random.default_rng(0).standard_normal((n, 1)) + np.arange(n)[:, None] % 2 * 5
    scan, events = scan_rows(InMemoryRows(x), len(x), 0), []
    maker = StartMaker(2, "full", Ridge(1e-6), np.random.RandomState(0))
    ways = [partial(maker.start, init_params=kind) for kind in BOTH]
    Competition(
        ways, n_components=2, n_starts=N_STARTS, n_kept=1, prior=Ridge(1e-6), tell=events.append
    ).search(scan)
    *competed, (n_rows, n_starts) = [(event.n_rows, event.n_starts) for event in events]
    assert n_rows == n
    assert max(n_rows for n_rows, _ in competed) <= 105_000
    assert 50_000 < len(scan.for_starts.sample) <= 110_000
    if n > 110_000:
        assert (n_starts, len(events)) == (1, 4)
