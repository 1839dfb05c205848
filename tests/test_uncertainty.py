"""Uncertainty of fitted models: standard errors in closed form, of every kind of model and rows.

Replicates themselves are tested in ``tests/em/test_replicates.py``.
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_data import made_mixture, rows_of
from sklearn.exceptions import NotFittedError

from daskgmm import GaussianMixture
from daskgmm.errors import DataError, InvalidParameterError, ParameterError, SingularComponentError

B = 120


def close(n_replicates: int = B) -> float:
    """Four standard errors of a standard error, relative, beyond which one of 15,000 is."""
    return 4 / np.sqrt(2 * n_replicates)


CLOSE = close()


def fitted(x, k: int = 1, **how) -> GaussianMixture:
    return GaussianMixture(k, **{"random_state": 0, "progressive": False, **how}).fit(x)


@pytest.fixture(scope="module")
def one_normal():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]]) + 5


@pytest.fixture(scope="module")
def two_groups():
    x = np.random.default_rng(1).normal(size=(1200, 2))
    x[:400] += 12
    return np.random.default_rng(2).permutation(x)


def starting(k: int = 2, **how):
    return {"means_init": np.array([[12.0, 12.0], [0.0, 0.0]])[:k], **how}


# -- what theory says ----------------------------------------------------------


def test_errors_of_one_normal_are_those_of_its_moments(one_normal):
    x, n = one_normal, len(one_normal)
    found = fitted(x).uncertainty(x, n_replicates=B)
    means, covariances = found["means"], found["covariances"]
    np.testing.assert_allclose(means.standard_error[0], x.std(0) / np.sqrt(n), rtol=CLOSE)
    # The inverse information of a normal: var(S_ij) = (S_ii S_jj + S_ij^2) / N. Rows drawn from
    # one have it to 1 / sqrt(N).
    s = np.cov(x.T, bias=True)
    expected = np.sqrt((np.outer(s.diagonal(), s.diagonal()) + s**2) / n)
    np.testing.assert_allclose(covariances.standard_error[0], expected, rtol=CLOSE + 0.07)
    deviations = found["deviations"].standard_error[0]
    np.testing.assert_allclose(deviations, np.sqrt(s.diagonal() / (2 * n)), rtol=CLOSE + 0.07)
    height = found["log_likelihood_per_row"]
    gm = fitted(x)
    assert height.standard_error == pytest.approx(gm.score_samples(x).std() / np.sqrt(n), rel=CLOSE)
    assert height.estimate == pytest.approx(gm.score(x), rel=1e-9)
    # Of a weight that is 1 nothing is unsure.
    np.testing.assert_array_equal(found["weights"].standard_error, 0)
    # 95% of a normal distribution, whose outer quantiles 120 replicates have to 0.2 sigma each.
    widths = (means.high - means.low) / (2 * 1.96 * means.standard_error)
    np.testing.assert_allclose(widths, 1, atol=0.4)
    assert found.note == ""


def test_errors_of_a_share_are_binomial(two_groups):
    x = two_groups
    gm = fitted(x, 2, **starting())
    found = gm.uncertainty(x, n_replicates=B)
    expected = np.sqrt(1 / 3 * 2 / 3 / len(x))
    np.testing.assert_allclose(found["weights"].standard_error, expected, rtol=CLOSE)
    np.testing.assert_allclose(found["weights"].estimate, [1 / 3, 2 / 3], atol=1e-6)
    of_each = np.sqrt(found["covariances"].estimate[:, [0, 1], [0, 1]] / [[400], [800]])
    np.testing.assert_allclose(found["means"].standard_error, of_each, rtol=CLOSE)
    assert found.replicates["means"].shape == (B, 2, 2)
    assert (found.n_replicates, found.n_lost, found.n_rows) == (B, 0, len(x))


# -- rows ----------------------------------------------------------------------


def test_errors_do_not_depend_on_chunks_or_containers(two_groups):
    x = two_groups
    gm = fitted(x, 2, **starting())
    expected = gm.uncertainty(x, n_replicates=5)
    for data in (da.from_array(x, chunks=(500, 2)), da.from_array(x, chunks=(173, 2))):
        found = gm.uncertainty(data, n_replicates=5)
        for name in expected:  # sums of the same terms in another order
            other, own = found.replicates[name], expected.replicates[name]
            np.testing.assert_allclose(other, own, rtol=1e-7, atol=1e-9)
    again = gm.uncertainty(x, n_replicates=5)
    other = gm.uncertainty(x, n_replicates=5, random_state=1)
    np.testing.assert_array_equal(again.replicates["means"], expected.replicates["means"])
    assert (other.replicates["means"] != expected.replicates["means"]).all()


def test_names_are_those_of_the_fit(two_groups):
    frame = pd.DataFrame(two_groups, columns=["a", "b"])
    gm = fitted(frame, 2, **starting())
    assert gm.uncertainty(frame, n_replicates=2)["means"].dims == ("component", "feature")
    with pytest.raises((DataError, ValueError), match="a"):
        gm.uncertainty(frame.rename(columns={"a": "c"}), n_replicates=2)
    with pytest.raises((DataError, ValueError), match="features"):
        fitted(two_groups, 2, **starting()).uncertainty(two_groups[:, :1], n_replicates=2)


def test_cells_with_gaps_are_left_out(two_groups):
    values = two_groups.reshape(30, 40, 2).copy()
    values[0, :7, 1] = np.nan
    cells = xr.DataArray(values, dims=("y", "x", "band"))
    gm = fitted(cells, 2, **starting())
    found = gm.uncertainty(cells, n_replicates=3)
    assert found.n_rows == gm.n_rows_ == 1193
    assert np.isfinite(found["means"].standard_error).all()


def test_weights_are_of_rows_that_are_drawn_as_they_are(two_groups):
    x = two_groups
    gm = fitted(x, 2, **starting())
    once = gm.uncertainty(x, n_replicates=4)
    twice = gm.uncertainty(x, n_replicates=4, sample_weight=np.full(len(x), 2.0))
    for name in ("weights", "means", "log_likelihood_per_row"):
        # The ridge, which is about nothing, counts half as much; steps end a little elsewhere.
        np.testing.assert_allclose(twice.replicates[name], once.replicates[name], rtol=1e-4)
    weight = np.where(np.arange(len(x)) < 100, 0.0, 1.0)
    bad = np.where(weight[:, None] > 0, x, np.nan)
    found = gm.uncertainty(bad, n_replicates=4, sample_weight=weight)
    assert np.isfinite(found["means"].standard_error).all()


# -- models --------------------------------------------------------------------


def test_what_is_fixed_has_no_error(two_groups):
    how = starting(fixed={"means": [0]})
    found = fitted(two_groups, 2, **how).uncertainty(two_groups, n_replicates=4)
    error = found["means"].standard_error
    np.testing.assert_array_equal(error[0], 0)
    assert (error[1] > 0).all()


def test_noise_and_tails_have_errors(two_groups):
    x = np.vstack([two_groups, np.random.default_rng(3).uniform(-30, 30, size=(100, 2))])
    noisy = fitted(x, 2, **starting(noise=True)).uncertainty(x, n_replicates=30)
    assert noisy["noise_weight"].dims == ()
    # As of a share of 100 in 1300 rows, some of which might be of a component.
    binomial = np.sqrt(1 / 13 * 12 / 13 / 1300)
    assert 0.5 * binomial < noisy["noise_weight"].standard_error < 2 * binomial
    tailed = fitted(x, 2, **starting(tails="t")).uncertainty(x, n_replicates=4)
    assert (tailed["degrees_of_freedom"].standard_error > 0).all()


def test_means_of_projected_features_are_in_units_of_the_data(one_normal):
    x = np.column_stack([one_normal, one_normal.sum(axis=1)])
    found = fitted(x, n_projected=2).uncertainty(x, n_replicates=B)
    assert found["means"].dims == ("component", "feature")
    assert found["covariances"].dims == ("component", "axis", "other_axis")
    errors = x.std(0) / np.sqrt(len(x))  # nothing lies off two axes
    np.testing.assert_allclose(found["means"].standard_error[0], errors, rtol=CLOSE)


def test_rows_with_gaps_count_by_what_they_have(one_normal):
    x = one_normal.copy()
    x[::2, 1] = np.nan
    found = fitted(x, missing="em").uncertainty(x, n_replicates=60)
    error = found["means"].standard_error[0]
    np.testing.assert_allclose(error[0], np.std(x[:, 0]) / np.sqrt(1000), rtol=close(60))
    # Anderson (1957): of what is missing, the other feature tells as much as it correlates.
    complete = x[1::2]
    rho2 = np.corrcoef(complete.T)[0, 1] ** 2
    expected = np.sqrt(complete[:, 1].var() * (rho2 / 1000 + (1 - rho2) / 500))
    np.testing.assert_allclose(error[1], expected, rtol=close(60) + 0.05)


def test_errors_have_the_shape_of_the_family(family, two_groups):
    found = fitted(two_groups, 2, covariance_type=family, **starting()).uncertainty(
        two_groups, n_replicates=3
    )
    spread = found["covariances"]
    assert spread.standard_error.shape == spread.estimate.shape == spread.low.shape
    assert (spread.standard_error > 0).all()
    frame = found.to_frame()
    rows = frame[frame.parameter == "covariances"]
    assert len(rows) == spread.estimate.size
    np.testing.assert_array_equal(rows.standard_error, spread.standard_error.ravel())


# -- what is said --------------------------------------------------------------


def test_a_model_of_other_rows_is_told(one_normal):
    found = fitted(one_normal).uncertainty(one_normal + 1, n_replicates=10)
    assert "standard errors from the maximum for these rows" in found.note


def test_lost_replicates_are_told():
    x = np.random.default_rng(0).normal(size=(300, 1))
    x[:8] = 1000.0
    x[:2] += 10.0  # if neither is drawn, which has a probability of exp(-2), no variance is left
    gm = GaussianMixture.from_parameters([8 / 300, 292 / 300], [[1002.5], [0]], [[[19]], [[1]]])
    found = gm.set_params(random_state=0).uncertainty(x, n_replicates=40)
    assert found.n_lost > 0
    assert f"{found.n_lost} of 40 replicates" in found.note
    assert found.n_replicates == 40 - found.n_lost


def test_repr_and_plain_values(one_normal):
    found = fitted(one_normal).uncertainty(one_normal, n_replicates=3)
    assert repr(found).startswith("Uncertainty of weights, means")
    plain = found.as_dict()
    assert plain["means"]["standard_error"] == found["means"].standard_error.tolist()
    assert set(found) <= set(plain)
    assert len(found) == len(list(found))


# -- what is refused -----------------------------------------------------------


def test_what_cannot_be_is_refused_in_one_line(one_normal):
    gm = fitted(one_normal)
    with pytest.raises(InvalidParameterError, match="n_replicates must be a whole number of 2"):
        gm.uncertainty(one_normal, n_replicates=1)
    with pytest.raises(NotFittedError):
        GaussianMixture().uncertainty(one_normal)
    with pytest.raises((DataError, SingularComponentError)):
        gm.uncertainty(one_normal[:1])
    scaled = fitted(one_normal, covariance_type="spherical", standardize=True)
    with pytest.raises(ParameterError, match="covariance_type='diag'"):
        scaled.uncertainty(one_normal)
    robust = fitted(one_normal, standardize="robust", reg_covar=1e-6)
    with pytest.raises(ParameterError, match="reg_covar='auto'"):
        robust.uncertainty(one_normal)


def test_a_model_at_hand_needs_no_fit(one_normal):
    made = made_mixture("full", 1, 2)
    x = rows_of(made, 300)
    gm = GaussianMixture.from_parameters(made.weights, made.means, made.covariances)
    found = gm.uncertainty(x, n_replicates=3)
    assert found["means"].standard_error.shape == (1, 2)


def test_replicates_for_which_no_row_is_drawn_are_left_out():
    """Of three rows, one replicate in twenty has none: that was a traceback."""
    x = np.random.default_rng(0).normal(size=(3, 1))
    found = GaussianMixture(1, random_state=0).fit(x).uncertainty(x)
    assert 0 < found["means"].standard_error[0, 0] < 2
    assert found.n_lost > 0
