"""GaussianMixture: scikit-learn's names mean what they mean there, on every kind of input."""

from __future__ import annotations

import warnings
from fractions import Fraction

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from made_data import (
    FAMILIES_OF_SKLEARN,
    assert_same_bits,
    fitted_by_sklearn,
    made_mixture,
    precisions_of,
    rows_of,
    write_store,
)
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from daskgmm import GaussianMixture, load_model, open_rows
from daskgmm.em import STEPPERS
from daskgmm.errors import (
    ConversionWarning,
    DataError,
    MemoryLimitError,
    ModelFormatError,
    NonFiniteError,
    NotFoundError,
    OutputExistsError,
    ParameterError,
)
from daskgmm.kernel import COMPONENTS, gaussian_mixture

N, D, K = 1200, 3, 3

EXPECTED_FAILED_CHECKS: dict[str, str] = {}
"""Name of a check of scikit-learn: why it cannot hold here."""


@parametrize_with_checks(
    [
        # Starts that compete are tested once: they are ten fits for each.
        GaussianMixture(covariance_type=name, progressive=name == "full")
        for name in COMPONENTS
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # max_iter is set low
@pytest.mark.filterwarnings("ignore:(27|15) rows of 30 features are few")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def x():
    """Rows of three components that overlap a little."""
    return rows_of(made_mixture("full", K, D, separation=3.0), N)


def _start(family="full"):
    return made_mixture(family, K, D, separation=3.0, seed=0)


def _given(family="full", **kwargs):
    """An estimator whose start is given whole, so that nothing is left to a seed."""
    start = _start(family)
    return GaussianMixture(
        K,
        covariance_type=family,
        weights_init=start.weights,
        means_init=start.means + 0.3,
        precisions_init=precisions_of(start),
        **({"tol": 1e-6} | kwargs),
    )


def _mixture(gm):
    return gm._mixture


# -- as scikit-learn ---------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_every_parameter_and_attribute_of_scikit_learn(x, family):
    settings = {"covariance_type": family, "random_state": 0}
    ours = GaussianMixture(K, **settings, progressive=False).fit(x)
    theirs = InMemoryGaussianMixture(K, **settings).fit(x)
    assert set(theirs.get_params()) <= set(ours.get_params())
    for name, value in vars(theirs).items():
        if name.endswith("_") and not name.startswith("_"):
            assert np.shape(getattr(ours, name)) == np.shape(value) or name == "lower_bounds_", name
    assert len(ours.lower_bounds_) == ours.n_iter_
    assert ours.lower_bounds_[-1] == ours.lower_bound_
    assert ours.converged_ is True
    assert ours.n_features_in_ == D


def test_defaults_are_scikit_learns():
    ours, theirs = GaussianMixture().get_params(), InMemoryGaussianMixture().get_params()
    # One line per pass: passes are long here. And tol and reg_covar follow from the rows.
    differ = {"verbose_interval": 1, "tol": "auto", "reg_covar": "auto"}
    assert {name: ours[name] for name in theirs} == theirs | differ


@pytest.mark.parametrize("max_iter", [1, 7])
@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_a_fit_from_given_parameters_is_scikit_learns(x, family, max_iter):
    gm = _given(family, tol=0.0, max_iter=max_iter, reg_covar=1e-3)
    with pytest.warns(ConvergenceWarning, match=f"not converged: {max_iter} iterations"):
        gm.fit(x)
    start = _start(family)
    moved = gaussian_mixture(start.weights, start.means + 0.3, start.covariances, family)
    theirs = fitted_by_sklearn(x, moved, max_iter, reg_covar=1e-3)
    # eps times condition (below 1e3), in units of order 1.
    for name in ("weights_", "means_", "covariances_", "precisions_", "lower_bound_"):
        np.testing.assert_allclose(
            getattr(gm, name), getattr(theirs, name), rtol=1e-9, atol=1e-9, err_msg=name
        )
    assert gm.n_iter_ == theirs.n_iter_
    assert gm.stop_reason_ == "max_iter"
    assert gm.converged_ is False


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_increment_with_its_tol_stops_where_scikit_learn_stops(x, family):
    gm = _given(family, stopping="increment", tol=1e-3, reg_covar=1e-6).fit(x)
    start = _start(family)
    theirs = InMemoryGaussianMixture(
        K,
        covariance_type=family,
        weights_init=start.weights,
        means_init=start.means + 0.3,
        precisions_init=precisions_of(start),
        tol=1e-3,
    ).fit(x)
    assert gm.n_iter_ == theirs.n_iter_
    # The oldest scikit-learn that is supported keeps the last of them alone.
    expected = getattr(theirs, "lower_bounds_", [theirs.lower_bound_])
    np.testing.assert_allclose(gm.lower_bounds_[-len(expected) :], expected, rtol=1e-9)


def test_what_the_mixture_says_is_what_scikit_learn_says(x, family):
    gm = _given(family).fit(x)
    theirs = gm.to_sklearn()
    other = x[::-1] + 0.1
    np.testing.assert_array_equal(gm.predict(other), theirs.predict(other))
    np.testing.assert_allclose(
        gm.predict_proba(other), theirs.predict_proba(other), rtol=0, atol=1e-11
    )
    np.testing.assert_allclose(
        gm.score_samples(other), theirs.score_samples(other), rtol=1e-11, atol=1e-11
    )
    # Penalties count the parameters of full covariances where scikit-learn has no such kind.
    for name in ("score", "aic", "bic") if family in FAMILIES_OF_SKLEARN else ("score",):
        assert getattr(gm, name)(other) == pytest.approx(getattr(theirs, name)(other), rel=1e-11)
    shared = theirs.get_params()
    assert set(shared) == set(InMemoryGaussianMixture().get_params())
    assert shared.pop("reg_covar") == 1e-6  # scikit-learn has no "auto"
    own = {name: value for name, value in gm.get_params().items() if name in shared}
    if family not in FAMILIES_OF_SKLEARN:  # which has it as full covariances
        own["covariance_type"] = "full"
    assert all(shared[name] is value for name, value in own.items())


def test_what_scikit_learn_is_given_it_can_fit_anew(x):
    """tol="auto" is no word of its."""
    theirs = GaussianMixture(2, random_state=0).fit(x).to_sklearn()
    assert theirs.tol == InMemoryGaussianMixture().tol
    theirs.fit(x[:200])


def test_criteria_are_one_pass_and_consistent(x):
    gm = _given().fit(x)
    score = gm.criteria(x)
    resp = gm.predict_proba(x)
    assert score.n_rows == N
    assert gm.score(x) == score.log_likelihood_per_row
    # ICL = BIC - 2 sum log r of the likeliest: sums of 1200 terms.
    decided = np.log(resp.max(axis=1)).sum()
    assert score.icl == pytest.approx(score.bic - 2 * decided, rel=1e-11)
    assert score.icl >= score.bic


def test_samples_have_the_mixtures_moments(x, family):
    gm = _given(family).fit(x)
    gm.set_params(random_state=5)
    drawn, y = gm.sample(20_000)
    assert drawn.shape == (20_000, D)
    assert (np.diff(y) >= 0).all()
    share = np.bincount(y, minlength=K) / 20_000
    # Five standard errors of a share and of a mean.
    assert (np.abs(share - gm.weights_) < 5 * np.sqrt(gm.weights_ / 20_000)).all()
    dense = COMPONENTS[family](gm.means_, gm.covariances_).dense()
    for k in range(K):
        own = drawn[y == k]
        sd = np.sqrt(np.diagonal(dense[k]) / len(own))
        assert (np.abs(own.mean(axis=0) - gm.means_[k]) < 5 * sd).all()
    again = gm.sample(20_000)
    np.testing.assert_array_equal(drawn, again[0])
    with pytest.raises(ParameterError, match="1 or more; got 0"):
        gm.sample(0)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "bic", "score_samples"])
