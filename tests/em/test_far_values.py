"""Far values: fill values that nobody declared, and absurd cells, are said in a fit's result.

Asserted: feature, value and number of rows, of all rows and of a sample; that the way out works; and
that heavy tails, counts and small tables are no reason to say anything.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import InMemoryRows, far_values, said_of_far_values
from daskgmm.em.scan import scan_rows
from daskgmm.errors import DaskGMMWarning
from daskgmm.report.findings import doubts


def found_in(x, n_sampled=10**6):
    return far_values(scan_rows(InMemoryRows(np.asarray(x, float)), n_sampled, 0))


def normal(n=5_000, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("value", [-9999.0, 9.96921e36, -1e20])
@pytest.mark.parametrize("n", [3, 300, 2_000])
def test_a_fill_value_is_named_with_its_rows(value, n):
    x = normal()
    x[:n, 1] = value
    (one,) = found_in(x)
    assert (one.feature, one.value, one.n_rows) == (1, value, n)
    assert one.is_repeated
    assert one.is_exact


@pytest.mark.parametrize("value", [-99999999.0, 9.969209968386869e36, -9999.5])
def test_the_value_is_said_in_all_its_digits(value):
    x = normal()
    x[:40, 1] = value
    said = said_of_far_values(found_in(x), None)
    assert float(said.split(" is ")[1].split(" in ")[0]) == value
    assert float(said.split("--missing-text ")[1].split(" of ")[0]) == value


def test_an_absurd_cell_beside_a_fill_value_is_named_too():
    x = normal()
    x[:40, 0] = -9999.0
    x[7, 0] = 1e49
    absurd, fill = found_in(x)
    assert (absurd.value, absurd.n_rows, absurd.is_repeated) == (1e49, 1, False)
    assert (fill.value, fill.n_rows, fill.is_repeated) == (-9999.0, 39, True)


def test_of_a_sample_the_rows_are_estimated():
    x = normal(40_000)
    x[:2_000, 0] = -9999.0
    (one,) = found_in(x, n_sampled=4_000)
    assert not one.is_exact
    assert one.n_rows == pytest.approx(2_000, rel=4 / np.sqrt(200))  # four standard errors


def test_one_absurd_cell_that_the_sample_lacks_is_known_by_the_extremes():
    x = normal(40_000)
    x[123, 1] = 1e49
    (one,) = found_in(x, n_sampled=400)
    assert (one.feature, one.value, one.n_rows) == (1, 1e49, 1)


RNG = np.random.default_rng(5)
ORDINARY = {
    "Cauchy": RNG.standard_cauchy((20_000, 5)),
    "lognormal": RNG.lognormal(sigma=2.0, size=(20_000, 5)),
    "Pareto": RNG.pareto(1.0, (20_000, 5)),
    "counts": RNG.negative_binomial(0.2, 0.01, (20_000, 5)).astype(float),
    "Zipf": np.minimum(RNG.zipf(1.8, (20_000, 5)), 10**15).astype(float),
    "one-hot": np.eye(5)[RNG.integers(5, size=20_000)] + 0.0,
    "mostly zero": RNG.normal(1e3, 1.0, (20_000, 5)) * (RNG.uniform(size=(20_000, 5)) < 0.6),
    "clusters": RNG.normal(size=(20_000, 5)) + 1e4 * RNG.integers(3, size=(20_000, 1)),
    "rounded clusters": np.where(
        RNG.uniform(size=(20_000, 5)) < 0.6,
        RNG.poisson(3, (20_000, 5)),
        np.round(RNG.normal(1000, 30, (20_000, 5))),
    ),
    "few rows": np.array([[0.0], [1.0], [2.0], [9999.0], [9999.0], [9999.0]]),
}


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("n_sampled", [10**6, 2_000])
def test_heavy_tails_counts_and_zeros_are_no_reason(name, n_sampled):
    assert found_in(ORDINARY[name], n_sampled) == ()


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_units_change_nothing_but_values(unit):
    x = normal()
    x[:40, 0] = -9999.0
    (one,), (other,) = found_in(x), found_in(unit * x)
    assert other.value == pytest.approx(unit * one.value)
    assert (other.feature, other.n_rows, other.is_repeated) == (0, 40, True)


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"constant": "drop"}])
def test_a_fit_says_so_and_the_way_out_works(options, tmp_path):
    x = np.column_stack([normal(), np.random.default_rng(1).normal(size=5_000)])
    if "constant" in options:
        x[:, 0] = 3.0
    x[:40, 1] = -9999.0
    gm = GaussianMixture(1, covariance_type="diag", **options)
    with pytest.warns(DaskGMMWarning, match="column 1 is -9999 in 40 rows"):
        said = gm.fit(x)._note
    assert "column 1 is -9999 in 40 rows" in said
    assert "looks like a fill value" in said
    assert "missing='em' or 'drop'" in said
    (far,) = gm.far_values_
    assert (far.feature, far.value, far.n_rows, far.is_exact) == (1, -9999.0, 40, True)
    gm.save(tmp_path / "model.zarr")
    loaded = load_model(tmp_path / "model.zarr")
    assert loaded.far_values_ == gm.far_values_
    assert any("column 1 is -9999 in 40 rows" in doubt.lower() for doubt in doubts(loaded, None))
    x[x == -9999.0] = np.nan
    assert "-9999" not in gm.set_params(missing="drop").fit(x)._note


def test_a_selection_says_so_by_the_name_of_the_feature():
    x = pd.DataFrame(normal(), columns=["wind", "rain"])
    x.loc[:39, "rain"] = -9999.0
    with pytest.warns(DaskGMMWarning, match="rain is -9999 in 40 rows"):
        found = select(x, [1, 2], covariance_type="diag")
    assert "rain is -9999 in 40 rows" in found.note
    (said,) = [doubt for doubt in doubts(found.model, None) if "-9999" in doubt]
    assert said.startswith("rain is -9999 in 40 rows")


def test_nothing_is_said_of_nothing():
    assert said_of_far_values((), None) == ""


@pytest.mark.parametrize("n", [1, 6])
def test_a_few_absurd_readings_are_named_though_others_are_wide_apart(n):
    """Six of 100,000 gave a component of 55 the deviation 5900, and nothing was said."""
    x = np.random.default_rng(0).normal(55, 4, size=(20_000, 1))
    x[:n, 0] = [1e6, 2e5, -3e4, 1.2e4, 1.5e4, -9e3][:n]
    (found,) = found_in(x)
    assert (found.n_rows, found.is_repeated) == (n, False)
    x[:500, 0] = np.random.default_rng(1).normal(1e4, 4, size=500)
    assert found_in(x) == ()  # so many are a cluster


@pytest.mark.parametrize("value", [1e20, 9.96921e36, -9999.0])
def test_a_fit_of_fill_values_ends_and_warns(value):
    """Standardised beside 1e20, all other rows were one, and starts wanted three that differ."""
    x = normal(60_000)
    x[np.random.default_rng(1).random(len(x)) < 0.3] = value
    with pytest.warns(DaskGMMWarning, match="looks like a fill value"):
        gm = GaussianMixture(3, random_state=0).fit(x)
    assert np.isfinite(gm.lower_bound_)


@pytest.mark.parametrize("value", [-999.0, -9999.0, -99999.0, -32768.0, -(2.0**31)])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_a_fill_value_is_named_among_values_that_are_larger_than_it_is_far(value, share):
    x = 1e10 * (2.0 + 0.2 * normal(4_000))
    x[np.random.default_rng(0).random(4_000) < share, 1] = value
    (one,) = found_in(x)
    assert (one.feature, one.value, one.is_no_measurement) == (1, value, True)
    assert one.n_rows == (x[:, 1] == value).sum()
    with pytest.warns(
        DaskGMMWarning, match="and no other value is below 0: this looks like a fill"
    ):
        GaussianMixture(1).fit(x)


@pytest.mark.parametrize("value", [-9998.0, -1.0, 0.0, 9999.0])
def test_other_values_that_repeat_are_not_named(value):
    x = 1e5 * (2.0 + 0.2 * normal(4_000))
    x[:1000, 1] = value
    assert found_in(x) == ()
    x[:1000, 1] = -9999.0
    x[2000:2010, 1] = -5.0  # there are others below 0
    assert found_in(x) == ()


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(20, 200),
    far=st.sampled_from([0.0, 6.7, 6.8, 30.0, 1e5, -998.0, -999.0, -9999.0, -32768.0, np.nan]),
    share=st.floats(0.0, 0.6),
    heavy=st.booleans(),
    n_sampled=st.sampled_from([40, 1000]),
)
def test_features_that_are_not_looked_at_closely_have_no_far_values(
    seed, n, far, share, heavy, n_sampled
):
    rng = np.random.default_rng(seed)
    x = np.round(rng.standard_t(2, size=(n, 3)) if heavy else rng.uniform(size=(n, 3)), 3)
    x[: int(share * n), 1] = far
    rows = InMemoryRows(x, has_gaps=np.isnan(far))
    scan = scan_rows(rows, n_sampled, 0, may_be_constant=True)
    found = far_values(scan)
    with patch("daskgmm.em.far_values._suspects", lambda scan: range(3)):
        assert far_values(scan) == found


@pytest.mark.parametrize(("value", "warns"), [(-9999.0, True), (9999.0, True), (-8000.5, False)])
def test_a_fit_warns_of_what_stands_for_none_however_near_it_is(value, warns, recwarn):
    x = 1010.0 + 25.0 * normal(20_000)
    x[np.random.default_rng(0).random(len(x)) < 0.02, 1] = value
    gm = GaussianMixture(2, random_state=0).fit(x)
    assert [(one.feature, one.value) for one in gm.far_values_] == [(1, value)]
    said = [str(one.message) for one in recwarn if issubclass(one.category, DaskGMMWarning)]
    assert any("looks like a fill value" in one for one in said) == warns
