"""Orders of components: permutations of one fit, in everything that is indexed by component."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import pytest
import zarr
from made_data import WORDS_OF_FAMILIES, made_mixture, rows_of

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import order_of
from daskgmm.em.ordering import _distances
from daskgmm.errors import ParameterError

K, D = 4, 2


@cache
def rows(family: str = "full") -> np.ndarray:
    return rows_of(made_mixture(family, K, D, seed=3, separation=4.0), 4000, 1)


def fitted(x: np.ndarray, family: str = "full", **settings) -> GaussianMixture:
    """From one start: the order is made at the end, and a search for better starts takes long."""
    how = {"random_state": 0, "progressive": False, **settings}
    return GaussianMixture(K, covariance_type=family, **how).fit(x)


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize("order", ["weight", "first-feature"])
def test_all_that_is_indexed_by_component_is_in_order(tmp_path, family, order):
    x = rows(family)
    plain, found = fitted(x, family), fitted(x, family, order=order)
    key = -found.weights_ if order == "weight" else found.means_[:, 0]
    assert (np.diff(key) >= 0).all()
    places = order_of(order, plain._mixture, None)
    np.testing.assert_allclose(found.weights_, plain.weights_[places], rtol=1e-12)
    np.testing.assert_array_equal(found.means_, plain.means_[places])
    probabilities = plain.predict_proba(x)[:, places]  # up to the rounding of sums over components
    np.testing.assert_allclose(found.predict_proba(x), probabilities, atol=1e-12)
    for name in ("covariances_", "precisions_", "precisions_cholesky_"):
        theirs = getattr(plain, name)
        np.testing.assert_array_equal(
            getattr(found, name), theirs[places] if len(theirs) == K else theirs
        )
    np.testing.assert_array_equal(found._statistics().n_k, plain._statistics().n_k[places])
    found.save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    np.testing.assert_array_equal(again.means_, found.means_)
    assert again.order == order


def test_thin_components_are_those_of_the_order():
    x = np.vstack([rows(), [[500.0, 500.0], [500.1, 500.0], [500.0, 500.1]]])
    with pytest.warns(UserWarning, match="hold"):
        model = GaussianMixture(  # no pass is left to put the thin ones elsewhere
            K + 1, random_state=0, order="weight", n_init=5, max_iter=1
        ).fit(x)
    assert model.thin_components_
    for thin in model.thin_components_:
        assert thin.n_rows == pytest.approx(len(x) * model.weights_[thin.component])


@pytest.mark.parametrize("family", WORDS_OF_FAMILIES)
@pytest.mark.parametrize("places", list(permutations(range(K)))[5::7])
def test_components_are_matched_to_those_before(family, places):
    """Whatever order the start has, from which the order of the fit follows."""
    before = fitted(rows(family), family)
    taken = before._mixture.take(list(places))
    start = {"weights_init": taken.weights, "means_init": taken.means}
    model = fitted(rows(family) + 0.1, family, **start)
    back = order_of("previous", model._mixture, before._mixture)
    np.testing.assert_array_equal(np.asarray(places)[back], np.arange(K))
    by_means = order_of("previous", model._mixture, before.means_)
    np.testing.assert_array_equal(by_means, back)


def test_the_last_fit_and_means_that_are_given_come_before():
    x = rows()
    model = fitted(x, order="weight", progressive=True)
    model.set_params(order="previous", random_state=7, init_params="random").fit(x)
    assert (np.diff(model.weights_) <= 1e-3).all()
    reversed_means = model.means_[::-1]
    given = fitted(x, means_init=reversed_means, order="previous")
    np.testing.assert_allclose(given.means_, reversed_means, atol=0.05)


def test_distances_are_those_of_gaussians():
    """Against the affinity ``integral sqrt(p q)``, summed on a grid."""
    mixture = made_mixture("full", 3, 1, seed=0)
    grid = np.linspace(-30, 30, 60_001)
    densities = np.exp(mixture.components.log_densities(grid[None]))
    affinity = np.sqrt(densities[:, None] * densities).sum(axis=2) * (grid[1] - grid[0])
    found = _distances(mixture.components, mixture.components)
    np.testing.assert_allclose(found, -np.log(affinity), atol=1e-6)
    diag = made_mixture("diag", 3, 4, seed=0).components
    dense = made_mixture("full", 3, 4, seed=0).components
    as_dense = type(dense)(diag.means, diag.dense())
    np.testing.assert_allclose(_distances(diag, diag), _distances(as_dense, as_dense), atol=1e-12)


def test_without_a_model_before_it_is_refused_before_any_pass():
    x = rows()
    for wrong in (GaussianMixture(K, order="previous"), fitted(x).set_params(n_components=2)):
        with pytest.raises(ParameterError, match="set another order") as caught:
            wrong.set_params(order="previous").fit(x)
        assert caught.value.parameter == "order"
    with pytest.raises(ParameterError, match="select has no model before"):
        select(x, [2, 3], order="previous")
    assert (np.diff(select(x, [K], order="weight", random_state=0).model.weights_) <= 0).all()


@pytest.mark.filterwarnings("ignore:not converged")
def test_a_warm_start_goes_on_with_what_it_learned_in_any_order():
    x, passes = rows(), {}
    for order in (None, "weight", "first-feature"):
        model = GaussianMixture(K, random_state=0, max_iter=1, warm_start=True, order=order)
        passes[order] = next((n for n in range(1, 20) if model.fit(x).converged_), None)
    assert len(set(passes.values())) == 1


def test_a_checkpoint_goes_on_to_the_same_order(tmp_path):
    zarr.save_array(tmp_path / "x.zarr", rows())
    settings = {"random_state": 0, "order": "weight", "checkpoint": tmp_path / "kept"}
    first = GaussianMixture(K, **settings).fit(tmp_path / "x.zarr")
    again = GaussianMixture(K, **settings, resume=True).fit(tmp_path / "x.zarr")
    np.testing.assert_array_equal(first.means_, again.means_)