def test_nothing_works_before_fit(x, method):
    with pytest.raises(NotFittedError):
        getattr(GaussianMixture(), method)(x)
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()


# -- every kind of input -----------------------------------------------------------


def _npy(path, x):
    np.save(path / "x.npy", x)
    return path / "x.npy"


def _group(path, x):
    write_store(path / "group.zarr" / "x", x, 100)
    zarr.create_group(path / "group.zarr", overwrite=False)
    return path / "group.zarr"


LAZY = {
    "dask": lambda path, x: da.from_array(x, chunks=(500, D)),
    "dask, tiny chunks": lambda path, x: da.from_array(x, chunks=(7, D)),
    "dask, feature chunks": lambda path, x: da.from_array(x, chunks=(500, 1)),
    "dask, one chunk": lambda path, x: da.from_array(x, chunks=-1),
    "dask, empty chunks": lambda path, x: da.from_array(x, chunks=((0, 700, 0, 500, 0), D)),
    "dask expression": lambda path, x: (da.from_array(x, chunks=(500, D)) * 2 - 1) / 2 + 0.5,
    "xarray": lambda path, x: xr.DataArray(da.from_array(x, chunks=(500, D)), dims=("r", "f")),
    "zarr path": lambda path, x: write_store(path / "x.zarr", x, 100),
    "zarr path as text": lambda path, x: str(write_store(path / "x.zarr", x, 100)),
    "zarr, sharded": lambda path, x: write_store(path / "x.zarr", x, 50, 400),
    "zarr.Array": lambda path, x: zarr.open_array(write_store(path / "x.zarr", x, 100), mode="r"),
    "open_rows": lambda path, x: open_rows(write_store(path / "x.zarr", x, 100)),
    "npy": _npy,
}
IN_MEMORY = {
    "float64": lambda path, x: x,
    "fortran": lambda path, x: np.asfortranarray(x),
    "lists": lambda path, x: x.tolist(),
    "pandas": lambda path, x: pd.DataFrame(x).to_numpy(),
    "xarray in memory": lambda path, x: xr.DataArray(x, dims=("row", "feature")),
}


