"""Units: a power of two scales floating point numbers exactly, so results can be compared closely."""

from __future__ import annotations

import warnings

import made_data
import numpy as np
import pytest

from daskgmm import GaussianMixture, select
from daskgmm.errors import DaskGMMWarning
from daskgmm.kernel import COMPONENTS

_ROUNDING = 1e-5
"""Of parameters, in widths: the surrogate's maximiser amplifies what rounding differs by."""


def _powers(family: str, d: int, seed: int) -> np.ndarray:
    """One factor for each feature; the same for all where the family depends on their ratios."""
    powers = np.random.default_rng(seed).integers(-60, 60, size=d)
    is_same = COMPONENTS[family].is_scale_equivariant()
    return np.exp2(powers if is_same else np.full(d, powers[0]))


def _rows(seed: int, n: int = 3_000, d: int = 3) -> np.ndarray:
    """Five clusters that overlap, of different shapes, not about 0."""
    rng = np.random.default_rng(seed)
    label = rng.integers(5, size=n)
    shapes = rng.normal(size=(5, d, d)) * 0.5 + np.eye(d)
    x = np.einsum("nij,nj->ni", shapes[label], rng.normal(size=(n, d)))
    return x + 3.0 * rng.normal(size=(5, d))[label] + 1.0


def _assert_same_but_for_units(plain, scaled, factors) -> None:
    # What differs by rounding: logarithms of determinants, which units shift.
    assert scaled.n_passes_ == plain.n_passes_
    np.testing.assert_allclose(scaled.weights_, plain.weights_, rtol=_ROUNDING)
    scale = np.sqrt(np.asarray(plain._mixture.components.dense())[:, range(3), range(3)])
    np.testing.assert_allclose(
        (scaled.means_ / factors - plain.means_) / scale, 0.0, atol=_ROUNDING
    )
    back = scaled._mixture.components.dense() / np.multiply.outer(factors, factors)
    dense = plain._mixture.components.dense()
    np.testing.assert_allclose(
        (back - dense) / (scale[:, :, None] * scale[:, None, :]), 0.0, atol=_ROUNDING
    )
    moved = scaled.lower_bound_ + np.log(factors).sum()
    assert moved == pytest.approx(plain.lower_bound_, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "options"),
    [(0, {}), (1, {"progressive": False, "tol": 1e-7}), (2, {"n_init": 3})],
    ids=str,
)
def test_units_change_nothing_but_the_units_of_the_result(family, seed, options):
    x, factors = _rows(seed), _powers(family, 3, seed)
    plain, scaled = (
        GaussianMixture(5, covariance_type=family, random_state=seed, max_iter=500, **options).fit(
            y
        )
        for y in (x, x * factors)
    )
    _assert_same_but_for_units(plain, scaled, factors)


def test_units_change_nothing_where_a_component_is_rare():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240_000, 3))
    x[:120_000] += 8.0
    x[7::8_000] = 0.05 * rng.normal(size=(30, 3)) + [4.0, -9.0, 12.0]
    factors = _powers("full", 3, 5)
    plain, scaled = (GaussianMixture(3, random_state=0).fit(y) for y in (x, x * factors))
    assert plain.weights_.min() == pytest.approx(30 / 240_000, rel=1e-3)
    _assert_same_but_for_units(plain, scaled, factors)


@pytest.mark.slow
def test_units_change_nothing_of_a_selection():
    x, factors = _rows(4), _powers("full", 3, 4)
    plain, scaled = (select(y, range(4, 7), random_state=0) for y in (x, x * factors))
    assert scaled.best.n_components == plain.best.n_components
    moved = [entry.bic - 2 * len(x) * np.log(factors).sum() for entry in scaled.entries]
    # One component too many has a flat optimum, where a climb may end p / 20 nats, 3, below.
    np.testing.assert_allclose(moved, [e.bic for e in plain.entries], rtol=0, atol=0.1)


def test_columns_that_a_given_ridge_blurs_are_named():
    x = _rows(0) * [1.0, 1e-4, 1.0]
    how = {"reg_covar": 1e-6, "random_state": 0, "progressive": False}
    with pytest.warns(DaskGMMWarning, match=r"reg_covar=1e-06 .* column 1 .*auto"):
        GaussianMixture(2, **how).fit(x)
    with pytest.warns(DaskGMMWarning, match=r"reg_covar=1e-06 .* column 1 "):
        select(x, [1, 2], **how)


@pytest.mark.parametrize("reg_covar", ["auto", 0.0, 1e-12])
def test_no_warning_where_nothing_is_blurred(reg_covar):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        GaussianMixture(2, reg_covar=reg_covar, random_state=0, progressive=False).fit(
            _rows(0) * [1.0, 1e-4, 1.0]
        )
    assert [one for one in said if issubclass(one.category, DaskGMMWarning)] == []


def test_a_number_means_what_scikit_learn_means_by_it():
    x = _rows(1)
    start = made_data.made_mixture("full", 3, 3)
    gm = GaussianMixture(
        3,
        reg_covar=0.5,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=start.components.precisions,
        max_iter=3,
        tol=0.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = gm.fit(x), gm.to_sklearn().fit(x)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-8)


def test_auto_is_left_to_scikit_learn():
    model = GaussianMixture(2, random_state=0, progressive=False).fit(_rows(0))
    assert model.to_sklearn().reg_covar == 1e-6
