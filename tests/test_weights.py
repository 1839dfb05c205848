"""Sample weights at the door: a weight of 2 is the row twice, a weight of 0 no row at all.

Asserted: fits, scores and selections of weighted rows equal those of repeated rows, whatever
holds rows and weights; R's mclust finds the same; units of weights decide no fit; what cannot
be weights is one line before the first pass. The laws of single blocks are in
daskgmm.testing.components.
"""

from __future__ import annotations

import json
import pickle
import warnings
from functools import partial

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
import zarr
from commands import forked
from made_data import assert_same_bits, made_mixture, rows_of, write_store

from daskgmm import GaussianMixture, load_model, select
from daskgmm.em import STEPPERS
from daskgmm.errors import CheckpointError, DaskGMMWarning, DataError, NotFoundError, ParameterError
from daskgmm.report.page import write_report
from daskgmm.storage import Location
from daskgmm.tables import weights_beside
from daskgmm.tables.weights import weights_of

N, D, K = 4000, 2, 3


@pytest.fixture(scope="module")
def x():
    return rows_of(made_mixture("full", K, D, separation=4.0), N, seed=3)


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).integers(0, 4, N)


@pytest.fixture(scope="module")
def repeated(x, counts):
    return np.repeat(x, counts, axis=0)


def fitted(x, sample_weight=None, **options):
    """From one start: for clusters as clear as these, a search for better ones finds none."""
    settings = {"n_components": K, "random_state": 0, "tol": 1e-9}
    settings |= {"progressive": False, "stepper": "surrogate"}
    return GaussianMixture(**settings | options).fit(x, sample_weight=sample_weight)


def _sorted(model):
    order = np.argsort(model.means_[:, 0])
    covariances = model.covariances_
    own = covariances[order] if len(covariances) == K else covariances
    return model.weights_[order], model.means_[order], own