@pytest.mark.parametrize("kind", [*LAZY, *IN_MEMORY])
def test_every_kind_of_input_gives_the_same_fit(kind, x, tmp_path):
    data = (LAZY | IN_MEMORY)[kind](tmp_path, x)
    # A fixed number of passes: no decision that rounding could turn.
    with pytest.warns(ConvergenceWarning):
        gm = _given(tol=0.0, max_iter=4).fit(data)
    with pytest.warns(ConvergenceWarning):
        expected = _given(tol=0.0, max_iter=4).fit(x)
    # Sums in another order: eps sqrt(n) per pass, times condition (below 1e3).
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(
            getattr(gm, name), getattr(expected, name), rtol=1e-10, atol=1e-11, err_msg=name
        )
    assert gm.n_rows_ == N
    assert gm.n_iter_ == 4
    assert gm.n_passes_ == 5
    assert gm.rows_read_ == 5 * N
    for method in ("predict", "predict_proba", "score_samples"):
        got = getattr(gm, method)(data)
        assert isinstance(getattr(got, "data", got), da.Array) == (kind in LAZY)
        want = getattr(gm, method)(x)
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-12, atol=1e-12)
    assert gm.score(data) == pytest.approx(gm.score(x), rel=1e-13)


def test_a_dataframe_of_unknown_length_is_counted_in_one_pass_more(x):
    frame = dd.from_pandas(pd.DataFrame(x, columns=list("abc")), npartitions=4)
    frame = frame[frame.a > -100]  # keeps all, and Dask cannot know
    with pytest.warns(ConvergenceWarning):
        gm = _given(tol=0.0, max_iter=3).fit(frame)
    with pytest.warns(ConvergenceWarning):
        expected = _given(tol=0.0, max_iter=3).fit(x)
    np.testing.assert_allclose(gm.means_, expected.means_, rtol=1e-10)
    assert gm.n_passes_ == 5  # count, scan, three iterations
    assert gm.rows_read_ == 5 * N


