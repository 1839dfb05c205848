"""Whether a subsample would have done: the gap law, and what is said of it.

Asserted: the law's own arithmetic; that samples of that size do lose about that much.
"""

from __future__ import annotations

import numpy as np
import pytest
from made_data import fitted_by_sklearn, made_mixture, rows_of

from daskgmm import GaussianMixture
from daskgmm.em import Subsample
from daskgmm.kernel import gaussian_mixture


def evenly(k: int, d: int):
    return made_mixture("full", k, d, separation=6.0)


def lightest(weight: float):
    return gaussian_mixture([weight, 1 - weight], [[0.0], [5.0]], np.ones((2, 1)), "diag")


@pytest.mark.parametrize("n_rows", [10**5, 10**7, 10**9])
def test_the_sample_loses_what_it_says(n_rows):
    mixture = evenly(3, 4)
    p = mixture.n_parameters
    found = Subsample.enough(mixture, p, n_rows)
    loss = 0.5 * p * (1 / found.n_rows - 1 / n_rows)
    assert 0.9e-3 < loss <= found.loss == 1e-3  # rounded up to two digits
    said = f"a random sample of about {found.n_rows:,} of these {n_rows:,} rows"
    assert found.text() == f"{said} would have come within 0.001 nats per row of this fit"


def test_half_of_few_rows_loses_more():
    mixture = evenly(8, 8)
    found = Subsample.enough(mixture, mixture.n_parameters, 20_000)
    assert (found.n_rows, found.of) == (10_000, 20_000)
    assert found.loss == pytest.approx(mixture.n_parameters / (2 * 20_000))
    assert found.text().startswith("all rows are needed: a random sample of about 10,000")


def test_a_rare_component_needs_rows():
    # Ten rows for each feature, and one more.
    assert Subsample.enough(lightest(1e-4), 5, 10**7).n_rows == 200_000
    found = Subsample.enough(lightest(1e-4), 5, 10**5)
    assert (found.n_rows, found.loss) == (10**5, 0.0)
    assert found.text().endswith("might miss the lightest component")


def test_nothing_is_said_of_few_rows():
    assert Subsample.enough(evenly(2, 2), 11, 9_999) is None
    assert Subsample.enough(evenly(2, 2), 11, 10_000) is not None


def test_samples_lose_as_much_as_the_law_has_it():
    """On average, with a factor of two to spare, in fits by scikit-learn."""
    mixture = evenly(2, 2)
    x = rows_of(mixture, 40_000)
    whole = fitted_by_sklearn(x, mixture, 60).score(x)
    n = Subsample.enough(mixture, mixture.n_parameters, len(x)).n_rows
    losses = []
    for seed in range(12):
        some = np.random.default_rng(seed).choice(len(x), n, replace=False)
        losses.append(whole - fitted_by_sklearn(x[some], mixture, 60).score(x))
    assert 0.5e-3 < np.mean(losses) < 2e-3


def test_it_is_in_the_record_of_a_fit():
    x = rows_of(evenly(2, 2), 12_000)
    start = evenly(2, 2).means
    gm = GaussianMixture(2, means_init=start, progressive=False, random_state=0)
    found = gm.fit(x).record()["subsample"]
    assert set(found) == {"n_rows", "loss", "of"}
    assert found["of"] == 12_000
    assert "subsample" not in gm.fit(x[:9_000]).record()
