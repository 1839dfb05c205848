"""Mixture: frozen, checked parameters."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from made_data import assert_same_bits, made_mixture

from daskgmm.errors import ParameterError
from daskgmm.kernel import COMPONENTS, gaussian_mixture


def _parts(family):
    m = made_mixture(family, 3, 2)
    return {"weights": m.weights, "means": m.means, "covariances": m.covariances}


def test_parameters_cannot_be_changed(family):
    mixture = made_mixture(family, 3, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixture.weights = np.ones(3) / 3
    for name in ("weights", "means", "covariances"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mixture, name)[0] = 0


def test_what_was_given_is_copied(family):
    parts = {name: np.array(value) for name, value in _parts(family).items()}
    mixture = gaussian_mixture(**parts, kind=family)
    for value in parts.values():
        value[:] = -1
    assert_same_bits(mixture, gaussian_mixture(**_parts(family), kind=family))


def test_a_pickle_is_the_same_and_still_frozen(family):
    mixture = made_mixture(family, 3, 2)
    back = pickle.loads(pickle.dumps(mixture))
    assert_same_bits(back, mixture)
    assert not back.means.flags.writeable


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_must_be_finite(family, name, bad):
    parts = _parts(family)
    parts[name] = np.full_like(parts[name], bad)
    with pytest.raises(ParameterError, match=f"{name} must be finite"):
        gaussian_mixture(**parts, kind=family)


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_shapes_are_checked(family, name):
    parts = _parts(family)
    parts[name] = parts[name][..., None]
    with pytest.raises(ParameterError, match=f"{name} must be"):
        gaussian_mixture(**parts, kind=family)


@pytest.mark.parametrize("weights", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [0.2, 0.2, 0.2]])
def test_weights_are_a_distribution(family, weights):
    parts = _parts(family) | {"weights": weights}
    with pytest.raises(ParameterError, match="sum to 1"):
        gaussian_mixture(**parts, kind=family)


def test_the_family_must_be_known():
    with pytest.raises(ParameterError, match="covariance_type must be one of"):
        gaussian_mixture(**_parts("full"), kind="banded")


def test_sizes(family):
    mixture = made_mixture(family, 3, 2)
    assert (mixture.n_components, mixture.n_features) == (3, 2)
    assert type(mixture.components) is COMPONENTS[family]