def assert_same_fit(left, right):
    """To what fits leave that end at an estimated 1e-9 nats per row."""
    assert left.lower_bound_ == pytest.approx(right.lower_bound_, abs=1e-8)
    for a, b in zip(_sorted(left), _sorted(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_fit_of_weighted_rows_is_one_of_repeated_rows(x, counts, repeated, family, stepper):
    options = {"covariance_type": family, "stepper": stepper, "max_iter": 500}
    assert_same_fit(fitted(x, counts, **options), fitted(repeated, **options))


def test_from_the_same_start_every_pass_is_the_same(x, counts, repeated, family):
    start = made_mixture(family, K, D, separation=4.0)
    given = {
        "covariance_type": family,
        "weights_init": start.weights,
        "means_init": start.means + 0.3,
        "precisions_init": start.components.precisions,
        "stepper": "plain",
        "tol": 1e-4,
    }
    left, right = fitted(x, counts, **given), fitted(repeated, **given)
    assert left.n_passes_ == right.n_passes_
    found = [np.array([i.log_likelihood for i in model.history_]) for model in (left, right)]
    # Rounding of the sums of each pass.
    np.testing.assert_allclose(*found, rtol=1e-12)
    np.testing.assert_allclose(left.means_, right.means_, rtol=1e-9, atol=1e-9)


def test_scores_and_criteria_are_those_of_repeated_rows(x, counts, repeated):
    model = fitted(repeated)
    assert model.score(x, sample_weight=counts) == pytest.approx(model.score(repeated), rel=1e-12)
    for name in ("aic", "bic"):
        weighted, plain = getattr(model, name)(x, counts), getattr(model, name)(repeated)
        assert weighted == pytest.approx(plain, rel=1e-12)
    assert model.criteria(x, counts).icl == pytest.approx(model.criteria(repeated).icl, rel=1e-12)
    density = model.score_samples(x)
    expected = -2 * counts @ density + 17 * np.log(counts.sum())
    assert model.bic(x, counts) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_selection_of_weighted_rows_is_one_of_repeated_rows(x, counts, repeated):
    left = select(x, range(2, 5), sample_weight=counts, random_state=0)
    right = select(repeated, range(2, 5), random_state=0)
    assert left.best.n_components == right.best.n_components == K
    assert left.best.bic == pytest.approx(right.best.bic, rel=1e-6)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_the_search_among_all_rows_is_that_among_repeated_rows(x, counts, repeated, kind):
    """Four components of three clusters: starts disagree, and the search goes on."""
    options = {"n_components": 4, "covariance_type": kind, "tol": "auto", "random_state": 1}
    options["progressive"] = True
    assert_same_fit(fitted(x, counts, **options), fitted(repeated, **options))


# -- whatever holds them ----------------------------------------------------------------


ROWS = {
    "memory": lambda x, folder: x,
    "Dask array": lambda x, folder: da.from_array(x, chunks=(900, D)),
    "Zarr": lambda x, folder: str(write_store(folder / "x.zarr", x, 700)),
}


def _zarr_weights(w, folder):
    array = zarr.create_array(folder / "w.zarr", shape=w.shape, dtype=w.dtype, chunks=(300,))
    array[:] = w
    return folder / "w.zarr"


def _npy_weights(w, folder):
    np.save(folder / "w.npy", w)
    return folder / "w.npy"


WEIGHTS = {
    "memory": lambda w, folder: w,
    "list": lambda w, folder: w.tolist(),
    "Series": lambda w, folder: pd.Series(w),
    "column": lambda w, folder: w[:, None],
    "Dask array": lambda w, folder: da.from_array(w, chunks=1300),
    "Zarr": _zarr_weights,
    "open Zarr": lambda w, folder: zarr.open_array(_zarr_weights(w, folder), mode="r"),
    "npy": _npy_weights,
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rows", ROWS)
def test_what_holds_rows_and_weights_changes_no_bit(x, counts, rows, weights, tmp_path):
    options = {"stepper": "plain", "max_iter": 5, "tol": 1.0}
    w = counts.astype(float)
    expected = fitted(x, w, **options)
    got = fitted(ROWS[rows](x, tmp_path), WEIGHTS[weights](w, tmp_path), **options)
    assert_same_bits(got._mixture, expected._mixture)
    assert got.n_passes_ == expected.n_passes_


def _frame(x, w):
    return pd.DataFrame({"a": x[:, 0], "w": w, "b": x[:, 1]})


def _parquet(x, w, folder):
    _frame(x, w).to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def _beside(x, w, folder):
    root = zarr.create_group(folder / "g.zarr")
    for name, values in (("x", x), ("w", w)):
        root.create_array(name, data=values, chunks=(700, *values.shape[1:]))
    return f"{folder / 'g.zarr'}/x"


NAMED = {
    "pandas": lambda x, w, folder: _frame(x, w),
    "Dask DataFrame": lambda x, w, folder: dd.from_pandas(_frame(x, w), npartitions=3),
    "polars": lambda x, w, folder: pl.from_pandas(_frame(x, w)),
    "Arrow": lambda x, w, folder: pa.Table.from_pandas(_frame(x, w)),
    "batch": lambda x, w, folder: pa.RecordBatch.from_pandas(_frame(x, w)),
    "Dataset": lambda x, w, folder: xr.Dataset({k: ("i", v) for k, v in _frame(x, w).items()}),
    "DataArray": lambda x, w, folder: xr.DataArray(x, {"w": ("i", w)}, ("i", "f")),
    "Parquet": _parquet,
    "array of a group": _beside,
}


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_weights_by_the_name_of_a_column_are_no_feature(x, counts, make, tmp_path):
    """In a table in memory the name was taken for a path."""
    rows, options = make(x, counts.astype(float), tmp_path), {"max_iter": 5, "tol": 1.0}
    expected, model = fitted(x, counts, **options), fitted(rows, "w", **options)
    assert model.n_features_in_ == D
    np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-9)
    assert model.bic(rows, "w") == pytest.approx(expected.bic(x, counts), rel=1e-9)
    with pytest.raises((DataError, ParameterError, NotFoundError), match=r"ww"):
        fitted(rows, "ww")


def test_rows_of_weight_zero_may_hold_anything(x, counts):
    spoiled = np.array(x)
    spoiled[counts == 0] = np.nan
    assert_same_bits(fitted(spoiled, counts)._mixture, fitted(x, counts)._mixture)
    with pytest.raises(DataError, match="NaN"):
        fitted(spoiled, np.maximum(counts, 1e-9))


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e6])
def test_the_unit_of_weights_decides_no_fit(x, unit):
    weight = np.random.default_rng(1).uniform(0.1, 1.0, N)
    left, right = (fitted(x, w, tol="auto") for w in (unit * weight, weight))
    # The smaller a unit, the more rows the weights seem to be, and the less a fit leaves.
    assert left.lower_bound_ == pytest.approx(right.lower_bound_, abs=right.tol_)
    assert left.tol_ <= right.tol_ * (1 + 1e-9)


