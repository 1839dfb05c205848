"""Pairs of features: rows in bins, with the components as ellipses over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import gammaln

from daskgmm.errors import ParameterError
from daskgmm.fitted import FittedMixture
from daskgmm.kernel import Float64Array, Gaussians, Mixture, marginal_mixture
from daskgmm.plot.counting import Counted, Histograms, count_rows
from daskgmm.plot.drawing import (
    Display,
    Panels,
    cells,
    colour_of,
    ellipse,
    labelled,
    matplotlib_module,
    number,
    plain,
    radius_holding,
    share,
)
from daskgmm.plot.subject import Feature, Subject, largest_components

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EllipsesDisplay", "PairsDisplay"]

_N_BINS = 60
_MOST_FEATURES = 4
_MOST_COMPONENTS = 9
_INCHES_EACH = {1: 4.0, 2: 2.6, 3: 2.3}
"""Of a panel, by the number of features that are drawn."""
_HELD = 0.9
"""Share of the rows of a component that its ellipse holds."""


@dataclass(eq=False)
class _OfPairs(Display):
    """Rows in bins of some features, and the components.

    Parameters
    ----------
    subject : Subject
    histograms : Histograms
        The features, and edges of the bins.
    counted : Counted or None
        Rows in these bins; None where components alone are drawn.
    were_chosen : bool
        Whether the features are those that tell most, because nobody named any.
    """

    subject: Subject
    histograms: Histograms
    counted: Counted | None
    were_chosen: bool

    @property
    def components(self) -> tuple[int, ...]:
        """The components that are drawn."""
        return largest_components(self.subject.mixture, _MOST_COMPONENTS)

    @property
    def _beyond(self) -> list[int]:
        """Components that are drawn whose ellipse is not within the axes."""
        law, nu = self.subject.gaussians, self.subject.degrees_of_freedom
        features, edges = list(self.histograms.features), np.array(self.histograms.edges)
        variances = law.variances()
        found = []
        for k in self.components:
            reach = radius_holding(_HELD, nu[k]) * np.sqrt(variances[k, features])
            low, high = law.means[k, features] - reach, law.means[k, features] + reach
            if np.any(low < edges[:, 0]) or np.any(high > edges[:, -1]):
                found.append(k)
        return found

    @property
    def notes(self) -> str:
        """Which features and components are shown, and what is beyond the axes."""
        mixture, chosen = self.subject.mixture, self.histograms.features
        said = []
        if self.were_chosen and len(chosen) < mixture.n_features:
            said.append(
                f"Shown are {len(chosen)} of {mixture.n_features} features, those in which "
                "components lie furthest apart."
            )
        if len(self.components) < mixture.n_components:
            said.append(
                f"Shown are the {len(self.components)} largest of {mixture.n_components} "
                f"components, which hold "
                f"{share(float(mixture.weights[list(self.components)].sum()))} of all."
            )
        said.append(f"Ellipses hold {share(_HELD)} of a component's rows.")
        if beyond := self._beyond:
            one, named = len(beyond) == 1, ", ".join(map(str, beyond))
            said.append(f"Component{'s' * (not one)} {named} reach{'es' * one} beyond the axes.")
        if self.counted is not None:
            text = f"{number(self.counted.n_rows)} rows"
            for name, where in (("lacking", "lack one of these"), ("beyond", "beyond the axes")):
                if (n := float(self.counted.answers[0][name])) > 0:
                    text += f", {number(n)} {where}"
            said.append(f"{text}.")
        return " ".join(said)

    @property
    def alt(self) -> str:
        """The features, and where the components are."""
        names = [self.subject.label(j) for j in self.histograms.features]
        where = "; ".join(
            f"component {k}: "
            + ", ".join(
                f"{self.subject.gaussians.means[k, j]:.3g}" for j in self.histograms.features
            )
            for k in self.components
        )
        return f"{self.title}: {', '.join(names)}. Means: {where}."

    def _draw_pair(self, ax: Axes, i: int, j: int) -> None:
        """Feature i of the histograms along x, and j along y."""
        first, second = self.histograms.edges[i], self.histograms.edges[j]
        if self.counted is not None:
            low, high = min(i, j), max(i, j)
            counts = self.counted.answers[0]["pairs"][self.histograms.pairs.index((low, high))]
            cells(ax, counts if i < j else counts.T, first, second)
        features = np.array([self.histograms.features[i], self.histograms.features[j]])
        law = self.subject.gaussians
        nu, patch = self.subject.degrees_of_freedom, matplotlib_module(".patches").PathPatch
        for rank, k in enumerate(self.components):
            one = _marginal(law, k, features)
            path = ellipse(one.means[0], one.dense()[0], radius_holding(_HELD, nu[k]))
            for width, colour in ((2.6, "white"), (1.4, colour_of(rank))):
                ax.add_patch(patch(path, fill=False, edgecolor=colour, linewidth=width))
        for k in self.components:
            x, y = law.means[k, features]
            labelled(ax, float(x), float(y), str(k))
        ax.set(xlim=first[[0, -1]], ylim=second[[0, -1]])


def _marginal(law: Gaussians, k: int, features: Any) -> Gaussians:
    """Component k over some features, as a law of one component."""
    one = marginal_mixture(Mixture(np.ones(1), law.take([k])), features).components
    assert isinstance(one, Gaussians)
    return one


@dataclass(eq=False)
class PairsDisplay(_OfPairs):
    """Rows by each pair of some features and by each alone, and the components over them.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.pairs``. On the diagonal are the rows by
    one feature, with the density of the mixture.
    """

    title: ClassVar[str] = "Rows by pairs of features"

    @classmethod
    def from_estimator(
        cls,
        model: FittedMixture,
        X: Any,
        *,
        features: Sequence[Feature] | None = None,
        sample_weight: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw rows by pairs of features, and the components; rows are counted in one pass.

        Parameters
        ----------
        model : GaussianMixture
            Fitted.
        X : rows
            As for ``model.score``.
        features : sequence of str or int, optional
            By default the four in which components lie furthest apart, by Pillai's trace.
        sample_weight : array of shape (n_rows,), optional
            How often each row counts.
        ax : matplotlib.axes.Axes, optional
            See :meth:`Display.plot`.

        Returns
        -------
        PairsDisplay
        """
        return cls.of(model, X, features=features, sample_weight=sample_weight).plot(ax)

    @classmethod
    def question(
        cls, model: FittedMixture, features: Sequence[Feature] | None = None
    ) -> Histograms:
        """What is counted of rows."""
        subject = Subject.of(model)
        chosen = subject.telling(_MOST_FEATURES) if features is None else subject.features(features)
        return Histograms.of(subject, chosen, _N_BINS)

    @classmethod
    def of(
        cls,
        model: FittedMixture,
        X: Any,
        *,
        features: Sequence[Feature] | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        histograms = cls.question(model, features)
        counted = count_rows(model, X, [histograms], sample_weight)
        return cls(Subject.of(model), histograms, counted, features is None)

    @property
    def panels(self) -> Panels:
        """One in each row and column for each feature."""
        n = len(self.histograms.features)
        each = _INCHES_EACH.get(n, 2.1)
        return Panels(n, n, (each * n, each * n))

    def _draw(self) -> None:
        n = len(self.histograms.features)
        for i in range(n):
            for j in range(n):
                ax = self.axes_[i, j]
                if j > i:
                    ax.set_axis_off()
                elif i == j:
                    self._draw_single(ax, i)
                else:
                    self._draw_pair(ax, j, i)
                self._name(ax, i, j)

    def _name(self, ax: Axes, i: int, j: int) -> None:
        """Names at the outer edges alone."""
        features, last = self.histograms.features, len(self.histograms.features) - 1
        ax.tick_params(labelsize="x-small")
        ax.locator_params(nbins=4)
        if i == last:
            ax.set_xlabel(plain(self.subject.label(features[j])), fontsize="small")
        else:
            ax.set_xticklabels([])
        if j == 0 and i > 0:
            ax.set_ylabel(plain(self.subject.label(features[i])), fontsize="small")
        elif i == j:
            ax.set_yticks([])
        else:
            ax.set_yticklabels([])

    def _draw_single(self, ax: Axes, i: int) -> None:
        assert self.counted is not None
        edges = self.histograms.edges[i]
        ax.stairs(self.counted.answers[0]["single"][i], edges, fill=True, color="#CCCCCC")
        x = np.linspace(edges[0], edges[-1], 200)
        height = self.counted.answers[0]["present"][i] * (edges[1] - edges[0])
        density = density_along(self.subject, self.histograms.features[i], x)
        ax.plot(x, height * density, color="black", linewidth=1.0)
        ax.set(xlim=edges[[0, -1]], ylim=(0, None))


def density_along(subject: Subject, feature: int, x: Float64Array) -> Float64Array:
    """Density of the components by one feature, (len(x),), in weight per unit of the feature."""
    law, nus = subject.gaussians, subject.degrees_of_freedom
    scales = np.sqrt(law.variances()[:, feature])
    found = np.zeros(len(x))
    for weight, mean, scale, nu in zip(
        subject.mixture.weights, law.means[:, feature], scales, nus, strict=True
    ):
        z = np.square((x - mean) / scale)
        if np.isinf(nu):
            found += weight / (scale * np.sqrt(2.0 * np.pi)) * np.exp(-0.5 * z)
        else:
            height = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(np.pi * nu)
            found += weight / scale * np.exp(height - (nu + 1) / 2 * np.log1p(z / nu))
    return found


@dataclass(eq=False)
class EllipsesDisplay(_OfPairs):
    """The components by two features, over rows in bins where rows are given.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.ellipses``.
    """

    title: ClassVar[str] = "Components in two features"

    @classmethod
    def from_estimator(
        cls,
        model: FittedMixture,
        X: Any = None,
        *,
        features: Sequence[Feature] | None = None,
        sample_weight: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw the components by two features, over rows, if given, that are counted in one pass.

        Parameters
        ----------
        model : GaussianMixture
            Fitted, of two features or more.
        X : rows, optional
            As for ``model.score``.
        features : pair of str or int, optional
            By default the two in which components lie furthest apart, by Pillai's trace.
        sample_weight : array of shape (n_rows,), optional
            How often each row counts.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        EllipsesDisplay
        """
        return cls.of(model, X, features=features, sample_weight=sample_weight).plot(ax)

    @classmethod
    def of(
        cls,
        model: FittedMixture,
        X: Any = None,
        *,
        features: Sequence[Feature] | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        subject = Subject.of(model)
        chosen = subject.telling(2) if features is None else subject.features(features)
        if len(chosen) != 2:
            raise ParameterError(
                f"ellipses are drawn in two features, and there is {len(chosen)}; pairs shows any "
                "number"
                if len(chosen) == 1
                else f"ellipses are drawn in two features; got {len(chosen)}; pairs shows any number",
                "features",
            )
        histograms = Histograms.of(subject, chosen, _N_BINS)
        counted = None
        if X is not None:
            counted = count_rows(model, X, [histograms], sample_weight)
        return cls(subject, histograms, counted, features is None)

    @property
    def panels(self) -> Panels:
        """One."""
        return Panels(1, 1, (6.0, 5.0))

    def _draw(self) -> None:
        ax = self.axes_[0, 0]
        self._draw_pair(ax, 0, 1)
        x, y = (plain(self.subject.label(feature)) for feature in self.histograms.features)
        ax.set(xlabel=x, ylabel=y)
