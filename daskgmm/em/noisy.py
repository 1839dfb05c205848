"""Noisy: rows beside whose values stand the variances of their measurement noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.missing import Missing
from daskgmm.em.wrapped import ChangedRows
from daskgmm.errors import ColumnError, DataError, ParameterError
from daskgmm.kernel import Affine, Block, Float64Array, Mixture, can_deconvolve

__all__ = ["NoisyRows", "check_deconvolves", "with_noise"]

_ROUNDING = 1e-6
"""Relative rounding of covariances, as of those that were stored in float32."""


def with_noise(block: Block, noise: NDArray[Any], missing: Missing) -> Block:
    """The block with the measurement noise of its values.

    Parameters
    ----------
    block : Block
    noise : ndarray of shape (n_rows, D) or (n_rows, D * D), any real dtype
        Variances, or covariances of D features, row by row of the matrix. Where values may be
        missing, a variance that is infinite says that its value is.
    missing : {"error", "drop", "em"}
        What NaN is in the rows, of which the noise is of no matter.

    Raises
    ------
    ColumnError
        If a variance is negative or NaN, or infinite where no value may be missing; names the
        first place.
    DataError
        If a matrix is no covariance; names the first row.
    """
    noise, d = np.ascontiguousarray(noise, np.float64), block.n_features
    variances, is_correlated = noise, noise.shape[1] > d
    if is_correlated:
        noise = noise.reshape(-1, d, d)
        variances = np.diagonal(noise, axis1=1, axis2=2)
    is_finite = len(noise) == 0 or 0.0 <= float(variances.min()) <= float(variances.max()) < np.inf
    if not is_finite:
        is_missing = _missing_of(block, variances, missing)
        block = replace(block, x=np.where(is_missing, np.nan, block.x))
        if is_correlated:
            is_missing = is_missing[:, :, None] | is_missing[:, None, :]
        noise = np.where(is_missing, 0.0, noise)
    if is_correlated:
        _check_covariances(noise, block.start)
    return replace(block, measurement_noise=noise)


def _missing_of(block: Block, variances: Float64Array, missing: Missing) -> NDArray[np.bool_]:
    """Which values are missing, by themselves or by their noise, whose variances are checked."""
    is_missing: NDArray[np.bool_]
    is_missing = np.isnan(block.x) if block.x.dtype.kind == "f" else np.zeros(block.x.shape, bool)
    bad = ~(variances >= 0) & ~is_missing
    if missing == "error":
        bad |= np.isinf(variances)
    if bad.any():
        row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise ColumnError(
            f"measurement_noise has {variances[row, column]:g} at row {block.start + row}, column ",
            column,
            "; variances are finite and 0 or more, and infinite where the value is not known: say "
            "so by missing='em'",
        )
    found: NDArray[np.bool_] = is_missing | np.isinf(variances)
    return found


def _check_covariances(noise: Float64Array, start: int) -> None:
    """Refuse matrices (n, D, D) that are not symmetric, or have correlations beyond 1.

    Whether they are positive definite altogether is not looked for: it would take as long as a pass.
    """
    widths = np.sqrt(np.diagonal(noise, axis1=1, axis2=2))
    most = (1.0 + _ROUNDING) * widths[:, :, None] * widths[:, None, :]
    with np.errstate(invalid="ignore"):
        apart = np.abs(noise - np.swapaxes(noise, 1, 2))
        are_good = (np.abs(noise) <= most) & (apart <= _ROUNDING * most)
    of_rows = are_good.reshape(len(noise), -1).all(axis=1)
    if not of_rows.all():
        row = int(np.argmin(of_rows))
        raise DataError(
            f"measurement_noise has no covariance at row {start + row}, {noise[row].tolist()!r:.200}; "
            "give symmetric matrices, of correlations up to 1"
        )


def check_deconvolves(mixture: Mixture, projection: Affine | None) -> None:
    """Refuse rows with measurement noise of a mixture that has no density of them.

    Raises
    ------
    ParameterError
    """
    if projection is not None or not can_deconvolve(mixture):
        raise ParameterError(
            "measurement_noise needs Gaussians of the features themselves, which models of projected "
            "features, with noise, and of t components are not; leave measurement_noise out, or fit "
            "without n_projected, constant='drop', noise and tails"
        )


def _of_noisy(
    block: Block, d: int, missing: Missing, function: Callable[..., Any], *args: Any
) -> Any:
    values = replace(block, x=np.ascontiguousarray(block.x[:, :d]))
    return function(with_noise(values, block.x[:, d:], missing), *args)


@dataclass(frozen=True, eq=False)
class NoisyRows(ChangedRows):
    """Rows of which the first columns are the features, and the others their noise.

    Attributes
    ----------
    rows : Rows
    n_values : int
        D: columns that are features.
    missing : {"error", "drop", "em"}
        What NaN is in the features.
    """

    n_values: int
    missing: Missing

    @property
    def _through(self) -> tuple[Any, ...]:
        return _of_noisy, self.n_values, self.missing

    @property
    def n_features(self) -> int:
        """D."""
        return self.n_values
