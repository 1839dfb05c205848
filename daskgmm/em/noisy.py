"""Noisy: rows beside whose values stand the variances of their measurement noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.missing import Missing
from daskgmm.em.wrapped import WrappedRows
from daskgmm.errors import ColumnError, ParameterError
from daskgmm.kernel import Affine, Block, Mixture, can_deconvolve

__all__ = ["NoisyRows", "check_deconvolves", "with_noise"]


def with_noise(block: Block, noise: NDArray[Any], missing: Missing) -> Block:
    """The block with the measurement noise of its values.

    Parameters
    ----------
    block : Block
    noise : ndarray of shape (n_rows, n_features), any real dtype
        Variances. Where values may be missing, one that is infinite says that its value is.
    missing : {"error", "drop", "em"}
        What NaN is in the rows, of which the noise is of no matter.

    Raises
    ------
    ColumnError
        If a variance is negative or NaN, or infinite where no value may be missing; names the
        first place.
    """
    noise = np.ascontiguousarray(noise, np.float64)
    if len(noise) == 0 or 0.0 <= float(noise.min()) <= float(noise.max()) < np.inf:
        return replace(block, measurement_noise=noise)
    is_missing = np.isnan(block.x) if block.x.dtype.kind == "f" else np.zeros(block.x.shape, bool)
    bad = ~(noise >= 0) & ~is_missing
    if missing == "error":
        bad |= np.isinf(noise)
    if bad.any():
        row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise ColumnError(
            f"measurement_noise has {noise[row, column]:g} at row {block.start + row}, column ",
            column,
            "; variances are finite and 0 or more, and infinite where the value is not known: say "
            "so by missing='em'",
        )
    is_missing |= np.isinf(noise)
    x = np.where(is_missing, np.nan, block.x)
    return replace(block, x=x, measurement_noise=np.where(is_missing, 0.0, noise))


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


def _of_noisy(block: Block, missing: Missing, function: Callable[..., Any], *args: Any) -> Any:
    d = block.n_features // 2
    values = replace(block, x=np.ascontiguousarray(block.x[:, :d]))
    return function(with_noise(values, block.x[:, d:], missing), *args)


@dataclass(frozen=True, eq=False)
class NoisyRows(WrappedRows):
    """Rows of which the first half of the columns are the features, and the others their noise.

    Attributes
    ----------
    rows : Rows
    missing : {"error", "drop", "em"}
        What NaN is in the features.
    """

    missing: Missing = "error"

    @property
    def _through(self) -> tuple[Any, ...]:
        return _of_noisy, self.missing

    @property
    def n_features(self) -> int:
        """D."""
        return self.rows.n_features // 2

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """See :meth:`Rows.map`; blocks come with their noise, on which results depend."""
        return self.rows.map(*self._through, function, *args, dtype=dtype, columns=columns)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`."""
        found = self.rows.pieces(n_wanted, seed)
        block: Block | None = None if found is None else _of_noisy(found, self.missing, _itself)
        return block


def _itself(block: Block) -> Block:
    return block