def test_unknown_chunks_of_the_callers_array_stay_unknown(x):
    array = da.from_array(x, chunks=(500, D))
    array = array[array[:, 0] > -100]
    with pytest.warns(ConvergenceWarning):
        gm = _given(tol=0.0, max_iter=1).fit(array)
    assert gm.n_passes_ == 3
    assert np.isnan(array.shape[0])


@pytest.mark.parametrize("kind", LAZY)
def test_lazy_input_gives_lazy_output_that_nothing_computed(kind, x, tmp_path):
    gm = _given().fit(x)
    data = LAZY[kind](tmp_path, x)

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        labels, proba, density = gm.predict(data), gm.predict_proba(data), gm.score_samples(data)
        with pytest.raises(AssertionError, match="computed"):
            labels.compute()
    assert (labels.shape, proba.shape, density.shape) == ((N,), (N, K), (N,))
    assert (labels.dtype, proba.dtype, density.dtype) == (np.int64, np.float64, np.float64)
    np.testing.assert_array_equal(labels.compute(), gm.predict(x))
    # Lazy arrays go on: slices and reductions.
    np.testing.assert_allclose(proba[:10].sum(axis=1).compute(), 1.0, rtol=1e-14)


def test_lazy_output_checks_what_it_reads(x):
    gm = _given().fit(x)
    bad = x.copy()
    bad[777, 1] = np.nan
    lazy = gm.predict(da.from_array(bad, chunks=(500, D)))
    with pytest.raises(NonFiniteError, match="row 777, column 1"):
        lazy.compute()


def test_float32_stays_float32_and_gives_float64_parameters(x):
    gm = _given().fit(x.astype(np.float32))
    assert gm.means_.dtype == gm.covariances_.dtype == np.float64
    lazy = _given().fit(da.from_array(x.astype(np.float32), chunks=(500, D)))
    np.testing.assert_allclose(lazy.means_, gm.means_, rtol=1e-9)


def test_integers_in_memory_are_silent_and_stored_ones_warn(x, tmp_path):
    ints = np.round(10 * x).astype(np.int16)
    start = {"means_init": 10 * _start().means, "random_state": 0}
    expected = GaussianMixture(K, **start).fit(ints.astype(float))
    in_memory = GaussianMixture(K, **start).fit(ints)  # no warning: filterwarnings = error
    np.testing.assert_allclose(in_memory.means_, expected.means_, rtol=1e-9)
    path = write_store(tmp_path / "x.zarr", ints, 100)
    with pytest.warns(ConversionWarning, match="int16.*float64"):
        stored = GaussianMixture(K, **start).fit(path)
    np.testing.assert_allclose(stored.means_, expected.means_, rtol=1e-9)


# -- the course of a fit -----------------------------------------------------------


@pytest.mark.parametrize("family", ["full", "diag"])  # starts ask no more of a kind than that
def test_the_same_seed_gives_the_same_bits(x, family):
    settings = {"covariance_type": family, "random_state": 3, "tol": 1e-2}
    a, b = (GaussianMixture(2, **settings).fit(x[:200]) for _ in range(2))
    assert_same_bits(_mixture(a), _mixture(b))


@pytest.mark.parametrize("stopping", ["gap", "increment", "means"])
def test_the_stop_reason_is_the_rules_name(x, stopping):
    gm = _given(stopping=stopping).fit(x)
    assert gm.converged_
    assert gm.stop_reason_ == stopping
    assert gm.n_passes_ == gm.n_iter_ + 1
    assert gm.rows_read_ == gm.n_passes_ * N
    assert len(gm.history_) == gm.n_iter_
    assert gm.seconds_ >= sum(i.seconds for i in gm.history_)


