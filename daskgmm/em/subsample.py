"""Subsample: whether some of the rows would have led to a fit that is about as good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from daskgmm.kernel import Mixture

__all__ = ["Subsample"]

_AS_GOOD = 1e-3
"""Nats per row: a log-likelihood that is lower by this is about as good."""
_FEWEST = 10_000
"""Rows below which nobody asks."""
_ROWS_OF_EACH = 10
"""Rows for each feature, and one more, of the lightest component: with fewer it might be missed."""


@dataclass(frozen=True)
class Subsample:
    """A random sample of the rows, and how far its fit would be below that of all rows.

    By the gap law, the maximum for n random rows has a log-likelihood per row, over all N rows,
    that is on average ``(p / 2) (1 / n - 1 / N)`` nats below their own maximum, p being the free
    parameters: each loses half a unit of log-likelihood to the noise of the sample, as in the
    theorem of Wilks and the criterion of Akaike. It holds to a factor of two or so where the rows
    are about a mixture of this kind, and where the sample has rows of all components.

    Attributes
    ----------
    n_rows : int
        Rows of the sample: so many that ``loss`` is 0.001, or half of all if that is less; all
        where a sample might miss the lightest component.
    loss : float
        In nats per row.
    of : int
        Rows of all.

    References
    ----------
    Wilks (1938), The large-sample distribution of the likelihood ratio for testing composite
    hypotheses.
    Akaike (1973), Information theory and an extension of the maximum likelihood principle.
    """

    n_rows: int
    loss: float
    of: int

    @classmethod
    def enough(cls, mixture: Mixture, n_parameters: int, n_rows: int) -> Self | None:
        """The smallest sample for a fit that is about as good, or half of the rows.

        Parameters
        ----------
        mixture : Mixture
            The fit.
        n_parameters : int
            p.
        n_rows : int
            N.

        Returns
        -------
        Subsample or None
            None where there are fewer than 10,000 rows.
        """
        if n_rows < _FEWEST:
            return None
        by_law = 1.0 / (2.0 * _AS_GOOD / max(1, n_parameters) + 1.0 / n_rows)
        lightest = float(mixture.weights[mixture.weights > 0].min())
        by_lightest = _ROWS_OF_EACH * (mixture.n_features + 1) / lightest
        half, wanted = n_rows // 2, _rounded_up(max(by_law, by_lightest))
        if by_law > half:
            return cls(half, 0.5 * n_parameters * (1.0 / half - 1.0 / n_rows), n_rows)
        return cls(wanted, _AS_GOOD, n_rows) if wanted <= half else cls(n_rows, 0.0, n_rows)

    def text(self) -> str:
        """The plain answer to whether a subsample would have done."""
        if self.n_rows == self.of:
            return "all rows are needed: a sample might miss the lightest component"
        which = f"a random sample of about {self.n_rows:,} of these {self.of:,} rows"
        if self.loss <= _AS_GOOD:
            return f"{which} would have come within {_AS_GOOD:g} nats per row of this fit"
        below = f"{self.loss:.2g} nats per row below this fit"
        return f"all rows are needed: {which} would have come about {below}"


def _rounded_up(n: float) -> int:
    """To two digits."""
    step = int(10 ** max(0, math.floor(math.log10(n)) - 1))
    return math.ceil(n / step) * step
