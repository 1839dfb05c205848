"""The laws that every kind of components keeps.

Subclass :class:`ComponentsTests` and override the fixture ``components``. Each law is held
against the kind's own densities. For what only some kinds can do, subclass those of the other
classes that apply as well; :class:`CovariancesTests` holds a kind against dense matrices.
"""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    Block,
    Components,
    Conjugate,
    Coordinates,
    Float64Array,
    Mixture,
    PriorTerms,
    Ridge,
    Statistics,
    e_step,
    log_density,
    responsibilities,
)
from daskgmm.kernel.formulations import CANDIDATES

__all__ = [
    "ComponentsTests",
    "ConjugatePriorTests",
    "CovariancesTests",
    "TangentTests",
    "ways_to_move",
]

_FLOAT64 = np.dtype(np.float64)


def ways_to_move(mixture: Mixture) -> int:
    """Rank of the derivative of a mixture's numbers by its coordinates: its free parameters.

    A direction that moves the mixture moves some number by more than a thousandth of its size, where
    components have a condition below 1e3; and central differences are good to 1e-9.
    """
    coordinates, step = Coordinates(mixture), 1e-5
    arrays = {"weights": mixture.weights, **mixture.components.arrays}
    sizes = {name: np.abs(array).max() for name, array in arrays.items()}

    def numbers(u: Float64Array) -> Float64Array:
        there = coordinates.mixture(u)
        moved = {"weights": there.weights, **there.components.arrays}
        return np.concatenate([array.ravel() / sizes[name] for name, array in moved.items()])

    steps = step * np.eye(coordinates.size)
    moves = np.array([numbers(u) - numbers(-u) for u in steps]) / (2.0 * step)
    return int(np.linalg.matrix_rank(moves, rtol=1e-6))