def test_warm_start_goes_on_where_the_last_fit_ended(x, family):
    gm = _given(family, tol=0.0, max_iter=3, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gm.fit(x).fit(x)
        whole = _given(family, tol=0.0, max_iter=6).fit(x)
    assert_same_bits(_mixture(gm), _mixture(whole))
    assert gm.n_iter_ == 3


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize(
    "change", [{"reg_covar": 0.03}, {"prior": "auto"}, {"prior": {"scale": np.ones(2)}}]
)
def test_a_warm_start_climbs_another_objective_from_the_last_end(change, stepper):
    x = np.random.default_rng(0).normal(size=(600, 2))
    x[::2] += 3.0
    how = {"stepper": stepper, "tol": 1e-9, "max_iter": 300, "random_state": 0}
    warm = GaussianMixture(2, warm_start=True, **how).fit(x).set_params(**change).fit(x)
    cold = GaussianMixture(2, **how, **change).fit(x)
    assert warm.converged_
    assert any(iteration.accepted for iteration in warm.history_)
    np.testing.assert_allclose(warm.lower_bound_, cold.lower_bound_, atol=1e-7)
    before = warm.lower_bound_
    # A ridge is no maximiser: passes can find less than there was, which is kept then.
    np.testing.assert_allclose(warm.fit(x).lower_bound_, before, atol=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {"fixed": {"means": range(1)}},
        {"prior": {"mean": pd.Series([0.0, 1.0])}},
        {"reg_covar": Fraction(1, 10**6)},
    ],
    ids=["range", "Series", "Fraction"],
)
def test_options_need_be_no_plain_json_to_be_compared(options):
    x = np.random.default_rng(0).normal(size=(300, 2))
    x[::2] += 5.0
    how = {"means_init": [[0, 0], [5, 5]], "random_state": 0, "warm_start": True}
    model = GaussianMixture(2, **how, **options).fit(x)
    before = model.lower_bound_
    assert model.fit(x).lower_bound_ >= before - 1e-9


def test_without_warm_start_a_fit_starts_anew(x):
    gm = _given()
    first = _mixture(gm.fit(x))
    assert_same_bits(_mixture(gm.fit(x)), first)


def test_n_init_keeps_the_best_and_shares_passes(x, capsys):
    gm = GaussianMixture(
        5,
        n_init=4,
        init_params="random_from_data",
        progressive=False,
        tol=0.0,
        max_iter=6,
        random_state=1,
        verbose=1,
    )
    with pytest.warns(ConvergenceWarning):
        gm.fit(x)
    ends = []
    for n in range(4):  # the same starts one by one: the generator goes on from each to the next
        with pytest.warns(ConvergenceWarning):
            alone = clone(gm).set_params(n_init=n + 1).fit(x)
        ends.append(alone.lower_bound_)
    assert len(set(ends)) > 1
    assert gm.lower_bound_ == max(ends)
    assert ends == sorted(ends)
    # All starts on the same passes.
    assert gm.n_passes_ == 1 + 6
    assert len(capsys.readouterr().err.splitlines()) == 5 * (1 + 6)
    assert gm.n_iter_ == 6


def test_progressive_starts_save_passes_and_lose_nothing():
    truth = made_mixture("full", 4, 2, separation=6.0)
    x = rows_of(truth, 10_000)
    fits = {
        progressive: GaussianMixture(4, random_state=0, tol=1e-6, progressive=progressive).fit(x)
        for progressive in (True, False)
    }
    assert fits[True].n_passes_ <= fits[False].n_passes_
    assert fits[True].lower_bound_ >= fits[False].lower_bound_ - 1e-5  # tol, and again


def test_fit_predict_is_fit_and_predict(x, tmp_path):
    labels = _given().fit_predict(x)
    np.testing.assert_array_equal(labels, _given().fit(x).predict(x))
    lazy = _given().fit_predict(da.from_array(x, chunks=(500, D)))
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), labels)


def test_verbose_prints_progress_on_standard_error(x, capsys):
    _given().fit(x)
    assert capsys.readouterr() == ("", "")
    gm = _given(verbose=1).fit(x)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("scan: 1,200 rows, 1,200 sampled")
    passes = [line for line in lines if line.startswith("pass ")]
    assert len(passes) == gm.n_iter_
    for i, line in enumerate(passes):
        assert line.startswith(f"pass {i + 1}: log-likelihood per row {gm.lower_bounds_[i]:.9g}")
    _given(verbose=1, verbose_interval=3).fit(x)
    some = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pass ")]
    assert len(some) == gm.n_iter_ // 3


