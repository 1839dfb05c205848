"""Labels: rows whose component is known, in fits of rows anywhere."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from made_data import FAMILIES_OF_SKLEARN

from daskgmm import GaussianMixture, load_model
from daskgmm.cli import main
from daskgmm.em import STEPPERS
from daskgmm.errors import CheckpointError, DaskGMMWarning, DataError, ParameterError
from daskgmm.report.findings import doubts

K, D = 3, 2
CENTRES = np.array([[0.0, 0.0], [4.0, 4.0], [-5.0, 4.0]])
NAMES = ("weights_", "means_", "covariances_")


def rows_and_labels(n: int, n_known: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows about three centres, of which some have the number of theirs."""
    rng = np.random.default_rng(seed)
    of = rng.integers(K, size=n)
    labels = np.full(n, -1)
    known = rng.choice(n, n_known, replace=False)
    labels[known] = of[known]
    return CENTRES[of] + rng.normal(size=(n, D)), labels


def fitted(x: object, labels: object, k: int = K, **options: object) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, random_state=0, **options).fit(x, labels=labels)


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_where_all_are_known_the_fit_is_that_of_each_class(family):
    x, labels = rows_and_labels(300, 300)
    model = fitted(x, labels, covariance_type=family, reg_covar=0.0)
    counts = np.bincount(labels)
    each = np.stack([np.cov(x[labels == k].T, bias=True) for k in range(K)])
    covariances = {
        "full": each,
        "tied": np.tensordot(counts / 300, each, 1),
        "diag": np.diagonal(each, axis1=1, axis2=2),
        "spherical": np.trace(each, axis1=1, axis2=2) / D,
    }[family]
    np.testing.assert_allclose(model.weights_, counts / 300, rtol=1e-12)
    means = [x[labels == k].mean(axis=0) for k in range(K)]
    np.testing.assert_allclose(model.means_, means, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_every_stepper_climbs_to_the_same_place(family, stepper):
    x, labels = rows_and_labels(600, 30)
    options = {"covariance_type": family, "tol": 1e-11, "max_iter": 1000, "reg_covar": 0.0}
    options |= {"weights_init": [0.5, 0.2, 0.3], "means_init": CENTRES + 1.0}
    model, plain = (fitted(x, labels, stepper=s, **options) for s in (stepper, "plain"))
    accepted = [i.objective for i in model.history_ if i.accepted]
    assert (np.diff(accepted) >= -1e-12).all()  # a sum of 600 terms, over 600
    assert model.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-9)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("renamed", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_components_have_the_numbers_of_their_labels(renamed, progressive, init):
    x, labels = rows_and_labels(900, 15)
    named = np.append(renamed, -1)[labels]
    model = fitted(x, named, progressive=progressive, init_params=init)
    # Means of 300 rows, to five standard errors.
    np.testing.assert_allclose(model.means_[list(renamed)], CENTRES, atol=5 / np.sqrt(300))


def test_components_without_labels_are_found():
    x, labels = rows_and_labels(900, 60)
    for number in range(K):
        named = np.where(labels == number, K - 1, -1)
        model = fitted(x, named)
        np.testing.assert_allclose(model.means_[K - 1], CENTRES[number], atol=0.3)
        others = np.delete(CENTRES, number, axis=0)
        apart = np.linalg.norm(model.means_[: K - 1, None] - others, axis=2)
        assert sorted(apart.argmin(axis=1)) == [0, 1]
        assert (apart.min(axis=1) < 0.3).all()


def test_a_sample_of_many_rows_holds_all_that_is_known():
    x, labels = rows_and_labels(250_000, 6, seed=1)
    assert set(labels) == {-1, 0, 1, 2}
    named = np.append((1, 2, 0), -1)[labels]
    model = fitted(x, named)
    np.testing.assert_allclose(model.means_[[1, 2, 0]], CENTRES, atol=0.03)


def stored(x: np.ndarray, labels: np.ndarray, at: Path) -> tuple[object, object]:
    zarr.create_array(str(at / "x.zarr"), data=x, chunks=(200, D))
    zarr.create_array(str(at / "labels.zarr"), data=labels, chunks=(300,))
    return str(at / "x.zarr"), str(at / "labels.zarr")


@pytest.mark.parametrize(
    "kept",
    [
        lambda x, labels, at: (x, labels.astype(np.int8)),
        lambda x, labels, at: (x, labels.tolist()),
        lambda x, labels, at: (da.from_array(x, chunks=(250, D)), labels),
        lambda x, labels, at: (
            da.from_array(x, chunks=(250, D)),
            da.from_array(labels, chunks=400),
        ),
        lambda x, labels, at: (pd.DataFrame(x, columns=["a", "b"]), pd.Series(labels)),
        stored,
    ],
    ids=["small integers", "list", "Dask", "Dask labels", "pandas", "stored"],
)
def test_rows_and_labels_of_any_kind_are_fitted_alike(kept, tmp_path):
    x, labels = rows_and_labels(900, 30)
    options = {"stepper": "plain", "max_iter": 10, "progressive": False, "init_params": "random"}
    model, plain = fitted(*kept(x, labels, tmp_path), **options), fitted(x, labels, **options)
    for name in NAMES:
        np.testing.assert_allclose(getattr(model, name), getattr(plain, name), rtol=1e-8)


@pytest.mark.parametrize(
    "more",
    [
        {"prior": "auto"},
        {"noise": True},
        {"tails": "t"},
        {"standardize": "robust"},
        {"n_projected": 1},
        {"fixed": {"means": [1]}, "means_init": [[np.nan] * 2, [4.0, 4.0], [np.nan] * 2]},
        {"precision": "float32"},
        {"n_init": 3},
        {"stopping": "increment"},
        {"missing": "em"},
        {"missing": "drop"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_beside_other_options_the_objective_never_falls(more):
    x, labels = rows_and_labels(900, 30)
    if "missing" in more:  # in rows with labels, too
        x[np.arange(900) % 5 == 0, 0] = x[np.flatnonzero(labels >= 0)[::2], 1] = np.nan
    model = fitted(x, labels, **more, tol=1e-8)
    accepted = [i.objective for i in model.history_ if i.accepted]
    assert (np.diff(accepted) >= -1e-6 * ("precision" in more) - 1e-12).all()
    order = np.argsort(model.means_[:, 0] + 0.01 * model.means_[:, 1])
    assert order.tolist() == [2, 0, 1]


def test_weights_count_labelled_rows_too():
    x, labels = rows_and_labels(300, 60)
    weights = np.random.default_rng(0).integers(0, 3, 300)
    options = {"stepper": "plain", "max_iter": 5, "progressive": False, "init_params": "random"}
    options |= {"means_init": CENTRES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = GaussianMixture(K, **options).fit(x, sample_weight=weights, labels=labels)
    theirs = fitted(np.repeat(x, weights, axis=0), np.repeat(labels, weights), **options)
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


def test_warm_starts_take_other_labels_for_another_fit():
    x, labels = rows_and_labels(900, 30)
    model = fitted(x, labels, warm_start=True, max_iter=2, tol=1e-12)
    for known in (labels, None, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, labels=known)
        accepted = [i.objective for i in model.history_ if i.accepted]
        assert (np.diff(accepted) >= -1e-12).all()
    assert model.n_iter_ >= 1


def test_a_checkpoint_is_of_its_labels(tmp_path):
    x, labels = rows_and_labels(900, 30)
    path, known = stored(x, labels, tmp_path)
    options = {"checkpoint": str(tmp_path / "kept"), "resume": True}
    fitted(path, known, **options)
    fitted(path, known, **options)
    with pytest.raises(CheckpointError):
        fitted(path, np.where(labels == 2, -1, labels), **options)
    with pytest.raises(CheckpointError):
        fitted(path, None, **options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: labels + 1, r"has 3 at row \d+; a label is the number .* from 0 to 2"),
        (lambda labels: labels - 1, r"has -2 at row 0"),
        (lambda labels: labels + 0.5, r"has -0.5 at row 0"),
        (lambda labels: np.where(labels < 0, np.nan, labels), r"has nan at row 0"),
        (lambda labels: labels[1:], "has 899 labels, but .* has 900 rows"),
        (lambda labels: np.full(900, -1), "leave labels out"),
        (lambda labels: labels[:, None] * [1, 1], "must be a 1D array"),
        (lambda labels: labels.astype(str), "labels are numbers"),
    ],
)
def test_what_are_no_labels_is_refused(change, said):
    x, labels = rows_and_labels(900, 30)
    assert labels[0] == -1
    with pytest.raises(DataError, match=said) as caught:
        fitted(x, change(labels))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_with_labels_is_refused_in_one_line():
    x, labels = rows_and_labels(900, 30)
    for more in ({"order": "weight"}, {"on_collapse": "prune"}):
        with pytest.raises(ParameterError, match="labels: components are named by number"):
            fitted(x, labels, **more)
    with pytest.raises(ParameterError, match="reads=1"):
        fitted(x, labels, reads=1)
    with pytest.raises(DataError, match="cells of a grid"):
        fitted(xr.DataArray(x, dims=("i", "feature")), labels)


def test_a_command_takes_labels_beside_the_rows(tmp_path):
    x, labels = rows_and_labels(900, 15)
    named = np.append((1, 2, 0), -1)[labels]
    group = zarr.open_group(str(tmp_path / "data.zarr"), mode="w")
    group.create_array("x", data=x)
    group.create_array("known", data=named)
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "known": named})
    table.to_parquet(tmp_path / "data.parquet")
    out, by_columns = str(tmp_path / "model.zarr"), ["--columns", "a,b"]
    for data, more in (("data.zarr/x", []), ("data.parquet", by_columns)):
        arguments = ["fit", str(tmp_path / data), "--components", "3", "--output", out, *more]
        done = CliRunner().invoke(main, [*arguments, "--labels", "known", "--overwrite"])
        assert done.exit_code == 0, done.output
        np.testing.assert_allclose(load_model(out).means_[[1, 2, 0]], CENTRES, atol=0.3)
    done = CliRunner().invoke(main, [*arguments[:-2], "--labels", "known", "--overwrite"])
    assert done.exit_code == 1
    assert "column 'known' would be a feature" in done.output


def with_outliers(n: int = 900, n_known: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels as above, of which nine rows without a label are far away."""
    x, labels = rows_and_labels(n, n_known)
    x[np.flatnonzero(labels < 0)[:9]] *= 1000.0
    return x, labels


def warned_of(x: object, labels: np.ndarray, **options: object) -> tuple[GaussianMixture, str]:
    """A fit, and what was warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DaskGMMWarning)
        model = GaussianMixture(K, random_state=0, **options).fit(x, labels=labels)
    return model, "\n".join(str(one.message) for one in said)


def elsewhere(model: GaussianMixture, x: object, labels: np.ndarray) -> dict[int, tuple[int, int]]:
    """Of each component, how many labelled rows there are, and how many are predicted as others."""
    predicted = np.asarray(model.predict(x))
    counts = (labels >= 0) & (predicted != -2)
    return {
        k: (int(of.sum()), int((predicted[of] != k).sum()))
        for k in range(K)
        if (of := counts & (labels == k)).any()
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"missing": "em"}, {"missing": "drop"}, {"n_projected": 1}, {"tails": "t"}],
    ids=str,
)
def test_labels_that_a_fit_contradicts_are_said(options, tmp_path):
    x, labels = with_outliers()
    if "missing" in options:
        x[np.arange(len(x)) % 7 == 0, 0] = np.nan
    model, warned = warned_of(x, labels, **options)
    assert re.search("are more likely under other components: .*noise=True", warned)
    found = {c.component: (c.n_labelled, c.n_elsewhere) for c in model.contradicted_labels_}
    expected = elsewhere(model, x, labels)
    assert found == {k: (n, out) for k, (n, out) in expected.items() if 2 * out > n}
    k, (n, out) = next(iter(found.items()))
    said = f"{out} of {n} labelled rows of component {k}"
    assert said in model._note
    model.save(tmp_path / "model.zarr")
    loaded = load_model(tmp_path / "model.zarr")
    assert loaded.contradicted_labels_ == model.contradicted_labels_
    assert any(said in doubt for doubt in doubts(loaded, None))


