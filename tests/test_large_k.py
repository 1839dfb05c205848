"""Fits of many components with truncated E-steps, from Python.

Asserted: how near such a fit comes to the dense one, the same bits however rows are spread,
and what is refused.
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from made_data import assert_same_bits, made_mixture, precisions_of, rows_of
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import STOP_RULES, InMemoryRows, PlainEM, Rules, run
from daskgmm.errors import ParameterError
from daskgmm.execution import DaskRows
from daskgmm.kernel import Ridge

K, D, G = 256, 2, 32


@pytest.fixture(scope="module")
def start():
    return made_mixture("full", K, D, separation=40.0)


@pytest.fixture(scope="module")
def x(start):
    return rows_of(start, 20_000, seed=1) + 0.3


def _model(start, **kwargs):
    return GaussianMixture(
        K,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=precisions_of(start),
        reg_covar=1e-3,
        **({"max_iter": 12, "tol": 0.0} | kwargs),
    )


def _fitted(start, x, **kwargs):
    with pytest.warns(ConvergenceWarning):  # max_iter ends it: as many passes for all
        return _model(start, **kwargs).fit(x)


def test_a_truncated_fit_comes_as_far_as_a_dense_one(start, x):
    dense, near = _fitted(start, x), _fitted(start, x, truncate=G)
    assert near.n_passes_ == dense.n_passes_
    assert near.lower_bound_ > dense.lower_bound_ - 1e-4
    # score is exact: it is no bound, and not far above it.
    assert near.score(x) == pytest.approx(dense.score(x), abs=1e-4)
    assert near.score(x) >= near.lower_bound_


def test_the_same_bits_on_dask(start, x):
    def fitted(rows):
        rules = Rules(PlainEM(Ridge(1e-3)), STOP_RULES["gap"], 3, n_near=G)
        return run(rows, start, rules).kept

    expected = fitted(InMemoryRows(x, grain=1000))
    for chunk in (4000, 16_000):
        rows = DaskRows(da.from_array(x, chunks=(chunk, D)), grain=1000)
        assert_same_bits(fitted(rows), expected)


def test_it_is_plain_em_and_on_record(start, x, tmp_path):
    near = _fitted(start, x, truncate=G, max_iter=2)
    near.save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    assert again.truncate == near.truncate == G
    np.testing.assert_array_equal(again.score_samples(x[:50]), near.score_samples(x[:50]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 199, "truncate": 32}, "n_components=199: below 200"),
        ({"n_components": 256, "truncate": 256}, "leaves none of n_components=256 out"),
        ({"n_components": 256, "truncate": 0}, "truncate"),
        ({"n_components": 256, "truncate": 8.5}, "truncate"),
        ({"n_components": 256, "truncate": 32, "stepper": "squarem"}, "set stepper='plain'"),
        ({"n_components": 256, "truncate": 32, "stepper": "surrogate"}, "set stepper='plain'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_rows_are_read(parameters, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**parameters).fit(np.full((1000, 2), np.nan))


def test_select_refuses_bounds(x):
    with pytest.raises(ParameterError, match="only bounds of them"):
        select(x, [256], truncate=32)