class ComponentsTests:
    """What is true of components of any kind.

    Bounds: arithmetic is float64, and the fixture's densities are well conditioned (below
    1e3), so that log densities are good to 1e-11 of their size, and sums of n rows to
    sqrt(n) of that.
    """

    @pytest.fixture
    def components(self) -> Components:
        """Two or more components in two or more features, of condition below 1e3."""
        raise NotImplementedError("give the components that are to be tested")

    @pytest.fixture
    def mixture(self, components: Components) -> Mixture:
        """The components with weights that differ."""
        weights = np.arange(1.0, components.n_components + 1)
        return Mixture(weights / weights.sum(), components)

    @pytest.fixture
    def x(self, components: Components) -> np.ndarray:
        """Rows of all components, in random order, (900, D)."""
        rng = np.random.default_rng(1)
        n = 900 // components.n_components
        drawn = [components.sample(rng, k, n) for k in range(components.n_components)]
        return rng.permutation(np.concatenate(drawn))

    # -- the object ------------------------------------------------------------------

    def test_arrays_make_the_same_components(self, components):
        again = type(components)(**components.arrays)
        for name, array in components.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)
        assert set(components.dimensions) == set(components.arrays)
        assert set(components.long_names) <= set(components.arrays)
        for name, dimensions in components.dimensions.items():
            assert len(dimensions) == components.arrays[name].ndim

    def test_arrays_have_the_shapes_of_the_kind(self, components):
        k, d = components.n_components, components.n_features
        shapes = components.array_shapes(k, d)
        assert {name: array.shape for name, array in components.arrays.items()} == shapes
        assert components.count_parameters(k, d) >= k * d

    def test_components_are_frozen_and_travel(self, components):
        back = pickle.loads(pickle.dumps(components))
        for name, array in back.arrays.items():
            np.testing.assert_array_equal(array, components.arrays[name])
            assert not array.flags.writeable
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(components, next(iter(components.arrays)), 0)

    def test_arrays_must_be_finite_and_fit_each_other(self, components):
        for name, array in components.arrays.items():
            with pytest.raises(ParameterError, match=f"{name} must be finite"):
                type(components)(**components.arrays | {name: np.full_like(array, np.nan)})
            with pytest.raises(ParameterError, match="must be"):
                type(components)(**components.arrays | {name: array[..., None]})

    def test_some_of_the_components(self, components, x):
        chosen = np.array([1, 0])
        some = components.take(chosen)
        np.testing.assert_array_equal(some.locations, components.locations[chosen])
        x_t = np.ascontiguousarray(x.T)
        expected = components.log_densities(x_t)[chosen]
        np.testing.assert_allclose(some.log_densities(x_t), expected, rtol=1e-13)

    def test_no_density_is_above_its_peak(self, components, x):
        components.check()
        joint = components.log_densities(np.ascontiguousarray(x.T))
        assert (joint <= components.log_peaks[:, None] + 1e-11).all()

    def test_every_formulation_that_applies_gives_the_same(self, mixture, x):
        block = Block(x, weight=np.random.default_rng(2).uniform(0.5, 2.0, len(x)))
        expected = block.weight @ log_density(x, mixture)
        names = []
        for candidate in CANDIDATES:
            is_possible = np.isfinite(
                candidate.cost(type(mixture.components), *mixture.means.shape, _FLOAT64)
            )
            if not is_possible or not candidate.applies(mixture, _FLOAT64):
                continue
            names.append(candidate.name)
            found = candidate(mixture, _FLOAT64).statistics(block)
            np.testing.assert_allclose(found.log_likelihood, expected, rtol=1e-11)
            by_hand = self._complete(mixture, block)
            self._assert_close(found, by_hand, 1e-10)
        assert "direct" in names, "which is exact for every kind"

    # -- statistics --------------------------------------------------------------------

    @staticmethod
    def _complete(mixture: Mixture, block: Block) -> Statistics:
        """Statistics from the responsibilities, by the kind's own sums."""
        total = Statistics.zero(mixture.means, mixture.kind)
        resp = responsibilities(block.x, mixture) * block.weights[:, None]
        x_t = np.ascontiguousarray(block.x.T)
        mixture.components.add_expected(total.sums, x_t, np.ascontiguousarray(resp.T))
        return dataclasses.replace(total, n_rows=len(block), weight=block.total_weight)

    @staticmethod
    def _assert_close(got: Statistics, expected: Statistics, rtol: float) -> None:
        assert got.n_rows == expected.n_rows
        np.testing.assert_allclose(got.weight, expected.weight, rtol=1e-13)
        for name, array in expected.sums.items():
            size = np.abs(array).max() + expected.weight
            np.testing.assert_allclose(got[name], array, rtol=rtol, atol=rtol * size, err_msg=name)

    def test_sums_of_blocks_add_up(self, mixture, x):
        whole = e_step(Block(x), mixture)
        parts = [e_step(Block(part), mixture) for part in np.split(x, [1, 300, 301])]
        total = sum(parts[1:], start=parts[0])
        self._assert_close(total, whole, 1e-12)
        np.testing.assert_allclose(total.log_likelihood, whole.log_likelihood, rtol=1e-12)

    def test_a_whole_weight_repeats_a_row_and_weight_zero_leaves_it_out(self, mixture, x):
        weight = np.random.default_rng(3).integers(0, 4, len(x))
        got = e_step(Block(x, weight=weight.astype(float)), mixture)
        expected = e_step(Block(np.repeat(x, weight, axis=0)), mixture)
        assert got.n_rows == len(x), "every row came"
        assert got.weight == expected.weight == weight.sum()
        self._assert_close(dataclasses.replace(got, n_rows=expected.n_rows), expected, 1e-11)
        np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=1e-11)

    def test_rows_of_weight_zero_may_hold_anything(self, mixture, x):
        spoiled, weight = np.array(x), np.ones(len(x))
        spoiled[[0, 7]], weight[[0, 7]] = [[np.nan], [1e300]], 0.0
        kept = np.delete(x, [0, 7], axis=0)
        got = e_step(Block(spoiled, weight=weight), mixture)
        assert got.n_rows == len(x)
        assert got.weight == len(kept)
        expected = e_step(Block(kept, weight=np.ones(len(kept))), mixture)
        for name, array in expected.sums.items():
            np.testing.assert_array_equal(got[name], array)

    def test_weights_scale(self, mixture, x):
        got = e_step(Block(x, weight=np.full(len(x), 3.0)), mixture)
        self._assert_close(got, e_step(Block(x), mixture).scaled(3.0), 1e-12)

    def test_recentring_there_and_back(self, mixture, x):
        statistics = e_step(Block(x), mixture)
        moved = statistics.recentre(statistics.centres + 2.0)
        self._assert_close(moved.recentre(statistics.centres), statistics, 1e-11)
        with pytest.raises(ValueError, match="recentre"):
            statistics + moved

    # -- estimates ---------------------------------------------------------------------

    def test_likelihood_never_falls_without_a_ridge(self, mixture, x):
        prior, seen = Ridge(), []
        for _ in range(15):
            statistics = e_step(Block(x), mixture)
            seen.append(statistics.log_likelihood_per_row)
            mixture = prior.m_step(statistics)
        assert (np.diff(seen) >= -1e-12 * np.abs(seen[-1])).all()

    @pytest.mark.parametrize("is_of_each", [False, True], ids=["one", "one of each feature"])
    def test_a_ridge_is_what_its_pseudo_rows_add(self, mixture, x, is_of_each):
        ridge = Ridge(np.linspace(0.25, 1.0, mixture.n_features) if is_of_each else 0.25)
        statistics = e_step(Block(x), mixture)
        got = ridge.m_step(statistics).components
        expected = Ridge().m_step(ridge.with_pseudo_rows(statistics, mixture)).components
        for name, array in expected.arrays.items():
            np.testing.assert_allclose(got.arrays[name], array, rtol=1e-9, atol=1e-9)

    def test_the_m_step_does_not_depend_on_the_centres(self, mixture, x):
        statistics = e_step(Block(x), mixture)
        got = Ridge(1e-3).m_step(statistics.recentre(statistics.centres - 1.0)).components
        expected = Ridge(1e-3).m_step(statistics).components
        for name, array in expected.arrays.items():
            np.testing.assert_allclose(got.arrays[name], array, rtol=1e-9, atol=1e-9)


