"""Truncated E-steps: a lower bound of the log-likelihood, row by row, that EM climbs.

Asserted: the bound, equality where nothing is left out, statistics of the posterior that is
zero elsewhere, on both ways to compute them; ascent while neighbourhoods stay; that the
bound is tight where components are apart. Not asserted: which components are neighbours,
beyond that each is one where it lives.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from made_data import made_mixture, rows_of
from with_loops import needs_loops

from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Neighbourhoods,
    Pass,
    Ridge,
    e_step,
    gaussian_mixture,
    log_density,
    loops,
    responsibilities,
    truncated,
    weighted_statistics,
)
from daskgmm.kernel.formulations.compiled import CompiledNatural, CompiledWhitened
from daskgmm.kernel.formulations.direct import Direct

K, D = 40, 3


def truncated_e_step(block, mixture, near, precision="float64"):
    return Pass(mixture, precision, neighbourhoods=near).of(block)


def _case(family, separation=4.0, n=3000):
    mixture = made_mixture(family, K, D, separation=separation)
    x = rows_of(mixture, n, seed=1)
    x[:20] *= 5.0  # where no component is near
    return mixture, x


@pytest.fixture(params=["natural", pytest.param("whitened", marks=needs_loops), "cell by cell"])
def way(request, monkeypatch, family):
    """The ways that the statistics can be found in."""
    if request.param == "whitened":
        if COMPONENTS[family].covariance_shape(2, D) == (2, D, D):
            monkeypatch.setattr(truncated, "formulation_by_cell_of", CompiledWhitened)
        yield request.param
    elif request.param == "cell by cell":
        monkeypatch.setattr(truncated, "formulation_by_cell_of", lambda mixture, dtype: None)
        monkeypatch.setattr(truncated, "formulation_of", Direct)
        truncated._parts.cache_clear()
        yield request.param
        truncated._parts.cache_clear()
    else:
        yield request.param


@needs_loops
def test_all_cells_go_through_one_loop(family):
    mixture, _ = _case(family)
    chosen = truncated.formulation_by_cell_of(mixture, np.dtype(np.float64))
    assert isinstance(chosen, CompiledNatural)


@pytest.mark.parametrize("n_near", [1, 5, 20])
def test_no_row_is_above_its_log_density(family, way, n_near):
    mixture, x = _case(family, n=60)
    near = Neighbourhoods.of(mixture, n_near)
    dense = log_density(x, mixture)
    bound = np.array(
        [truncated_e_step(Block(x[i : i + 1]), mixture, near).log_likelihood for i in range(len(x))]
    )
    # Rounding of log densities, of size up to 1e3 here.
    assert (bound <= dense + 1e-11 * np.maximum(np.abs(dense), 1.0)).all()
    assert (bound < dense - 1e-6).any() or n_near > 5


@pytest.mark.parametrize("n_near", [K, K + 5])
def test_with_all_components_it_is_the_e_step(family, way, n_near):
    mixture, x = _case(family)
    found = truncated_e_step(Block(x), mixture, Neighbourhoods.of(mixture, n_near))
    _assert_near(found, e_step(Block(x), mixture))


def _assert_near(found, expected, tolerance=1e-10):
    assert found.n_rows == expected.n_rows
    scale = np.abs(expected["second"]).max()
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=tolerance)
    np.testing.assert_allclose(found.n_k, expected.n_k, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found["first"], expected["first"], atol=tolerance * scale)
    np.testing.assert_allclose(found["second"], expected["second"], atol=tolerance * scale)


def _by_hand(x, mixture, near):
    """Dense responsibilities, those of no candidate taken out."""
    resp = responsibilities(x, mixture)
    kept = np.zeros_like(resp)
    for row, cell in enumerate(near.cells_of(x)):
        chosen = near.neighbours[cell]
        kept[row, chosen] = resp[row, chosen]
    share = kept.sum(axis=1, keepdims=True)
    log_likelihood = float((log_density(x, mixture) + np.log(share[:, 0])).sum())
    statistics = weighted_statistics(Block(x), kept / share, mixture.means, mixture.kind)
    return statistics, log_likelihood


@pytest.mark.parametrize("separation", [0.5, 4.0])
def test_statistics_are_those_of_the_truncated_posterior(family, way, separation):
    mixture, _ = _case(family, separation)
    x = rows_of(mixture, 3000, seed=2)
    near = Neighbourhoods.of(mixture, 8)
    expected, log_likelihood = _by_hand(x, mixture, near)
    found = truncated_e_step(Block(x), mixture, near)
    np.testing.assert_allclose(found.log_likelihood, log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(found.n_k, expected.n_k, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["first"], expected["first"], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found["second"], expected["second"], rtol=1e-8, atol=1e-8)


def test_statistics_are_additive(family, way):
    mixture, x = _case(family)
    near = Neighbourhoods.of(mixture, 8)
    parts = [truncated_e_step(Block(x[a:b]), mixture, near) for a, b in ((0, 0), (0, 7), (7, 3000))]
    _assert_near(parts[0] + parts[1] + parts[2], truncated_e_step(Block(x), mixture, near))


def test_rows_of_weight_zero_add_nothing(family, way):
    mixture, x = _case(family)
    near = Neighbourhoods.of(mixture, 4)
    weight = np.where(np.arange(len(x)) % 5 == 0, 0.0, 1.0)
    found = truncated_e_step(
        Block(np.where(weight[:, None] > 0, x, np.nan), weight=weight), mixture, near
    )
    there = weight > 0
    expected = truncated_e_step(Block(x[there], weight=weight[there]), mixture, near)
    assert found.log_likelihood == expected.log_likelihood
    np.testing.assert_array_equal(found["first"], expected["first"])


def test_em_climbs_the_bound_while_neighbourhoods_stay(family):
    mixture, x = _case(family, separation=2.5, n=6_000)
    moved = gaussian_mixture(mixture.weights, mixture.means + 0.3, mixture.covariances, family)
    near = Neighbourhoods.of(moved, 8)
    bounds = []
    for _ in range(10):
        found = truncated_e_step(Block(x), moved, near)
        bounds.append(found.log_likelihood / len(x))
        moved = Ridge().m_step(found)
    assert (np.diff(bounds) >= -1e-13).all()
    assert bounds[-1] > bounds[0] + 1e-3


def test_in_float32_it_is_good_to_1e5(family):
    mixture, x = _case(family)
    x = x.astype(np.float32)
    near = Neighbourhoods.of(mixture, 8)
    exact = truncated_e_step(Block(x), mixture, near)
    found = truncated_e_step(Block(x), mixture, near, "float32")
    np.testing.assert_allclose(found.log_likelihood, exact.log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(found.n_k, exact.n_k, rtol=1e-4, atol=1e-4)


def test_every_component_is_a_candidate_where_it_lives(family):
    mixture, _ = _case(family)
    near = Neighbourhoods.of(mixture, 3)
    assert near.neighbours.shape == (K, 3)
    assert (np.diff(near.neighbours, axis=1) > 0).all()
    np.testing.assert_array_equal(near.cells_of(mixture.means), np.arange(K))
    assert (near.neighbours == np.arange(K)[:, None]).any(axis=1).all()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_cells_are_those_of_the_nearest_mean(family, offset, monkeypatch):
    plain, x = _case(family)
    mixture = gaussian_mixture(plain.weights, plain.means + offset, plain.covariances, family)
    near = Neighbourhoods.of(mixture, 3)
    dense = plain.components.dense()
    white = np.linalg.inv(np.linalg.cholesky(np.tensordot(plain.weights, dense, 1)))
    distance = np.linalg.norm((x[:, None] - plain.means) @ white.T, axis=2)
    for _ in range(2):
        found = near.cells_of(x + offset)
        # float32, of squares up to 1e3.
        least = distance[np.arange(len(x)), found]
        np.testing.assert_allclose(least, distance.min(axis=1), rtol=1e-3)
        monkeypatch.setattr(loops, "VARIANT", None)


def test_a_component_of_weight_zero_gets_nothing(family, way):
    mixture, x = _case(family)
    weights = np.where(np.arange(K) == 7, 0.0, mixture.weights)
    without = gaussian_mixture(weights / weights.sum(), mixture.means, mixture.covariances, family)
    near = Neighbourhoods.of(without, 5)
    assert 7 not in near.neighbours
    found = truncated_e_step(Block(x), without, near)
    assert found.n_k[7] == 0
    assert np.isfinite(found.log_likelihood)


def test_neighbourhoods_depend_on_the_mixture_alone_and_travel(family):
    mixture, x = _case(family)
    one, other = (Neighbourhoods.of(mixture, 8) for _ in range(2))
    arrived = pickle.loads(pickle.dumps(one))
    for name in ("origin", "slopes", "heights", "neighbours"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        assert getattr(one, name).tobytes() == getattr(arrived, name).tobytes()
    assert len(pickle.dumps(one)) < 8 * mixture.n_parameters * 8
    np.testing.assert_array_equal(one.cells_of(x), arrived.cells_of(x))


@pytest.mark.parametrize(
    ("d", "separation", "gap"), [(2, 3.0, 1e-9), (6, 8.0, 1e-3), (6, 4.0, 0.1)]
)
def test_the_bound_is_tight_where_components_are_apart(d, separation, gap):
    # Neighbours among K points of a normal distribution are nearer by K^(1/D).
    spread = separation * 256 ** (1 / d) / np.sqrt(2 * d)
    mixture = made_mixture("full", 256, d, separation=spread)
    x = rows_of(mixture, 20_000, seed=1)
    dense = e_step(Block(x), mixture).log_likelihood
    bound = truncated_e_step(Block(x), mixture, Neighbourhoods.of(mixture, 32)).log_likelihood
    assert -1e-12 * abs(dense) <= dense - bound <= gap * len(x)