def test_weights_all_alike_are_no_weights(x):
    weighted, plain = fitted(x, np.ones(N), progressive=True), fitted(x, progressive=True)
    assert_same_fit(weighted, plain)
    assert weighted.n_passes_ == plain.n_passes_


def test_threads_change_no_bit(x, counts):
    import dask

    lazy, w = da.from_array(x, chunks=(500, D)), da.from_array(counts, chunks=500)
    found = []
    for n_workers in (1, 4):
        with dask.config.set(scheduler="threads", num_workers=n_workers):
            found.append(fitted(lazy, w, max_iter=4, tol=1.0)._mixture)
    assert_same_bits(*found)


# -- what R says ---------------------------------------------------------------------------

# mclust 6.0.0 of R 4.2.2, me.weighted on Old Faithful, iterated until parameters change by less
# than 1e-14: weighted log-likelihood, means and weights. Its models are VVV, EEE, VVI, VII.
FAITHFUL_BY_MCLUST = {
    ("real", "full"): (-557.003063109283, [[2.04658482607818, 54.7444343775469],
                       [4.28570890589783, 80.4000804447595]], 0.340151474872818),
    ("real", "tied"): (-561.665997327278, [[2.05630274861449, 54.8728260861738],
                       [4.29162245962727, 80.4589238935763]], 0.343375897470867),
    ("real", "diag"): (-564.816446225013, [[2.04618412557336, 54.7372617034],
                       [4.28555024404726, 80.3995933755231]], 0.340043858858713),
    ("real", "spherical"): (-849.678458295448, [[2.08582635920369, 54.7850973659481],
                            [4.27875793983837, 80.5350324137958]], 0.344146802745215),
    ("whole", "full"): (-1664.95749167141, [[2.02802042250102, 55.0403328402782],
                        [4.29043111827807, 80.1241587470035]], 0.328277388595764),
    ("whole", "tied"): (-1680.94359857062, [[2.04269507624592, 55.2193814411337],
                        [4.2987965494663, 80.2087500525142]], 0.332903335795873),
    ("whole", "diag"): (-1692.86804364678, [[2.02813525432899, 55.0375537112111],
                        [4.29071916655095, 80.1293337119193]], 0.328379566110248),
    ("whole", "spherical"): (-2500.22399288691, [[2.07629773954632, 55.1301358749614],
                             [4.2885300220907, 80.3273475776268]], 0.334864103014276),
}  # fmt: skip


@pytest.mark.parametrize(("weights", "kind"), FAITHFUL_BY_MCLUST)
def test_mclust_finds_the_same(weights, kind, request):
    data = np.loadtxt(request.config.rootpath / "tests" / "data" / "faithful.txt")
    i = np.arange(len(data))
    w = (7 * i) % 11 / 10 if weights == "real" else (5.0 * i) % 4
    log_likelihood, means, share = FAITHFUL_BY_MCLUST[weights, kind]
    model = GaussianMixture(
        2, covariance_type=kind, reg_covar=0.0, tol=1e-13, max_iter=1000, random_state=0
    ).fit(data, sample_weight=w)
    assert w.sum() * model.score(data, sample_weight=w) == pytest.approx(log_likelihood, rel=1e-9)
    order = np.argsort(model.means_[:, 0])
    # What is left at 1e-13 nats per row moves means by a millionth of a width.
    np.testing.assert_allclose(model.means_[order], means, rtol=1e-6)
    assert model.weights_[order][0] == pytest.approx(share, rel=1e-5)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w - 1.0, r"sample_weight has -1 at row"),
        (lambda w: np.where(np.arange(N) == 7, np.nan, w), "sample_weight has nan at row 7"),
        (lambda w: np.where(np.arange(N) == 3999, np.inf, w), "sample_weight has inf at row 3999"),
        (lambda w: 0.0 * w, f"sample_weight is zero for each of {N} rows"),
        (lambda w: 1e-300 * w, "multiply all weights by one factor"),
        (lambda w: 1e300 * w, "multiply all weights by one factor"),
        (lambda w: w[:-1], f"has {N - 1} weights, but .* has {N} rows"),
        (lambda w: np.ones((N, D)), "1D"),
        (lambda w: np.ma.masked_less(w, 1.0), "masked"),
        (lambda w: w.astype(str), "dtype"),
        (lambda w: w.astype("M8[s]"), r"dtype datetime64\[s\]; weights are numbers"),
        (lambda w: [1, [2, 3]], "sample_weight is a builtins.list, which is no array of numbers"),
        (lambda w: xr.Dataset({"w": ("row", w)}), "Dataset; give one of its variables"),
    ],
)
@pytest.mark.parametrize("rows", ROWS)
def test_what_cannot_be_weights_is_refused_before_the_first_pass(
    x, counts, rows, spoil, message, tmp_path
):
    model = GaussianMixture(K)
    with pytest.raises(DataError, match=message):
        model.fit(ROWS[rows](x, tmp_path), sample_weight=spoil(counts.astype(float)))
    assert not hasattr(model, "weights_")


