"""Factors of covariances: laws, whatever the order of their numbers in memory."""

from __future__ import annotations

import numpy as np
import pytest

from daskgmm.errors import SingularComponentError
from daskgmm.kernel.linalg import precision_factors

ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2),
    "strided": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
}


def covariances(k: int, d: int) -> np.ndarray:
    rng = np.random.default_rng([k, d])
    roots = rng.normal(size=(k, d, 2 * d)) * np.exp2(rng.integers(-20, 20, size=(d, 1)))
    return roots @ roots.swapaxes(1, 2) / d


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("k", "d"), [(1, 1), (3, 2), (2, 9), (2, 70)])
def test_factors_are_those_of_the_inverse(k, d, order):
    given = ORDERS[order](covariances(k, d))
    before = given.copy()
    factors = precision_factors(given)
    np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(factors, np.triu(factors))
    assert factors.flags.c_contiguous
    white = factors.swapaxes(1, 2) @ given @ factors
    np.testing.assert_allclose(white, np.broadcast_to(np.eye(d), white.shape), atol=1e-10)


@pytest.mark.parametrize("fault", ["negative", "dependent", "not a number"])
def test_the_first_singular_component_is_named(fault):
    bad = covariances(3, 4)
    bad[1:, 0, 1] = bad[1:, 1, 0] = {
        "negative": 2 * np.sqrt(bad[1:, 0, 0] * bad[1:, 1, 1]),
        "dependent": np.sqrt(bad[1:, 0, 0] * bad[1:, 1, 1]),
        "not a number": np.nan,
    }[fault]
    with pytest.raises(SingularComponentError, match="component 1 is singular") as error:
        precision_factors(bad)
    assert error.value.component == 1
