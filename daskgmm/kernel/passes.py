"""Pass: the E-step of one mixture over all rows, with the options of that pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from daskgmm.errors import DataError
from daskgmm.kernel.block import Block, Float64Array, PickedBlock
from daskgmm.kernel.deconvolution import deconvolved_statistics
from daskgmm.kernel.formulations import formulation_of, linear_formulation_of
from daskgmm.kernel.formulations.rounding import FLOAT32, FLOAT64
from daskgmm.kernel.gaps import statistics_with_gaps
from daskgmm.kernel.known import known_statistics, parted
from daskgmm.kernel.linear_sums import LinearSums
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.truncated import Neighbourhoods, truncated_statistics

__all__ = ["Pass", "Precision"]

Precision = Literal["auto", "float32", "float64"]
"""Precision of the arithmetic on single rows; ``"auto"`` is that of the rows' dtype."""


@dataclass(frozen=True, eq=False)
class Pass:
    """The E-step of one mixture over rows that come in blocks.

    :meth:`of` gives the partial statistics of a block, on whichever worker. Partial statistics
    are added up, and :meth:`complete` turns their sum into statistics of all rows.

    Parameters
    ----------
    mixture : Mixture
    precision : {"auto", "float32", "float64"}
        Precision of the arithmetic on single rows; sums over rows are always float64. Float32
        takes half the time and gives statistics to a relative 1e-5; where a mixture would lose
        more, float64 is used all the same.
    total : Moments, optional
        Moments of all rows, if known: they save most of the work where components share one
        covariance. Not of rows with gaps, whose moments follow from the mixture, nor where
        components of some rows are known.
    neighbourhoods : Neighbourhoods, optional
        If given, each row is compared only with the components near it. The log-likelihood is
        then a lower bound; see :mod:`daskgmm.kernel.truncated`.
    view : callable, optional
        What is done to each block first, such as giving its rows other weights. It has as many
        rows afterwards.
    """

    mixture: Mixture
    precision: Precision = "float64"
    total: Moments | None = None
    neighbourhoods: Neighbourhoods | None = None
    view: Callable[[Block], Block] | None = None

    @property
    def knows_scatter(self) -> bool:
        """Whether blocks leave out the scatter, which follows from the moments of all rows."""
        return (
            self.total is not None
            and self.neighbourhoods is None
            and linear_formulation_of(self.mixture, FLOAT64) is not None
        )

    def of(self, block: Block) -> Statistics | LinearSums:
        """Partial statistics of a block, to be added up.

        Raises
        ------
        DataError
            If the rows have another number of features than the mixture.
        SingularComponentError
            ``error.component`` names the covariance that could not be factored.
        """
        block = self._seen(block)
        present = PickedBlock.present_in(block)
        return _as_read(block, self._of_present(present, self._dtype_for(block.x.dtype)))

    def with_log_densities(self, block: Block) -> tuple[Statistics | LinearSums, Float64Array]:
        """As :meth:`of`, and the log density of each row of weight above 0.

        Returns
        -------
        statistics : Statistics or LinearSums
        log_densities : ndarray of shape (n_present,), float64
            In nats, as precise as the arithmetic on single rows.
        """
        block = self._seen(block)
        present, dtype = PickedBlock.present_in(block), self._dtype_for(block.x.dtype)
        log_density = np.empty(len(present))
        return _as_read(block, self._of_present(present, dtype, log_density)), log_density

    def _seen(self, block: Block) -> Block:
        """The block as the pass is to see it, which must have the mixture's features."""
        mixture = self.mixture
        if block.n_features != mixture.n_features:
            raise DataError(
                f"rows have {block.n_features} features, the mixture {mixture.n_features}"
            )
        return block if self.view is None else self.view(block)

    def _of_present(
        self, block: Block, dtype: np.dtype[Any], log_density: Float64Array | None = None
    ) -> Statistics | LinearSums:
        """Partial statistics of rows of weight above 0; their log densities are written if asked."""
        others, known = parted(block)
        found = self._of_unknown(others, dtype, log_density)
        if known is None:
            return found
        assert isinstance(found, Statistics), "where components are known, the scatter is not"
        both = found + known_statistics(known, self.mixture, dtype)
        return replace(both, n_rows=len(block))  # those that are known are among the others, too

    def _of_unknown(
        self, block: Block, dtype: np.dtype[Any], log_density: Float64Array | None
    ) -> Statistics | LinearSums:
        if block.measurement_noise is not None:
            return deconvolved_statistics(block, self.mixture, log_density)
        if block.has_gaps:
            return statistics_with_gaps(block, self.mixture, dtype, log_density)
        linear = linear_formulation_of(self.mixture, dtype) if self.knows_scatter else None
        if self.neighbourhoods is None and linear is None:
            return formulation_of(self.mixture, dtype).statistics(block, log_density)
        if log_density is not None:
            # The ways below do not compute the density of every row under every component.
            log_density[:] = formulation_of(self.mixture, FLOAT64).log_densities(block.x)
        if self.neighbourhoods is not None:
            return truncated_statistics(block, self.mixture, self.neighbourhoods, dtype)
        assert linear is not None
        return linear.linear_sums(block)

    def complete(self, found: Statistics | LinearSums) -> Statistics:
        """Statistics of all rows about the mixture's means, from the sum over all blocks."""
        if isinstance(found, Statistics):
            return found
        assert self.total is not None, "only a pass that knows the scatter leaves it out"
        return found.completed(self.mixture, self.total)

    def _dtype_for(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if self.precision == "auto":
            return FLOAT32 if dtype.kind == "f" and dtype.itemsize <= 4 else FLOAT64
        return FLOAT32 if self.precision == "float32" else FLOAT64


def _as_read(block: Block, found: Statistics | LinearSums) -> Statistics | LinearSums:
    """The statistics with ``n_rows`` of the whole block: rows of weight 0 were read as well."""
    return found if found.n_rows == len(block) else replace(found, n_rows=len(block))