def test_bad_weights_on_dask_are_found_where_they_are(x, counts):
    w = da.from_array(np.where(np.arange(N) == 3210, -2.0, counts), chunks=500)
    with pytest.raises(DataError, match="sample_weight has -2 at row 3210"):
        fitted(x, w)
    with pytest.raises(NotFoundError, match="nowhere"):
        fitted(x, "nowhere.zarr")


def test_criteria_warn_of_weights_that_are_no_counts(x):
    model, weight = fitted(x), np.full(N, 1.0 / N)
    with pytest.warns(DaskGMMWarning, match=f"multiply them by {N}"):
        model.bic(x, weight)
    assert model.score(x, sample_weight=weight) == pytest.approx(model.score(x), rel=1e-12)


def test_weights_in_square_metres_are_no_counts(x, counts):
    """Areas of cells: BIC took 1e17 for the number of rows, and chose ever more components."""
    areas = 1.3e10 * (0.5 + np.random.default_rng(0).random(N))
    of_areas, of_shares = fitted(x, areas), fitted(x, areas / areas.sum())
    assert of_areas.tol_ == pytest.approx(of_shares.tol_, rel=1e-9)
    np.testing.assert_allclose(of_areas.means_, of_shares.means_, rtol=1e-6)
    with pytest.warns(DaskGMMWarning, match="sum of the weights, .* multiply them by"):
        of_areas.bic(x, areas)
    many = fitted(x, 1000.0 * counts)  # a thousand rows each are counts all the same
    with warnings.catch_warnings():
        warnings.simplefilter("error", DaskGMMWarning)
        many.bic(x, 1000.0 * counts)


@pytest.mark.parametrize("unit", [1e-9, 1e13])
def test_the_unit_of_weights_that_are_no_counts_decides_no_selection(x, unit):
    """Of areas in square metres the standard errors were 0, and BIC chose ever more components."""
    weight = np.random.default_rng(1).uniform(0.1, 1.0, 600)
    weight *= weight.sum() / np.square(weight).sum()  # to sum to what they tell as much as
    left, right = (
        select(x[:600], 3, sample_weight=w, random_state=0) for w in (unit * weight, weight)
    )
    names = ("bic", "icl", "held_out_log_likelihood_per_row", "held_out_standard_error")
    for name in names:
        assert getattr(left.best, name) == pytest.approx(getattr(right.best, name), rel=1e-6), name
    assert "tell as much as" in left.note
    assert "tell as much as" not in (right.note or "")


def test_weights_are_opened_small(x, counts, tmp_path):
    np.save(tmp_path / "w.npy", counts.astype(float))
    weights = weights_of(tmp_path / "w.npy")
    assert weights.total == counts.sum()
    assert len(pickle.dumps(weights.by_range())) < 2000


# -- scikit-learn ----------------------------------------------------------------------------


def test_weights_are_routed():
    from sklearn import config_context
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = rows_of(made_mixture("diag", 2, 2, separation=4.0), 500)
    w = np.random.default_rng(0).uniform(0.5, 2.0, 500)
    how = {"random_state": 0, "progressive": False}
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        model = GaussianMixture(2, **how).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, model).fit(x, sample_weight=w)
    expected = GaussianMixture(2, **how).fit(
        StandardScaler().fit(x, sample_weight=w).transform(x), sample_weight=w
    )
    np.testing.assert_array_equal(pipeline[-1].means_, expected.means_)


# -- the command line --------------------------------------------------------------------------


