"""Rows that are standardised or projected inside a fit.

Asserted: fits equal those to rows that scikit-learn scaled or projected before, from the same
seed, with densities by the Jacobian; weights are repetitions; every container gives the same; the map
takes no read. What such models go on to do is in ``test_scaled_models``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from commands import write_store
from made_data import made_mixture, rows_of
from scaled_rows import HOW, IDS, NAMES, UNITS, D, K, as_grid, fitted, scaled, unlike_rows
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskgmm import GaussianMixture, select
from daskgmm.em.scaling import quantiles
from daskgmm.errors import ColumnError, NonFiniteError
from daskgmm.kernel import COMPONENTS, Affine, Block

KINDS = [True, "robust"]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return unlike_rows()


# -- the law: as if rows had been scaled or projected before ---------------------------


@pytest.mark.parametrize("how", [{}, {"reg_covar": 1e-3}, {"stopping": "means", "tol": 1e-4}])
@pytest.mark.parametrize("standardize", KINDS)
def test_a_fit_is_that_of_rows_that_were_scaled_before(x, family, standardize, how):
    z, scale = scaled(x, standardize)
    ours = fitted(x, family, standardize=standardize, **how)
    theirs = fitted(z, family, **how)
    jacobian = -np.log(scale).sum()
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(z))
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(z) + jacobian, atol=1e-6)
    assert ours.lower_bound_ == pytest.approx(theirs.lower_bound_ + jacobian, abs=1e-6)
    first = np.add(theirs.lower_bounds_[:2], jacobian)  # the last may be one more, by rounding
    np.testing.assert_allclose(ours.lower_bounds_[:2], first, atol=1e-6)
    means = theirs.means_ * scale + x.mean(axis=0) if standardize is True else ours.means_
    np.testing.assert_allclose(ours.means_, means, atol=1e-6 * scale.max())
    kind = COMPONENTS[family].scaled_family().kind
    expected = theirs._mixture.components.dense() * np.multiply.outer(scale, scale)
    np.testing.assert_allclose(ours._mixture.components.dense(), expected, rtol=1e-6, atol=1e-9)
    assert ours._mixture.kind == kind
    assert ours.covariance_type == family
    assert ours._n_parameters() == theirs._n_parameters()
    assert ours.bic(x) == pytest.approx(theirs.bic(z) - 2 * len(x) * jacobian, rel=1e-9)


@pytest.mark.parametrize("kind", ["array", "blocks"])
@pytest.mark.parametrize("standardize", KINDS)
def test_a_row_with_gaps_has_the_jacobian_of_the_features_that_it_has(x, standardize, kind):
    """That of all features was added to each row, whatever was missing."""
    gaps = np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.nan, x)
    weight = np.random.default_rng(1).integers(0, 3, len(x))
    rows = gaps if kind == "array" else da.from_array(gaps, chunks=(len(gaps) // 3, -1))
    how = {"standardize": standardize, "missing": "em", "random_state": 0}
    model = GaussianMixture(2, covariance_type="spherical", **how).fit(rows, sample_weight=weight)
    expected = model.score(gaps, sample_weight=weight)
    assert model.lower_bound_ == pytest.approx(expected, abs=1e-6)
    assert model.history_[-1].log_likelihood == pytest.approx(expected, abs=1e-6)
    found = select(rows, 2, covariance_type="spherical", sample_weight=weight, **how)
    assert found.best.bic == pytest.approx(found.model.bic(gaps, weight), rel=1e-6)


@pytest.mark.parametrize("standardize", [False, *KINDS])
@pytest.mark.parametrize("n_projected", [2, 0.7, D])
def test_a_projected_fit_is_that_of_principal_components(x, family, standardize, n_projected):
    z, scale = scaled(x, standardize)
    pca = PCA(n_projected, svd_solver="full").fit(z)
    z = pca.transform(z)
    ours = fitted(x, family, standardize=standardize, n_projected=n_projected)
    theirs = fitted(z, family)
    assert ours.projected_means_.shape == (K, z.shape[1])
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(z))
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(z), atol=1e-6)
    assert ours.score(x) == pytest.approx(theirs.score(z), abs=1e-6)
    assert ours.bic(x) == pytest.approx(theirs.bic(z), rel=1e-9)
    back = pca.inverse_transform(theirs.means_) * scale + (x.mean(axis=0) - pca.mean_)
    if standardize != "robust":
        np.testing.assert_allclose((ours.means_ - back) / scale, 0, atol=1e-6 / scale.min())
    assert ours.n_features_in_ == ours.means_.shape[1] == D
    seen = (x - ours.projection_shift_) @ ours.projection_matrix_
    np.testing.assert_allclose(np.abs(seen), np.abs(z), atol=1e-6 * np.abs(z).max())


def test_scikit_learns_pipeline_finds_the_same(x):
    theirs = make_pipeline(
        StandardScaler(), PCA(2), InMemoryGaussianMixture(K, random_state=0, tol=1e-8, max_iter=500)
    ).fit(x)
    ours = fitted(x, standardize=True, n_projected=2, tol=1e-9)
    assert ours.score(x) == pytest.approx(theirs.score(x), abs=1e-4)
    inside = make_pipeline(StandardScaler(), GaussianMixture(K, random_state=0)).fit(x)
    one = fitted(x, standardize=True)
    np.testing.assert_array_equal(inside.predict(x), one.predict(x))


@pytest.mark.parametrize(
    "how", [{"standardize": True}, {"standardize": "robust"}, {"n_projected": 2}]
)
@pytest.mark.parametrize("family", ["spherical", "full"])
def test_weights_are_repetitions(x, family, how):
    x = x[:900]
    times = np.random.default_rng(0).integers(0, 4, len(x))
    start = {} if "n_projected" in how else {"means_init": x[[0, 300, 600]]}
    one = fitted(np.repeat(x, times, axis=0), family, **how, **start)
    plain = {"random_state": 0, "progressive": False}
    other = GaussianMixture(K, covariance_type=family, **plain, **how, **start)
    other.fit(x, sample_weight=times)
    assert other.lower_bound_ == pytest.approx(one.lower_bound_, abs=1e-6)
    shift = x.min(axis=0)
    np.testing.assert_allclose(
        np.sort((other.means_ - shift) / UNITS, axis=0),
        np.sort((one.means_ - shift) / UNITS, axis=0),
        atol=1e-3,
    )


def test_quantiles_of_weights_are_those_of_repetitions(x):
    weight = np.random.default_rng(0).integers(0, 5, len(x)).astype(float)
    found = quantiles(Block(x, weight=weight).present(), (0.25, 0.5, 0.9))
    expected = np.quantile(np.repeat(x, weight.astype(int), axis=0), (0.25, 0.5, 0.9), axis=0)
    np.testing.assert_allclose(found, expected)


def test_float32_rows_of_a_large_offset_lose_nothing_more():
    z = rows_of(made_mixture("full", K, 2, separation=4.0), 3000, seed=1)
    x = (z + 1000.0).astype(np.float32)
    affine = Affine(x.mean(axis=0, dtype=np.float64), np.full(2, 1 / 3.0))
    seen = affine.of(x)
    assert seen.dtype == np.float32
    exact = 3.0 * (x.astype(np.float64) - affine.shift)
    np.testing.assert_allclose(seen, exact, rtol=1e-6)
    np.testing.assert_allclose(affine.back(exact), x, rtol=1e-12)
    one, other = (fitted(rows, "spherical", standardize=True) for rows in (x, x.astype(float)))
    assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-5)


# -- containers ------------------------------------------------------------------------


def as_parquet(x: np.ndarray, folder: Path) -> str:
    pd.DataFrame(x, columns=NAMES).to_parquet(folder / "x.parquet", row_group_size=700)
    return str(folder / "x.parquet")


CONTAINERS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "dask": lambda x, folder: da.from_array(x, chunks=(500, D)),
    "stored": lambda x, folder: write_store(folder / "x.zarr", x, rows=500),
    "parquet": as_parquet,
    "table": lambda x, folder: pd.DataFrame(x, columns=NAMES),
    "grid": lambda x, folder: as_grid(x),
    "lazy grid": lambda x, folder: as_grid(x).chunk({"y": 1}),
}


@pytest.mark.parametrize("how", HOW, ids=IDS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same(x, tmp_path, container, how):
    rows = CONTAINERS[container](x, tmp_path)
    how = {"random_state": 0, "progressive": False, **how}
    one, other = (GaussianMixture(K, **how).fit(given) for given in (x, rows))
    np.testing.assert_allclose(other.means_, one.means_, rtol=1e-6)
    labels, densities = other.predict(rows), other.score_samples(rows)
    if isinstance(rows, xr.Dataset):
        labels, densities = (r.to_numpy().ravel()[1:-1] for r in (labels, densities))
    np.testing.assert_array_equal(np.asarray(labels), one.predict(x))
    np.testing.assert_allclose(np.asarray(densities), one.score_samples(x), atol=1e-6)
    assert other.score(rows) == pytest.approx(one.score(x), abs=1e-9)


def test_gaps_of_a_grid_come_back_as_gaps(x):
    model = fitted(as_grid(x), n_projected=2)
    labels = model.predict(as_grid(x)).to_numpy().ravel()
    assert (labels[[0, -1]] == -2).all()
    assert (labels[1:-1] >= 0).all()
    bad = as_grid(x)
    bad["b"][0, 5] = np.inf
    with pytest.raises(NonFiniteError, match="row 5, column 'b'"):
        model.predict(bad)


def test_results_have_the_index_of_a_lazy_table(x):
    frame = pd.DataFrame(x, columns=NAMES, index=np.arange(len(x)) * 2)
    model = fitted(frame, n_projected=2).set_output(transform="pandas")
    found = model.predict(dd.from_pandas(frame, npartitions=3)).compute()
    pd.testing.assert_series_equal(found, model.predict(frame))


def test_what_cannot_be_used_is_named_as_it_is_in_the_data(x):
    bad = pd.DataFrame(x, columns=NAMES)
    bad.loc[7, "c"] = np.nan
    for how in ({"standardize": "robust"}, {"n_projected": 2}):
        with pytest.raises(NonFiniteError, match="row 7, column 'c'"):
            fitted(bad, **how)
    model = fitted(pd.DataFrame(x, columns=NAMES), n_projected=2)
    for function in (model.predict, model.score, model.update):
        with pytest.raises(NonFiniteError, match="row 7, column 'c'"):
            function(bad)
    bad["c"] = 1.0
    with pytest.raises(ColumnError, match="column 'c' of the data is constant"):
        fitted(bad, standardize=True, n_projected=2)


# -- reads -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW, ids=IDS)
def test_the_map_takes_no_read(x, tmp_path, how):
    path = write_store(tmp_path / "x.zarr", x, rows=500)
    model = GaussianMixture(K, random_state=0, **how).fit(path)
    assert model.n_passes_ == model.n_iter_ + 1
    assert model.rows_read_ == model.n_passes_ * len(x)