# -- save and load -----------------------------------------------------------------


@pytest.mark.parametrize("saved", ["model.zarr", "model"])
def test_a_saved_model_is_the_same_to_the_bit(x, family, tmp_path, saved):
    gm = _given(family).fit(x)
    gm.save(tmp_path / saved)
    back = load_model(tmp_path / saved)
    assert_same_bits(_mixture(back), _mixture(gm))
    for name in ("precisions_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(gm, name))
    for name in (
        "lower_bound_",
        "lower_bounds_",
        "n_iter_",
        "n_passes_",
        "rows_read_",
        "converged_",
        "stop_reason_",
        "n_features_in_",
        "n_components",
        "covariance_type",
        "tol",
        "stopping",
    ):
        assert getattr(back, name) == getattr(gm, name), name
    np.testing.assert_array_equal(back.predict(x), gm.predict(x))
    np.testing.assert_array_equal(back.predict_proba(x), gm.predict_proba(x))
    np.testing.assert_array_equal(back.score_samples(x), gm.score_samples(x))


def test_a_saved_model_is_a_group_that_zarr_opens(x, tmp_path):
    gm = _given().fit(x)
    gm.save(tmp_path / "m.zarr")
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(group[name][:], getattr(gm, f"{name}_"))
    assert group.attrs["covariance_type"] == "full"
    assert {"format", "format_version"} <= set(group.attrs)


def test_save_does_not_overwrite_unless_told(x, tmp_path):
    gm = _given().fit(x)
    gm.save(tmp_path / "m.zarr")
    other = GaussianMixture(1).fit(x)
    with pytest.raises(OutputExistsError):
        other.save(tmp_path / "m.zarr")
    assert load_model(tmp_path / "m.zarr").n_components == K
    other.save(tmp_path / "m.zarr", overwrite=True)
    assert load_model(tmp_path / "m.zarr").n_components == 1


def test_loading_what_is_not_a_model(x, tmp_path):
    with pytest.raises(NotFoundError):
        load_model(tmp_path / "nothing.zarr")
    write_store(tmp_path / "x.zarr", x, 100)
    with pytest.raises(ModelFormatError):
        load_model(tmp_path / "x.zarr")


# -- bad input ---------------------------------------------------------------------

AS = {
    "numpy": lambda path, x: x,
    "dask": lambda path, x: da.from_array(x, chunks=(50, -1)),
    "zarr": lambda path, x: write_store(path / "x.zarr", x, 50),
}


@pytest.mark.parametrize("kind", AS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(kind, bad, x, tmp_path):
    x = x[:200].copy()
    x[123, 2] = x[124, 0] = bad
    data = AS[kind](tmp_path, x)
    with pytest.raises(
        NonFiniteError, match=r"NaN or infinity: 2 values, the first at row 123, column 2"
    ):
        GaussianMixture(2).fit(data)
    gm = GaussianMixture(2, random_state=0, progressive=False).fit(x[:100])
    with pytest.raises(NonFiniteError, match=r"row 123, column 2"):
        gm.score(data)
    with pytest.raises(NonFiniteError, match=r"row 123, column 2"):
        np.asarray(gm.predict(data))


@pytest.mark.parametrize("kind", AS)
def test_another_number_of_features_is_refused(kind, x, tmp_path):
    gm = _given().fit(x)
    data = AS[kind](tmp_path, np.ascontiguousarray(x[:, :2]))
    for method in ("predict", "predict_proba", "score_samples", "score", "bic"):
        with pytest.raises(ValueError, match=r"2 features.*expecting 3 features"):
            getattr(gm, method)(data)


@pytest.mark.parametrize("kind", AS)
@pytest.mark.parametrize("shape", [(10,), (2, 3, 4)])
def test_rows_have_two_dimensions(kind, shape, tmp_path):
    x = np.random.default_rng(0).standard_normal(shape)
    if kind == "zarr":
        data = zarr.create_array(tmp_path / "x.zarr", data=x)
    else:
        data = da.from_array(x) if kind == "dask" else x
    with pytest.raises(ValueError, match=r"[Rr]eshape|n_rows, n_features|dim"):
        GaussianMixture().fit(data)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
@pytest.mark.parametrize("shape", [(0, 3), (10, 0)])
def test_rows_and_features_are_needed(kind, shape, tmp_path):
    x = np.zeros(shape)
    if kind == "zarr":
        data = zarr.create_array(tmp_path / "x.zarr", shape=shape, dtype="f8", chunks=(5, 3))
    else:
        data = da.from_array(x) if kind == "dask" else x
    with pytest.raises(ValueError, match=r"0 (sample|feature)|no (rows|features)"):
        GaussianMixture().fit(data)


@pytest.mark.parametrize(
    "dtype", [object, "U3", complex, "datetime64[s]"], ids=["object", "text", "complex", "date"]
)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_dtypes_that_are_no_numbers_are_refused(kind, dtype):
    x = np.array([["a", "b"], ["c", "d"]], dtype=object)
    if dtype is not object:
        x = np.array([[1, 2], [3, 5]]).astype(dtype)
    data = da.from_array(x, chunks=x.shape) if kind == "dask" else x
    if kind == "numpy" and dtype == "U3":  # text of numbers is converted, as in scikit-learn
        data = np.array([["a", "b"], ["c", "d"]])
    with pytest.raises((ValueError, TypeError)):
        GaussianMixture().fit(data)


@pytest.mark.parametrize("kind", AS)
def test_more_components_than_rows_or_distinct_rows(kind, tmp_path):
    x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
    with pytest.raises(DataError, match="n_components=4 must be <= n_samples=3"):
        GaussianMixture(4).fit(AS[kind](tmp_path, x))
    repeated = AS[kind](tmp_path / "more", np.repeat(x, 20, axis=0))
    with pytest.raises(DataError, match="n_components=4 but 60 rows have only 3 distinct"):
        GaussianMixture(4, reg_covar=0.0, on_collapse="error").fit(repeated)


@pytest.mark.parametrize("kind", AS)
def test_a_constant_column_is_named(kind, x, tmp_path):
    x = x.copy()
    x[:, 1] = 7.0
    with pytest.raises(DataError, match=r"column 1 .*is constant .*is 7 in each of 1200 rows"):
        GaussianMixture(2).fit(AS[kind](tmp_path, x))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 0),
        ("n_components", 1.5),
        ("covariance_type", "banded"),
        ("tol", -1e-3),
        ("reg_covar", -1.0),
        ("max_iter", -1),
        ("n_init", 0),
        ("init_params", "magic"),
        ("random_state", "seed"),
        ("warm_start", "yes please"),
        ("verbose", -1),
        ("verbose_interval", 0),
        ("stopping", "never"),
        ("progressive", "yes"),
        ("memory_limit", 0),
        ("memory_limit", 1.5),
    ],
)
def test_wrong_parameters_are_refused_by_name(x, name, value):
    with pytest.raises(ValueError, match=name):
        GaussianMixture(**{name: value}).fit(x)


