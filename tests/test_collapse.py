"""Collapse never ends a fit: what is left has a density, and what happened is said.

Asserted: whatever the rows, every component of the result has a density and components are
accounted for; log-likelihoods climb from one collapse to the next; rows that a lost component left
are given another; fits of fewer distinct rows than components are those of as many components; bits
depend neither on threads nor on interruptions; models remember what happened. Not asserted: where
exactly a component is reseeded.
"""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from made_data import assert_same_bits

from daskgmm import GaussianMixture, job, load_model, select
from daskgmm.em import STEPPERS, Collapse, Iteration, said_of_collapses, said_of_far_values
from daskgmm.errors import (
    DaskGMMWarning,
    InterruptedFitError,
    ParameterError,
    SingularComponentError,
)
from daskgmm.events import listening
from daskgmm.kernel import COMPONENTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*collapsed:daskgmm.errors.DaskGMMWarning"),
    pytest.mark.filterwarnings("ignore:.*hold:daskgmm.errors.DaskGMMWarning"),
    pytest.mark.filterwarnings("ignore:.*are few for:daskgmm.errors.DaskGMMWarning"),
    pytest.mark.filterwarnings("ignore:not converged"),
]


def copies(n: int = 20) -> np.ndarray:
    """Two clusters, and far from both so many copies of one row."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 2)), rng.normal([30.0, 0.0], size=(300, 2))
    return np.concatenate([a, b, np.full((n, 2), 100.0)])


UGLY = {
    "copies": copies,
    "ties": lambda: np.round(np.random.default_rng(1).normal(size=(300, 2))),
    "one-hot": lambda: np.eye(4)[np.random.default_rng(2).integers(0, 4, 200)][:, :3],
    "few distinct rows": lambda: np.repeat(np.random.default_rng(3).normal(size=(5, 2)), 9, axis=0),
    "as many rows as components": lambda: np.random.default_rng(4).normal(size=(7, 1)),
    "a stretch": lambda: np.where(
        np.arange(300)[:, None] < 120, 5.0, np.random.default_rng(5).normal(size=(300, 2))
    ),
}


@pytest.mark.parametrize("rows", UGLY)
def test_every_component_that_is_left_has_a_density(rows, family):
    _assert_well(UGLY[rows](), family, "reseed", progressive=False)


@pytest.mark.slow
@pytest.mark.parametrize(("on_collapse", "progressive"), [("reseed", True), ("prune", False)])
@pytest.mark.parametrize("rows", UGLY)
def test_so_has_every_one_by_other_ways(rows, family, on_collapse, progressive):
    _assert_well(UGLY[rows](), family, on_collapse, progressive=progressive)


def _assert_well(x: np.ndarray, family: str, on_collapse: str, *, progressive: bool) -> None:
    model = GaussianMixture(
        7,
        covariance_type=family,
        reg_covar=0.0,
        on_collapse=on_collapse,
        progressive=progressive,
        max_iter=30,
        random_state=0,
    ).fit(x)
    model._mixture.check()
    assert np.isfinite(model.score(x))
    assert model.weights_.sum() == pytest.approx(1.0)
    assert len(model.weights_) == 7 - sum(one.n_pruned for one in model.collapses_)
    for one in model.collapses_:
        assert one.n_collapsed == one.n_reseeded + one.n_pruned
    if on_collapse == "prune":
        assert not any(one.n_reseeded for one in model.collapses_)
    assert len(model.lower_bounds_) == model.n_iter_ == len(model.history_)


UNCOUPLED = [name for name, law in COMPONENTS.items() if not law.couples_covariances]
"""Families whose components collapse one by one."""
START = {"means_init": [[15.0, 0.0], [100.0, 100.0]], "reg_covar": 0.0, "random_state": 0}
"""Of :func:`copies`: one component for both clusters, and one that collapses."""


@pytest.mark.parametrize("kind", UNCOUPLED)
def test_a_component_that_has_collapsed_is_put_where_it_gains(kind):
    x = copies()
    model = GaussianMixture(2, covariance_type=kind, **START).fit(x)
    (event,) = model.collapses_
    assert (event.n_collapsed, event.n_reseeded, event.n_pruned) == (1, 1, 0)
    left, _ = sorted(model.means_.tolist())
    # A mean of 300 rows of variance 1, three standard errors; the copies are with the other.
    np.testing.assert_allclose(left, 0.0, atol=3 / np.sqrt(300))
    pruned = GaussianMixture(2, covariance_type=kind, on_collapse="prune", **START).fit(x)
    assert len(pruned.weights_) == 1
    np.testing.assert_allclose(pruned.means_[0], x.mean(axis=0))
    assert model.score(x) > pruned.score(x)


@pytest.mark.parametrize("kind", UNCOUPLED)
def test_an_error_is_one_where_it_is_asked_for(kind):
    model = GaussianMixture(2, covariance_type=kind, on_collapse="error", **START)
    with pytest.raises(SingularComponentError, match=r"after pass \d+, .*raise reg_covar"):
        model.fit(copies(60))
    model.set_params(reg_covar=1e-3).fit(copies(60))
    assert len(model.weights_) == 2


@pytest.mark.parametrize("stepper", STEPPERS)
def test_the_likelihood_climbs_from_one_collapse_to_the_next(stepper):
    x = np.round(np.random.default_rng(1).normal(size=(300, 2)))
    model = GaussianMixture(
        12, reg_covar=0.0, stepper=stepper, progressive=False, random_state=0, max_iter=15
    ).fit(x)
    assert model.collapses_
    ends = [one.n_iter for one in model.collapses_] + [model.n_iter_]
    for begin, end in zip([0, *ends], ends, strict=False):
        found = [i.log_likelihood for i in model.history_[begin:end] if i.accepted]
        # sqrt(n) eps of values of order 10 per row.
        assert (np.diff(found) > -1e-12).all()


def test_fewer_distinct_rows_than_components_are_a_fit_of_as_many(family):
    x = np.repeat(np.random.default_rng(3).normal(size=(4, 2)), [20, 30, 40, 50], axis=0)
    settings = {"covariance_type": family, "random_state": 0}
    with pytest.warns(DaskGMMWarning, match="3 components collapsed, 3 pruned: 4 of 7 are left"):
        more = GaussianMixture(7, **settings).fit(x)
    same = GaussianMixture(4, **settings).fit(x)
    assert_same_bits(more._mixture, same._mixture)
    np.testing.assert_allclose(np.sort(more.weights_), np.array([20, 30, 40, 50]) / 140)


def test_linearly_dependent_columns_without_a_ridge_are_one_clear_line():
    x = np.random.default_rng(0).normal(size=(100, 2))
    x = np.column_stack([x, x.sum(axis=1)])
    with pytest.raises(SingularComponentError, match="columns are sums of others; raise reg_covar"):
        GaussianMixture(2, reg_covar=0.0).fit(x)
    for way_out in ({"covariance_type": "diag"}, {"reg_covar": 1e-6}):
        GaussianMixture(2, progressive=False, **({"reg_covar": 0.0} | way_out)).fit(x)


@pytest.mark.parametrize("rows", ["few distinct rows", "as many rows as components"])
def test_tied_t_components_are_lost_one_by_one_as_gaussians_are(rows):
    fit = {"covariance_type": "tied", "reg_covar": 0.0, "progressive": False, "random_state": 0}
    tailed, gaussian = (
        GaussianMixture(7, tails=tails, max_iter=30, **fit).fit(UGLY[rows]())
        for tails in ("t", None)
    )
    assert len(tailed.weights_) >= len(gaussian.weights_) > 1


def test_beside_noise_one_component_collapses_a_few_times_at_most():
    """Noise took all rows but those that are alike, 76 times in 300 passes."""
    fit = {"covariance_type": "diag", "reg_covar": 0.0, "progressive": False, "random_state": 0}
    model = GaussianMixture(7, noise=True, max_iter=100, **fit).fit(UGLY["one-hot"]())
    assert model.n_iter_ < 100
    assert len(model.collapses_) < 10
    for one in model.collapses_:
        assert one.n_collapsed == one.n_reseeded + one.n_pruned > 0
    model._mixture.check()
    assert np.isfinite(model.score(UGLY["one-hot"]()))


# -- at the end ------------------------------------------------------------------------


def four_alike() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(2_000, 2))
    x[:4] = [50.0, 50.0] + 1e-6 * x[:4]
    return x


def test_components_of_next_to_no_rows_have_collapsed_at_the_end():
    with pytest.warns(DaskGMMWarning, match="1 component collapsed, 1 pruned: 1 of 2 are left"):
        model = GaussianMixture(2, random_state=0).fit(four_alike())
    assert model.thin_components_ == ()
    np.testing.assert_allclose(model.means_[0], four_alike().mean(axis=0))
    assert model.score(four_alike()) == pytest.approx(
        GaussianMixture(1).fit(four_alike()).lower_bound_
    )
    with pytest.raises(SingularComponentError, match=r"1 of 2 components holds 4 rows.*'prune'"):
        GaussianMixture(2, random_state=0, on_collapse="error").fit(four_alike())


def test_without_a_pass_that_is_left_they_stay_and_are_said():
    with pytest.warns(DaskGMMWarning, match="1 of 2 components holds 4 rows"):
        model = GaussianMixture(2, random_state=0, max_iter=1).fit(four_alike())
    assert model.collapses_ == ()


# -- bits ------------------------------------------------------------------------------

TIES = {"n_components": 12, "reg_covar": 0.0, "progressive": False, "random_state": 0}
TIES |= {"tol": 1e-6, "max_iter": 6}


def ties() -> np.ndarray:
    return np.round(np.random.default_rng(1).normal(size=(800, 2)))


def test_bits_do_not_depend_on_threads():
    found = []
    for workers in (1, 3):
        with dask.config.set(scheduler="threads", num_workers=workers):
            found.append(GaussianMixture(**TIES).fit(da.from_array(ties(), chunks=(250, -1))))
    assert found[0].collapses_
    assert found[0].collapses_ == found[1].collapses_
    assert_same_bits(found[0]._mixture, found[1]._mixture)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "rows.zarr"
    zarr.save_array(path, ties())
    return path


def test_an_interrupted_fit_ends_with_the_same_collapses(stored, tmp_path):
    whole = GaussianMixture(**TIES).fit(stored)
    assert len(whole.collapses_) > 1
    for after in range(1, whole.n_iter_):

        def stop(event: object, after: int = after) -> None:
            if isinstance(event, Iteration) and event.n_iter == after:
                raise KeyboardInterrupt

        with listening(stop), pytest.raises(InterruptedFitError):
            GaussianMixture(**TIES, checkpoint=tmp_path / "kept", resume=True).fit(stored)
    again = GaussianMixture(**TIES, checkpoint=tmp_path / "kept", resume=True).fit(stored)
    assert_same_bits(again._mixture, whole._mixture)
    assert again.collapses_ == whole.collapses_
    assert again.lower_bounds_ == whole.lower_bounds_


# -- what is said ----------------------------------------------------------------------


def test_collapses_are_told_recorded_and_saved(tmp_path):
    np.save(tmp_path / "x.npy", copies())
    told: list[object] = []
    model = GaussianMixture(2, on_collapse="prune", **START)
    with listening(told.append):
        said = job.fit(str(tmp_path / "x.npy"), str(tmp_path / "model.zarr"), model)
    assert [one for one in told if isinstance(one, Collapse)] == list(model.collapses_)
    assert said["note"].startswith("1 component collapsed, 1 pruned: 1 of 2 are left")
    assert said["n_components"] == 1
    assert said["collapses"] == [{"n_iter": 1, "n_collapsed": 1, "n_reseeded": 0, "n_pruned": 1}]
    again = load_model(tmp_path / "model.zarr")
    assert again.collapses_ == model.collapses_
    assert again._note.startswith("1 component collapsed, 1 pruned: 1 of 2 are left")
    assert said_of_far_values(model.far_values_, None) in again._note  # of the 20 copies
    assert (
        Collapse(1, 2, 1, 1).text() == "collapse after pass 1: 2 components, 1 reseeded, 1 pruned"
    )
    assert said_of_collapses((), 3) == ""
    assert (
        said_of_collapses((Collapse(1, 1, 1, 0),), 3) == "1 component collapsed, 1 of them reseeded"
    )


def test_a_warm_start_goes_on_with_what_is_left():
    model = GaussianMixture(2, on_collapse="prune", warm_start=True, **START).fit(copies())
    before = model._mixture
    model.fit(copies())
    np.testing.assert_allclose(model.means_, before.means)
    with pytest.raises(ParameterError, match="warm_start"):
        model.set_params(n_components=3, means_init=None).fit(copies())


def test_a_selection_leaves_candidates_out_that_collapse():
    with pytest.raises(ParameterError, match="no use for on_collapse"):
        select(copies(), [1, 2], on_collapse="prune")
    found = select(copies(), [1, 2], reg_covar=0.0, random_state=0, covariance_type="diag")
    assert len(found.model.weights_) == found.best.n_components
