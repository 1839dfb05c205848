"""Scaling: rows are brought to one scale, or projected on principal axes, inside a fit.

The scan is of the rows as they are. What it knows of them makes the map, and is mapped itself, so
that no read is needed for that; all later passes see mapped rows. Only a start before the scan
cannot be. What a fit comes to is mapped back, so that log-likelihoods compare with those of fits
without. Of projected rows there is no way back: densities are those of the projected features.
Rows without their constant features are projected rows, on the axes of the others.

Standardised features need no map where nothing but the ridge depends on units: in kinds that
rescaling maps onto themselves, under stop rules of the log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from daskgmm.em.quantiles import quantiles
from daskgmm.em.scan import Scan
from daskgmm.errors import ColumnError, DataError, ParameterError
from daskgmm.kernel import Affine, Elliptical, Float64Array, components_named

__all__ = ["SCALES", "Scaling"]

_QUARTILES_APART = 1.349
"""Standard deviations from the first to the third quartile of a Gaussian."""

Standards = tuple[Float64Array, Float64Array]
"""Shift and scale of each feature."""


def _mean_and_deviation(scan: Scan) -> Standards:
    """Mean and standard deviation of all rows."""
    return scan.moments.mean, np.sqrt(scan.moments.variances)


def _median_and_quartiles(scan: Scan) -> Standards:
    """Median, and the quartiles' distance in standard deviations of a Gaussian, of the sample."""
    low, middle, high = quantiles(scan.sample, (0.25, 0.5, 0.75))
    if len(none := np.flatnonzero(high == low)) > 0:
        raise ColumnError(
            "column ",
            int(none[0]),
            " has the same first and third quartile, and so no robust scale: set standardize=True",
        )
    return middle, (high - low) / _QUARTILES_APART


def _as_they_are(scan: Scan) -> Standards:
    """The mean alone: axes go through it."""
    return scan.moments.mean, np.ones(scan.sample.n_features)


SCALES: dict[bool | str, Callable[[Scan], Standards]] = {
    False: _as_they_are,
    True: _mean_and_deviation,
    "robust": _median_and_quartiles,
}
"""What ``standardize`` can be."""


@dataclass(frozen=True)
class Scaling:
    """The map that a fit puts rows through.

    Attributes
    ----------
    standardize : bool or "robust"
        A key of :data:`SCALES`.
    n_projected : int, float or None
        Number of principal axes, or the share of the variance that the fewest of them explain.
    drops : bool
        Whether constant features are left out; this goes with principal axes, and not with
        ``standardize`` alone.
    """

    standardize: bool | str = False
    n_projected: float | None = None
    drops: bool = False

    @property
    def needs_scan(self) -> bool:
        """Whether rows are mapped in any case, so that no pass can be made before the scan."""
        return self.n_projected is not None or bool(self.standardize)

    @property
    def may_drop(self) -> bool:
        """Whether constant features may be left out: not of rows that are standardised."""
        return not self.standardize

    def is_needed(self, kind: str, stopping: str) -> bool:
        """Whether rows must be mapped: see the top of this file."""
        if self.drops or self.n_projected is not None or self.standardize == "robust":
            return True
        law = components_named(kind)
        is_same = issubclass(law, Elliptical) and law.is_scale_equivariant() and stopping != "means"
        return bool(self.standardize) and not is_same

    def most_seen(self, d: int) -> int:
        """Features that a fit to rows of d features sees, as far as that is known before a read."""
        return min(d, int(self.n_projected)) if isinstance(self.n_projected, Integral) else d

    def check(self, d: int) -> None:
        """Raise ParameterError if rows of d features have too few."""
        if isinstance(self.n_projected, Integral) and self.n_projected > d:
            raise ParameterError(
                f"n_projected={self.n_projected} axes, but the data have {d} "
                f"feature{'s' * (d > 1)}; lower it, or give a share of the variance such as 0.99",
                "n_projected",
            )

    def of(self, scan: Scan) -> Affine | None:
        """The map for the rows of a scan; None if they need none.

        Raises
        ------
        ColumnError
            If a feature has no robust scale.
        DataError
            If fewer axes than are asked for have any variance.
        """
        varies = scan.minimum < scan.maximum
        if not self.drops or varies.all() or not varies.any():  # one row alone varies nowhere
            return self._of_varying(scan) if self.needs_scan else None
        # What varies is left as it is, for the model to be in the data's own units.
        shift, scale = np.where(varies, 0.0, scan.minimum), np.ones(len(varies))
        chosen = Affine(shift, scale, np.eye(len(varies))[:, varies])
        if self.n_projected is None:
            return chosen
        inner = self._of_varying(_mapped(scan, chosen))
        assert inner.matrix is not None
        shift[varies], scale[varies] = inner.shift, inner.scale
        return Affine(shift, scale, np.eye(len(varies))[:, varies] @ inner.matrix)

    def _of_varying(self, scan: Scan) -> Affine:
        """The map for the rows of a scan none of whose features is constant."""
        shift, scale = SCALES[self.standardize](scan)
        scaled = Affine(shift, scale, shares=scan.shares)
        if self.n_projected is None:
            return scaled
        moments = scaled.moments(scan.moments)
        axes = _principal_axes(moments.scatter / moments.weight, self.n_projected)
        return Affine(scan.moments.mean, scale, axes / scale[:, None])

    def applied(self, scan: Scan) -> Scan:
        """The scan as one of mapped rows would be, with the map, if any; raises as :meth:`of`."""
        affine = self.of(scan)
        return scan if affine is None else _mapped(scan, affine)


def _mapped(scan: Scan, affine: Affine) -> Scan:
    """The scan as one of mapped rows would be."""
    sample = affine.of_block(scan.sample)
    ends = sample.x if affine.projects else affine.of(np.stack([scan.minimum, scan.maximum]))
    return replace(
        scan,
        moments=affine.moments(scan.moments),
        minimum=ends.min(axis=0),
        maximum=ends.max(axis=0),
        sample=sample,
        affine=affine,
    )


def _principal_axes(covariance: Float64Array, n_wanted: float) -> Float64Array:
    """Orthonormal axes (D, d) of largest variance; in each the largest entry is above 0."""
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    rank = int(np.sum(variances > len(variances) * np.finfo(np.float64).eps * variances[0]))
    if isinstance(n_wanted, Integral):
        n = int(n_wanted)
    else:
        explained = np.cumsum(variances[:rank])
        n = min(rank, int(np.searchsorted(explained, n_wanted * explained[-1])) + 1)
    if n > rank:
        raise DataError(
            f"n_projected={n}, but the features have variance along {rank} "
            f"{'axes' if rank > 1 else 'axis'} alone: some are sums of others; lower it to {rank}"
        )
    axes = vectors[:, :n]
    largest = np.argmax(np.abs(axes), axis=0)
    signed: Float64Array = axes * np.sign(axes[largest, np.arange(n)])
    return signed