@pytest.fixture
def group(x, counts, tmp_path):
    """A group with rows and weights beside each other."""
    root = zarr.create_group(tmp_path / "data.zarr")
    for name, values, chunks in (("rows", x, (700, D)), ("times", counts.astype(float), (900,))):
        root.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)[:] = values
    return tmp_path / "data.zarr"


def test_weights_of_a_group_by_name(group, x, counts, tmp_path):
    assert weights_beside(str(group), "times") == f"{group}/times"
    assert weights_beside(f"{group}/rows", "times") == f"{group}/times"
    assert weights_beside(Location.parse(group), "times") == f"{group}/times"
    assert weights_beside(str(group), "other.npy") == "other.npy"
    common = [str(group), "--member", "rows", "--weights", "times"]
    output = str(tmp_path / "model.zarr")
    done = forked(
        *("fit", *common, "--components", K, "--output", output, "--tol", "1e-9"), cwd=tmp_path
    )
    assert done.status == 0, done.stderr
    expected = fitted(x, counts, random_state=0)
    assert_same_fit(load_model(output), expected)
    done = forked("score", *common, "--model", output, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["n_rows"] == N
    assert found["sum_of_weights"] == counts.sum()
    assert found["bic"] == pytest.approx(expected.bic(x, counts), rel=1e-9)
    done = forked("select", *common, "--components", "2:4", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["best"]["n_components"] == K


def test_a_job_takes_weights_and_knows_them_again(group, counts, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(
        f"data: {group.name}\nmember: rows\nweights: times\n"
        f"model:\n  components: {K}\noutputs:\n  model: model.zarr\n"
    )
    assert forked("run", job, cwd=tmp_path).status == 0
    assert forked("run", job, cwd=tmp_path).status == 0, "it is done"
    zarr.open_array(group / "times", mode="r+")[:] = counts[::-1].astype(float)
    done = forked("run", job, cwd=tmp_path)
    assert done.status == 1
    assert "weights" in done.stderr


def test_checkpoints_know_weights(x, counts, tmp_path):
    rows = write_store(tmp_path / "x.zarr", x, 700)
    where = {"checkpoint": tmp_path / "c", "max_iter": 50}
    first = fitted(rows, counts, **where)
    again = fitted(rows, counts, resume=True, **where)
    assert_same_bits(first._mixture, again._mixture)
    with pytest.raises(CheckpointError, match="fingerprint"):
        fitted(rows, counts[::-1], resume=True, **where)
    with pytest.raises(ParameterError, match="on Dask"):
        fitted(rows, da.from_array(counts), checkpoint=tmp_path / "d")


def test_fit_predict_takes_weights_by_the_name_of_a_column():
    x = np.random.default_rng(0).normal(size=(200, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "w": 1.0})
    found = GaussianMixture(2, random_state=0).fit_predict(frame, sample_weight="w")
    np.testing.assert_array_equal(
        found, GaussianMixture(2, random_state=0).fit_predict(frame[["a", "b"]])
    )


def test_weights_that_a_later_command_forgets_are_asked_for(x, tmp_path):
    """Rows of a weighted fit that count once each were scored, and added, without a word."""
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(x))
    GaussianMixture(2, random_state=0).fit(x, sample_weight=weights).save(tmp_path / "m.zarr")
    np.save(tmp_path / "x.npy", x)
    plain = GaussianMixture(2, random_state=0).fit(x)
    for call in ("score", "bic", "criteria", "uncertainty", "update"):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*fitted to rows with weights")
            getattr(plain, call)(x)
            getattr(load_model(tmp_path / "m.zarr"), call)(x, sample_weight=weights)
        with pytest.warns(DaskGMMWarning, match="count once each; sample_weight") as told:
            getattr(load_model(tmp_path / "m.zarr"), call)(x)
        (one,) = [one for one in told if "with weights" in str(one.message)]
        assert one.filename == __file__
    report = partial(write_report, str(tmp_path / "m.zarr"), data=str(tmp_path / "x.npy"))
    with pytest.warns(DaskGMMWarning, match="count once each"):
        assert "with weights" in report(str(tmp_path / "r.html"))["doubts"][-1]
    np.save(tmp_path / "w.npy", weights)
    given = report(str(tmp_path / "s.html"), sample_weight=str(tmp_path / "w.npy"))
    assert not [doubt for doubt in given["doubts"] if "with weights" in doubt]