@pytest.mark.parametrize("limit", ["much", "-1GB", "0"])
def test_memory_limits_that_are_no_amount(x, limit):
    with pytest.raises(ParameterError, match="memory_limit must be a size such as 8GiB"):
        GaussianMixture(memory_limit=limit).fit(x)


def test_a_memory_limit_that_cannot_hold_is_refused_with_figures(x, tmp_path):
    path = write_store(tmp_path / "x.zarr", x, 100)
    with pytest.raises(MemoryLimitError, match=r"memory_limit .* is too small.*raise it to"):
        GaussianMixture(memory_limit="1MiB").fit(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights_init", [0.5, 0.5], r"weights_init must have shape \(3,\)"),
        ("weights_init", [0.9, 0.9, 0.9], "sum to 1; they sum to 2.7"),
        ("weights_init", [1.5, -0.5, 0.0], "at least 0"),
        ("weights_init", [np.nan, 0.5, 0.5], "weights_init must be finite"),
        ("means_init", np.zeros((3, 2)), r"means_init must have shape \(3, 3\)"),
        ("means_init", np.full((3, 3), np.inf), "means_init must be finite"),
        ("precisions_init", np.ones(3), r"precisions_init must have shape \(3, 3, 3\)"),
        ("precisions_init", -np.stack([np.eye(3)] * 3), r"precisions_init\[0\] is not positive"),
    ],
)
def test_wrong_starts_are_refused_by_name(x, name, value, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(3, **{name: value}).fit(x)


def test_a_refused_fit_leaves_the_last_one(x):
    gm = _given().fit(x)
    before = _mixture(gm)
    bad = x.copy()
    bad[0, 0] = np.nan
    with pytest.raises(NonFiniteError):
        gm.fit(bad)
    assert_same_bits(_mixture(gm), before)


@pytest.mark.parametrize("method", ["fit", "predict", "predict_proba", "score_samples", "score"])
def test_values_whose_squares_overflow_are_refused_with_their_place(x, method):
    # They gave NaN probabilities and labels of NaN, silently.
    model = GaussianMixture(2, random_state=0).fit(x)
    far = np.array(x[:50], dtype=np.float64)
    far[7, 1] = -1e160
    with pytest.raises(ValueError, match=r"squares overflow: 1, the first at row 7, column 1"):
        np.asarray(getattr(model, method)(far))


@pytest.mark.parametrize("change", ["n_components", "covariance_type", "columns"])
def test_a_warm_start_of_another_problem_is_refused(x, change):
    # It went on with the old components, and past the ends of arrays in compiled code.
    model = GaussianMixture(2, random_state=0).fit(x).set_params(warm_start=True)
    changed = {"n_components": {"n_components": 3}, "covariance_type": {"covariance_type": "diag"}}
    model.set_params(**changed.get(change, {}))
    with pytest.raises(ValueError, match="warm_start: the last fit had"):
        model.fit(x[:, :1] if change == "columns" else x)


def test_masked_arrays_are_refused(x):
    masked = np.ma.masked_array(x, mask=x > 0)
    for data in (masked, da.from_array(masked, chunks=(100, -1))):
        with pytest.raises(ValueError, match="masked"):
            GaussianMixture(2).fit(data)


def test_a_loaded_model_can_be_saved_again_with_all_that_it_knew(x, tmp_path):
    GaussianMixture(2, random_state=0, progressive=False).fit(x).save(tmp_path / "a.zarr")
    loaded = load_model(tmp_path / "a.zarr")
    loaded.save(tmp_path / "b.zarr")
    again = load_model(tmp_path / "b.zarr")
    assert again.history_ == loaded.history_
    assert not again.progressive
    np.testing.assert_array_equal(again.covariances_, loaded.covariances_)


def test_probabilities_of_a_fitted_model_do_not_follow_its_parameters(x):
    model = GaussianMixture(2, random_state=0).fit(x).set_params(n_components=3)
    lazy = model.predict_proba(da.from_array(x, chunks=(100, -1)))
    assert lazy.shape == lazy.compute().shape == (len(x), 2)


def test_a_failed_fit_leaves_the_fitted_model_as_it_was(x):
    model = GaussianMixture(2, random_state=0).fit(da.from_array(x, chunks=(100, -1)))
    before = model.predict(x)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(da.from_array(np.full((200, 1), np.nan), chunks=100))
    np.testing.assert_array_equal(model.predict(x), before)


def test_components_stay_where_given_means_put_them():
    rng = np.random.default_rng(3)
    centres = 10.0 * np.arange(5)[:, None] * np.ones(2)
    x = centres[rng.integers(5, size=100_000)] + rng.normal(size=(100_000, 2))
    means = centres[[4, 0, 0, 3, 1]] + np.array([[0.0], [0.3], [-0.3], [0.0], [0.0]])
    found = GaussianMixture(5, means_init=means, max_iter=3, tol=0.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(x)
    # One has two places to itself and two share one; it is not for us to put that right.
    np.testing.assert_allclose(found.means_[0], means[0], atol=1.0)
    assert np.abs(found.means_[[1, 2]] - centres[0]).max() < 3.0
