"""Log densities: how well a mixture explains rows, and which it hardly does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from daskgmm.em import Threshold
from daskgmm.fitted import FittedMixture
from daskgmm.kernel import Float64Array
from daskgmm.plot.counting import Counted, Densities, count_rows, edges_of_densities
from daskgmm.plot.drawing import Display, Panels, colour_of, number
from daskgmm.plot.subject import Subject

__all__ = ["LogDensityDisplay", "threshold_of"]

_N_BINS = 80


@dataclass(eq=False)
class LogDensityDisplay(Display):
    """Rows by their log density, with the threshold of outliers where the model has one.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.log_density``.

    Parameters
    ----------
    densities : Densities
    counted : Counted
    threshold : float or None
        Log density below which rows are outliers.
    """

    densities: Densities
    counted: Counted
    threshold: float | None

    title: ClassVar[str] = "Rows by their log density"

    @classmethod
    def question(cls, model: FittedMixture) -> Densities:
        """What is counted of rows."""
        return Densities(edges_of_densities(Subject.of(model), _N_BINS, threshold_of(model)))

    @classmethod
    def from_estimator(
        cls, model: FittedMixture, X: Any, *, sample_weight: Any = None, ax: Any = None
    ) -> Self:
        """Draw rows by their log density; they are counted in one pass.

        Parameters
        ----------
        model : GaussianMixture
            Fitted.
        X : rows
            As for ``model.score``.
        sample_weight : array of shape (n_rows,), optional
            How often each row counts.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        LogDensityDisplay
        """
        return cls.of(model, X, sample_weight=sample_weight).plot(ax)

    @classmethod
    def of(cls, model: FittedMixture, X: Any, *, sample_weight: Any = None) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        densities = cls.question(model)
        counted = count_rows(model, X, [densities], sample_weight)
        return cls(densities, counted, threshold_of(model))

    @property
    def counts(self) -> Float64Array:
        """Rows in each bin, (B,)."""
        return self.counted.answers[0]["counts"]

    @property
    def panels(self) -> Panels:
        """One."""
        return Panels(1, 1, (6.5, 3.8))

    @property
    def notes(self) -> str:
        """How many rows there are, and how many are beyond."""
        found = self.counted.answers[0]
        said = f"{number(self.counted.n_rows)} rows."
        for where in ("below", "above"):
            if (beyond := float(found[where])) > 0:
                said += f" {number(beyond)} are {where} the axis."
        if self.threshold is not None:
            said += f" Rows below {self.threshold:.4g} nats are outliers."
        return said

    @property
    def alt(self) -> str:
        """Where most rows are."""
        at = int(np.argmax(self.counts))
        low, high = self.densities.edges[at : at + 2]
        return f"{self.title}. {self.notes} Most are near {(low + high) / 2:.3g} nats."

    def _draw(self) -> None:
        ax = self.axes_[0, 0]
        ax.stairs(self.counts, self.densities.edges, fill=True, color=colour_of(0))
        if self.threshold is not None:
            ax.axvline(self.threshold, color=colour_of(1), linestyle="--")
            ax.text(
                *(self.threshold, 0.97, " outliers left of here"),
                transform=ax.get_xaxis_transform(),
                va="top",
                fontsize="small",
            )
        there = np.flatnonzero(self.counts)
        if len(there):
            ends = [self.densities.edges[there[0]], self.densities.edges[there[-1] + 1]]
            ends += [] if self.threshold is None else [self.threshold]
            pad = 0.03 * (max(ends) - min(ends))
            ax.set_xlim(min(ends) - pad, max(ends) + pad)
            ax.set_yscale("log")
        ax.set_xlabel("log density (nats)", fontsize="small")
        ax.set_ylabel("rows", fontsize="small")
        ax.tick_params(labelsize="small")


def threshold_of(model: FittedMixture) -> float | None:
    """Log density below which rows are outliers; None where the model has no such threshold."""
    found: Threshold | None = getattr(model, "threshold_", None)
    return found.value if found is not None and found.measure == "log_density" else None