def test_labels_that_are_noise_to_a_fit_are_said_to_be():
    x, labels = rows_and_labels(900, 15)
    x[np.flatnonzero(labels == 1)] += 20.0
    start = {"means_init": CENTRES, "precisions_init": [np.eye(D)] * K}
    fixed = {"fixed": {"means": "all", "covariances": "all"}}
    model, warned = warned_of(x, labels, noise=True, **start, **fixed)
    assert re.search("component 1 .* under other components or noise: ", warned)
    (found,) = model.contradicted_labels_
    assert found.n_noise == (np.asarray(model.predict(x))[labels == 1] == -1).sum() > 0


def test_nothing_is_said_of_labels_that_a_fit_agrees_with():
    x, labels = with_outliers()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DaskGMMWarning)
        model = GaussianMixture(K, random_state=0, noise=True).fit(x, labels=labels)
    assert model.contradicted_labels_ == ()
    assert "contradicted_labels" not in model.record()
    model.fit(x)
    assert model.contradicted_labels_ == ()


@pytest.mark.parametrize("n", [10_000, 250_000])
def test_contradicted_labels_are_counted_without_a_pass_of_their_own(n):
    x, labels = with_outliers(n)
    rows = da.from_array(x, chunks=(n // 4, D))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(K, random_state=0).fit(rows, labels=labels)
    assert model.n_passes_ <= model.n_iter_ + 1
    assert sum(one.n_labelled for one in model.contradicted_labels_) > 0
    expected = elsewhere(model, x, labels)
    for one in model.contradicted_labels_:
        assert (one.n_labelled, one.n_elsewhere) == expected[one.component]