class CovariancesTests(ComponentsTests):
    """What is true besides of components that have covariances, held against dense matrices."""

    def test_densities_are_scipys(self, components, x):
        pairs = zip(components.locations, components.dense(), strict=True)
        expected = np.stack([multivariate_normal(m, c).logpdf(x) for m, c in pairs])
        got = components.log_densities(np.ascontiguousarray(x.T))
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)

    def test_sampled_rows_have_mean_and_covariance(self, components):
        rng, n = np.random.default_rng(0), 20_000
        for k, dense in enumerate(components.dense()):
            drawn = components.sample(rng, k, n)
            deviation = np.sqrt(np.diagonal(dense))
            # Five standard errors.
            away = np.abs(drawn.mean(axis=0) - components.locations[k])
            assert (away < 5 * deviation / np.sqrt(n)).all()
            error = np.abs(np.cov(drawn.T, bias=True) - dense)
            assert (error < 5 * np.sqrt(2 / n) * np.outer(deviation, deviation)).all()

    def test_shrinking_moves_to_the_weighted_mean(self, mixture):
        components = mixture.components
        mean = np.tensordot(mixture.weights, components.dense(), 1)
        whole = np.ones(components.n_components)
        np.testing.assert_allclose(
            components.shrunk(mixture.weights, whole).dense(),
            np.broadcast_to(mean, components.dense().shape),
            rtol=1e-12,
            atol=1e-12,
        )
        unmoved = components.shrunk(mixture.weights, 0.0 * whole)
        np.testing.assert_allclose(unmoved.dense(), components.dense(), rtol=1e-13)


class TangentTests(ComponentsTests):
    """What is true besides of components that have tangent coordinates."""

    def test_parameters_are_as_many_as_ways_to_move(self, mixture):
        assert mixture.n_parameters == ways_to_move(mixture)

    def test_the_m_step_is_a_stationary_point(self, mixture, x):
        statistics = e_step(Block(x + 0.3), mixture)
        there = Ridge().m_step(statistics)
        coordinates = Coordinates(there)
        gradient = coordinates.gradient(np.zeros(coordinates.size), there, statistics)
        # Sums are good to 1e-12 of a row, here of coordinates in units of their own.
        np.testing.assert_allclose(gradient, 0.0, atol=1e-10)

    def test_tangent_coordinates_and_components_are_one(self, mixture):
        coordinates = Coordinates(mixture)
        np.testing.assert_allclose(coordinates.vector(mixture), 0.0, atol=1e-12)
        rng = np.random.default_rng(4)
        u = 0.2 * rng.standard_normal(coordinates.size) * coordinates.widths
        there = coordinates.mixture(u)
        again = coordinates.mixture(coordinates.vector(there))
        for name, array in there.components.arrays.items():
            np.testing.assert_allclose(again.components.arrays[name], array, rtol=1e-10, atol=1e-12)

    def test_gradients_are_differences(self, mixture, x):
        coordinates = Coordinates(mixture)
        block = Block(x + 0.3, weight=np.random.default_rng(5).uniform(0.0, 2.0, len(x)))

        def per_row(v: np.ndarray) -> float:
            densities = log_density(block.x, coordinates.mixture(v))
            return float(block.weight @ densities / block.weight.sum())

        zero = np.zeros(coordinates.size)
        got = coordinates.gradient(zero, mixture, e_step(block, mixture))
        expected = approx_fprime(zero, per_row, 1e-6)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class ConjugatePriorTests(ComponentsTests):
    """What is true besides of components that have a conjugate prior and tangent coordinates."""

    def test_a_conjugate_prior_has_the_m_step_that_maximises(self, mixture, x):
        d = mixture.n_features
        terms = PriorTerms(x.mean(axis=0), 3.0, d + 2.0, 40.0 * np.eye(d))
        prior, statistics = Conjugate(terms, concentration=20.0), e_step(Block(x + 0.3), mixture)
        there = prior.m_step(statistics)
        coordinates = Coordinates(there)
        rows = prior.with_pseudo_rows(statistics, there)
        gradient = coordinates.gradient(np.zeros(coordinates.size), there, rows)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-10)
        before = prior.objective(mixture, statistics)
        assert prior.objective(there, e_step(Block(x + 0.3), there)) > before
