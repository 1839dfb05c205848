"""Mixtures and rows made up from seeds, and stores to put rows in."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import zarr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm.em import Rows
from daskgmm.em.tail import PassWithTail, Tail, WithTail
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Mixture,
    Pass,
    Precision,
    Ridge,
    Statistics,
    gaussian_mixture,
    weighted_statistics,
)
from daskgmm.kernel.components.matrices import MatrixGaussians

WORDS_OF_FAMILIES = list(COMPONENTS)
FAMILIES_OF_SKLEARN = [name for name in COMPONENTS if name in {"full", "tied", "diag", "spherical"}]

BAD_SCALES = np.array([1e-6, 1.0, 1e6, 1e-3])
"""Units of four columns: twelve orders of magnitude between them."""


def made_mixture(
    family: str, k: int, d: int, seed: int = 0, separation: float = 2.0, offset: float = 0.0
) -> Mixture:
    """A mixture of any family, each component from rows of its own: never singular.

    Means spread by ``separation`` standard deviations, correlations of condition
    below about 100 (6 D + 10 rows for D features).
    """
    rng = np.random.default_rng(seed)
    n = 6 * d + 10
    centres = offset + separation * rng.standard_normal((k, d))
    x = np.concatenate([c + rng.uniform(0.6, 1.4) * rng.standard_normal((n, d)) for c in centres])
    resp = np.repeat(np.eye(k), n, axis=0) * rng.uniform(0.5, 1.5, size=k)
    return Ridge().m_step(weighted_statistics(Block(x), resp, centres, family))


def has_matrices(family: str) -> bool:
    """Whether covariances of the family are matrices, which any linear map keeps in it."""
    return issubclass(COMPONENTS[family], MatrixGaussians)


def covariances_of(family: str, full: np.ndarray) -> np.ndarray:
    """What a family makes of K covariance matrices (K, D, D), each of a component of one row."""
    k, d, _ = full.shape
    sums = Statistics.zero(np.zeros((k, d)), family).sums
    resp, zero = np.eye(k), np.zeros((k, d))
    roots = np.linalg.cholesky(full)
    for row in range(d):  # D rows of each component, whose scatter is its matrix
        x_t = np.ascontiguousarray(roots[:, :, row].T)
        COMPONENTS[family].add_complete(sums, zero, x_t, resp)
    scatter = {**sums, "n_k": np.ones(k), "first": zero}
    return COMPONENTS[family].estimated(scatter, zero, np.ones(k), 0.0).covariances


def dense_of(family: str, values: np.ndarray, k: int, d: int) -> np.ndarray:
    """Numbers of the shape of a family's covariances as K matrices (K, D, D).

    They may be any numbers of that shape, such as second moments or errors, of which no component
    of the family need be made.
    """
    if has_matrices(family):
        return np.broadcast_to(values, (k, d, d))
    return np.broadcast_to(values.reshape(k, -1), (k, d))[:, :, None] * np.eye(d)


def rows_of(mixture: Mixture, n: int, seed: int = 0) -> np.ndarray:
    """Rows drawn from a mixture, in random order, by numpy alone, shape (n, D)."""
    rng = np.random.default_rng(seed)
    k, d = mixture.means.shape
    lower = np.linalg.cholesky(mixture.components.dense())
    z = rng.choice(k, size=n, p=mixture.weights / mixture.weights.sum())
    x = rng.standard_normal((n, d))
    for component in range(k):  # a factor for each row at once would be n D^2 numbers
        x[z == component] @= lower[component].T
    return mixture.means[z] + x


def rescaled(mixture: Mixture, scales: np.ndarray) -> Mixture:
    """The mixture of rows whose columns are multiplied by ``scales``; not for spherical."""
    by = np.multiply.outer(scales, scales) if has_matrices(mixture.kind) else scales**2
    return gaussian_mixture(
        mixture.weights, mixture.means * scales, mixture.covariances * by, mixture.kind
    )


def fitted_by_sklearn(
    x: np.ndarray, start: Mixture, max_iter: int, reg_covar: float = 0.0
) -> InMemoryGaussianMixture:
    """scikit-learn after exactly ``max_iter`` iterations from given parameters."""
    model = InMemoryGaussianMixture(
        start.n_components,
        covariance_type=start.kind,
        tol=0.0,
        reg_covar=reg_covar,
        max_iter=max_iter,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=precisions_of(start),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # tol=0 never converges
        return model.fit(x)


def precisions_of(mixture: Mixture) -> np.ndarray:
    """Inverse covariances, as scikit-learn wants its start."""
    return mixture.components.precisions


def pass_with_tail(
    rows: Rows, mixture: Mixture, precision: Precision = "float64"
) -> tuple[Statistics, Tail]:
    """Statistics of all rows and their tail under a mixture."""
    one = PassWithTail(Pass(mixture, precision))
    return one.complete(rows.fold(_with_tail, one))


def _with_tail(block: Block, one: PassWithTail) -> WithTail:
    return one.of(block)


def write_store(path: Path, x: np.ndarray, chunk_rows: int, shard_rows: int | None = None) -> Path:
    """A Zarr array with checksums and nothing left out, so that opening it warns of nothing."""
    d = x.shape[1]
    array = zarr.create_array(
        path,
        shape=x.shape,
        dtype=x.dtype,
        chunks=(chunk_rows, d),
        shards=None if shard_rows is None else (shard_rows, d),
        compressors=[ZstdCodec(), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    array[:] = x
    return path


def assert_same_bits(left: Mixture, right: Mixture) -> None:
    for name in ("weights", "means", "covariances"):
        a, b = getattr(left, name), getattr(right, name)
        assert a.tobytes() == b.tobytes(), f"{name} differ by {np.abs(a - b).max():.3g}"
