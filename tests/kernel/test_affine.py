"""Affine maps: mixtures, statistics and moments of mapped rows, beside those of the rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from made_data import FAMILIES_OF_SKLEARN, made_mixture, rows_of

from daskgmm.errors import ParameterError
from daskgmm.kernel import (
    Affine,
    Block,
    SphericalGaussians,
    e_step,
    log_density,
    moments_and_extremes,
)

K, D = 3, 4
SHIFT, SCALE = np.array([3.0, -1.0, 0.0, 1e3]), np.array([1e-3, 2.0, 1.0, 50.0])
PLAIN = Affine(SHIFT, SCALE)


@pytest.fixture(params=FAMILIES_OF_SKLEARN)
def z_mixture(request):
    return made_mixture(request.param, K, D, seed=1)


def test_densities_differ_by_the_jacobian(z_mixture):
    z = rows_of(z_mixture, 500, seed=2)
    x = PLAIN.back(z)
    np.testing.assert_allclose(PLAIN.of(x), z, atol=1e-9)
    ours = PLAIN.mixture_back(z_mixture)
    expected = log_density(z, z_mixture) + PLAIN.log_jacobian
    np.testing.assert_allclose(log_density(x, ours), expected, atol=1e-8)
    again = PLAIN.mixture_of(ours, z_mixture.kind)
    assert again.kind == z_mixture.kind
    np.testing.assert_allclose(again.means, z_mixture.means, atol=1e-9)
    np.testing.assert_allclose(again.covariances, z_mixture.covariances, rtol=1e-9, atol=1e-12)


def test_what_is_not_isotropic_stays_diag():
    mixture = made_mixture("diag", K, D, seed=1)
    assert PLAIN.mixture_of(mixture, SphericalGaussians.kind).kind == "diag"


def test_statistics_are_those_of_the_rows(z_mixture):
    x = PLAIN.back(rows_of(z_mixture, 500, seed=2))
    found = PLAIN.statistics_back(e_step(Block(PLAIN.of(x)), z_mixture))
    if z_mixture.kind == "spherical":
        assert found is None
        return
    assert found is not None
    expected = e_step(Block(x), PLAIN.mixture_back(z_mixture))
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-6)
    expected = expected.recentre(found.centres)
    for name, values in expected.sums.items():
        size = np.abs(values).max(axis=0)
        np.testing.assert_allclose(found[name] / size, values / size, atol=1e-6)


@pytest.mark.parametrize("n_axes", [None, 1, 3])
def test_moments_are_those_of_mapped_rows(n_axes):
    x = SCALE * np.random.default_rng(0).normal(size=(300, D)) + SHIFT
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))
    matrix = None if n_axes is None else axes[:, :n_axes] / SCALE[:, None]
    affine = Affine(SHIFT, SCALE, matrix)
    expected, *_ = moments_and_extremes(Block(affine.of(x)))
    found = affine.moments(moments_and_extremes(Block(x))[0])
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-9)
    np.testing.assert_allclose(found.scatter, expected.scatter, atol=1e-7)
    z = affine.of(x)
    np.testing.assert_allclose(affine.of(affine.back(z)), z, atol=1e-9)
    again = pickle.loads(pickle.dumps(affine))
    assert again.of(x).tobytes() == z.tobytes()
    assert not again.shift.flags.writeable


@pytest.mark.parametrize(
    "parts",
    [
        (SHIFT, SCALE[:3]),
        (SHIFT, -SCALE),
        (SHIFT, np.zeros(D)),
        (np.full(D, np.nan), SCALE),
        (SHIFT[:, None], SCALE),
        (SHIFT, SCALE, np.ones((3, 2))),
        (SHIFT, SCALE, np.ones((D, D + 1))),
        (SHIFT, SCALE, np.ones((D, 0))),
        (SHIFT, SCALE, np.full((D, 2), np.inf)),
    ],
)
def test_what_is_no_map_is_refused(parts):
    with pytest.raises(ParameterError):
        Affine(*parts)
