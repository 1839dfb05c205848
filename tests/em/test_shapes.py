"""Any shape: few rows of many features are fitted as scikit-learn would, and that they are few is said."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture

from daskgmm import GaussianMixture
from daskgmm.em import StartsFitted
from daskgmm.errors import DaskGMMWarning
from daskgmm.events import listening


def rows_apart(n_rows, d, k, seed=0):
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(k, d))
    return centres[rng.integers(k, size=n_rows)] + rng.normal(size=(n_rows, d))


@pytest.mark.parametrize(
    ("n_rows", "d", "k"),
    [(300, 100, 3), (1000, 40, 5), (60, 8, 3), pytest.param(1000, 3, 4, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_the_log_likelihood_is_no_less_than_scikit_learns(n_rows, d, k, kind):
    x = rows_apart(n_rows, d, k)
    options = {"covariance_type": kind, "reg_covar": 1e-3, "random_state": 0}
    ours = GaussianMixture(k, **options)
    if kind == "full" and d * k >= n_rows:
        with pytest.warns(DaskGMMWarning, match="are few for"):
            ours.fit(x)
    else:
        ours.fit(x)
    theirs = InMemoryGaussianMixture(k, **options).fit(x)
    p = theirs._n_parameters()
    assert ours.score(x) >= theirs.score(x) - 0.5 * p / n_rows
    # Apart as they are, the components are found by both.
    assert ours.score(x) == pytest.approx(theirs.score(x), abs=1e-2 * d)


def test_no_search_is_made_where_rows_cannot_tell_starts_apart_and_passes_take_time():
    x = rows_apart(300, 100, 3)
    told = []
    with listening(told.append), pytest.warns(DaskGMMWarning, match="are few"):
        model = GaussianMixture(3, random_state=0).fit(x)
    assert not [event for event in told if isinstance(event, StartsFitted)]
    assert model.n_passes_ <= 6
    assert model.converged_
    with listening(told.append):
        GaussianMixture(3, random_state=0, covariance_type="diag").fit(x)
    assert [event for event in told if isinstance(event, StartsFitted)]


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_one_component_is_found_by_one_start(kind):
    x = rows_apart(500, 6, 3)
    told = []
    with listening(told.append):
        model = GaussianMixture(1, covariance_type=kind, reg_covar=0.0, random_state=0).fit(x)
    assert {event.n_starts for event in told if isinstance(event, StartsFitted)} == {1}
    np.testing.assert_allclose(model.means_[0], x.mean(axis=0), rtol=1e-9, atol=1e-12)
    covariance = np.cov(x.T, bias=True)
    expected = {
        "full": covariance[None],
        "tied": covariance,
        "diag": np.diag(covariance)[None],
        "spherical": [np.diag(covariance).mean()],
    }[kind]
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-7, atol=1e-9)


def test_a_transposed_array_is_named_and_transposing_it_is_the_way_out():
    x = rows_apart(40, 3, 1)
    with pytest.warns(DaskGMMWarning, match=r"3 rows of 40 features.*wrong way round, transpose"):
        GaussianMixture(1, random_state=0).fit(x.T)
    GaussianMixture(1, random_state=0).fit(x)
    with pytest.warns(DaskGMMWarning, match="fewer components$"):
        GaussianMixture(1, random_state=0, covariance_type="diag").fit(x.T)
    GaussianMixture(1, random_state=0, covariance_type="spherical").fit(x.T)
