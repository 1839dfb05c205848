"""Heat maps: what makes each component, and how surely rows belong to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from daskgmm.fitted import FittedMixture
from daskgmm.kernel import Float64Array
from daskgmm.plot.counting import Counted, Sharpness, count_rows
from daskgmm.plot.drawing import (
    Display,
    Panels,
    colour_bar,
    colour_of,
    number,
    plain,
    probability,
    share,
)
from daskgmm.plot.subject import Feature, Subject, largest_components

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ComponentsDisplay", "ResponsibilitiesDisplay"]

_MOST_COMPONENTS, _MOST_FEATURES = 20, 30
_MOST_NUMBERS = 240
"""Cells up to which each has its number written in it."""
_MOST_OVERLAPPING = 15
_SURE = 0.9
_DARK = 0.179
"""Luminance below which white has more contrast than black."""


@dataclass(eq=False)
class ComponentsDisplay(Display):
    """Means of the components by feature, as deviations from the mean of all rows.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.components``.

    Parameters
    ----------
    subject : Subject
    components, features : tuple of int
        Those that are drawn.
    """

    subject: Subject
    components: tuple[int, ...]
    features: tuple[int, ...]

    title: ClassVar[str] = "What makes each component"

    @classmethod
    def from_estimator(
        cls, model: FittedMixture, *, features: Sequence[Feature] | None = None, ax: Any = None
    ) -> Self:
        """Draw the means of the 20 largest components.

        Parameters
        ----------
        model : GaussianMixture
            Fitted.
        features : sequence of str or int, optional
            By default all, or the 30 in which components lie furthest apart, by Pillai's trace.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ComponentsDisplay
        """
        return cls.of(model, features=features).plot(ax)

    @classmethod
    def of(cls, model: FittedMixture, *, features: Sequence[Feature] | None = None) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        subject = Subject.of(model)
        d = subject.mixture.n_features
        if features is not None:
            chosen = subject.features(features)
        elif d <= _MOST_FEATURES:
            chosen = tuple(range(d))
        else:
            chosen = tuple(sorted(subject.telling(_MOST_FEATURES)))
        shown = largest_components(subject.mixture, _MOST_COMPONENTS)
        return cls(subject, shown, chosen)

    @property
    def standardized(self) -> Float64Array:
        """Means less that of all rows, in standard deviations of all rows, (components, features)."""
        subject = self.subject
        scale = np.where(subject.deviations > 0, subject.deviations, 1.0)
        found: Float64Array = (subject.gaussians.means - subject.centre) / scale
        return found[np.ix_(self.components, self.features)]

    @property
    def has_features_below(self) -> bool:
        """Whether features are rows of the picture: so it is if they outnumber the components."""
        return len(self.features) > len(self.components)

    @property
    def panels(self) -> Panels:
        """One."""
        n_rows, n_columns = len(self.components), len(self.features)
        beside, below = 1.1, 0.06 * self._longest
        if self.has_features_below:
            n_rows, n_columns = n_columns, n_rows
            beside, below = 0.5 + 0.075 * self._longest, 0.3
        return Panels(1, 1, (max(beside + 0.45 * n_columns, 3.6), 1.6 + below + 0.3 * n_rows))

    @property
    def _longest(self) -> int:
        return max(len(plain(self.subject.label(j))) for j in self.features)

    @property
    def notes(self) -> str:
        """What is left out."""
        mixture = self.subject.mixture
        said = "Means, in standard deviations of all rows from their mean."
        if len(self.components) < mixture.n_components:
            held = share(float(mixture.weights[list(self.components)].sum()))
            said += (
                f" The {len(self.components)} largest of {mixture.n_components} components "
                f"({held})."
            )
        if len(self.features) < mixture.n_features:
            said += f" {len(self.features)} of {mixture.n_features} features."
        return said

    @property
    def alt(self) -> str:
        """What stands out most in each component."""
        found = self.standardized
        said = []
        for row, k in zip(found, self.components, strict=True):
            j = int(np.argmax(np.abs(row)))
            name = self.subject.names[self.features[j]]
            weight = share(float(self.subject.mixture.weights[k]))
            said.append(f"component {k} ({weight}): {name} {row[j]:+.2g}")
        return f"{self.title}. What each one differs most in: {'; '.join(said)}."

    def _draw(self) -> None:
        ax, found = self.axes_[0, 0], self.standardized
        weights = [share(float(self.subject.mixture.weights[k])) for k in self.components]
        features = [plain(self.subject.label(j)) for j in self.features]
        if self.has_features_below:
            shown, rows = found.T, features
            columns = [f"{k}\n{weight}" for k, weight in zip(self.components, weights, strict=True)]
        else:
            shown, columns = found, features
            rows = [f"{k}  ({weight})" for k, weight in zip(self.components, weights, strict=True)]
        most = float(np.abs(found).max(initial=0.0)) or 1.0
        drawn = ax.imshow(shown, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
        ax.set_yticks(range(len(rows)), rows, fontsize="small")
        slanted = columns is features and self._longest > 4
        ax.set_xticks(
            range(len(columns)),
            columns,
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
            fontsize="small",
        )
        name = "component (weight)"
        if self.has_features_below:
            ax.set_xlabel(name, fontsize="small")
        else:
            ax.set_ylabel(name, fontsize="small")
        _write(ax, drawn, shown, lambda value: f"{round(value, 1) + 0.0:+.1f}")
        colour_bar(ax, drawn, "standard deviations from the mean", below=True)


@dataclass(eq=False)
class ResponsibilitiesDisplay(Display):
    """How sure it is which component a row is of, and between which it is not.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.responsibilities``.

    Parameters
    ----------
    subject : Subject
    sharpness : Sharpness
    counted : Counted
        Rows by their most probable component.
    """

    subject: Subject
    sharpness: Sharpness
    counted: Counted

    title: ClassVar[str] = "How surely rows belong to components"

    @classmethod
    def from_estimator(
        cls, model: FittedMixture, X: Any, *, sample_weight: Any = None, ax: Any = None
    ) -> Self:
        """Draw how sure it is which component each row is of; rows are counted in one pass.

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
        ResponsibilitiesDisplay
        """
        return cls.of(model, X, sample_weight=sample_weight).plot(ax)

    @classmethod
    def question(cls, model: FittedMixture) -> Sharpness:
        """What is counted of rows."""
        return Sharpness(largest_components(Subject.of(model).mixture, _MOST_OVERLAPPING))

    @classmethod
    def of(cls, model: FittedMixture, X: Any, *, sample_weight: Any = None) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        sharpness = cls.question(model)
        counted = count_rows(model, X, [sharpness], sample_weight)
        return cls(Subject.of(model), sharpness, counted)

    @property
    def classes(self) -> dict[int, str]:
        """What there is of the classes that are counted, by their places, and its name."""
        mixture, shown = self.subject.mixture, self.sharpness.shown
        found = {place: str(k) for place, k in enumerate(shown)}
        if len(shown) < mixture.n_components:
            found[len(shown)] = "others"
        if mixture.noise is not None:
            found[len(shown) + 1] = "noise"
        return found

    @property
    def greatest(self) -> Float64Array:
        """Share of the rows by their greatest probability, (n_bins,)."""
        counts = self.counted.answers[0]["greatest"].sum(axis=0)
        found: Float64Array = counts / self.counted.weight
        return found

    @property
    def overlap(self) -> Float64Array:
        """Mean probability of each class over rows whose most probable one is another, or itself.

        Rows sum to 1; they are NaN where no row is of a class.
        """
        places = list(self.classes)
        sums = self.counted.answers[0]["overlap"][np.ix_(places, places)]
        totals = sums.sum(axis=1, keepdims=True)
        found: Float64Array = np.divide(
            sums, totals, out=np.full_like(sums, np.nan), where=totals > 0
        )
        return found

    @property
    def sure(self) -> float:
        """Share of the rows whose most probable component has a probability of 0.9 or more."""
        at = int(np.searchsorted(self.sharpness.edges, _SURE - 1e-9))
        return float(self.greatest[at:].sum())

    @property
    def panels(self) -> Panels:
        """The greatest probability, and the overlap."""
        n = len(self.classes)
        size = 7.0 + 0.28 * n, 3.6 + 0.12 * n
        return Panels(1, 2, size, (1.0, 1.2), stand_alone=True)

    @property
    def notes(self) -> str:
        """How many are sure."""
        said = (
            f"{share(self.sure)} of {number(self.counted.n_rows)} rows are of their component with "
            f"a probability of {_SURE:g} or more."
        )
        n, shown = self.subject.mixture.n_components, len(self.sharpness.shown)
        return said + (f" The {shown} largest of {n} components." if shown < n else "")

    @property
    def alt(self) -> str:
        """How many are sure, and which two components overlap most."""
        names, found = list(self.classes.values()), np.nan_to_num(self.overlap)
        np.fill_diagonal(found, 0.0)
        i, j = np.unravel_index(int(np.argmax(found)), found.shape)
        most = f" Of {names[i]}, {share(found[i, j])} is {names[j]}." if found.max() > 0 else ""
        return f"{self.title}. {self.notes}{most}"

    def _draw(self) -> None:
        left, right = self.axes_[0]
        left.stairs(100 * self.greatest, self.sharpness.edges, fill=True, color=colour_of(0))
        least = float(self.greatest[self.greatest > 0].min(initial=0.01))
        left.set(xlim=(0, 1), yscale="log", ylim=(50 * least, 200))
        left.yaxis.set_major_formatter("{x:g}")
        left.set_xlabel("probability of the most probable component", fontsize="small")
        left.set_ylabel("rows (%)", fontsize="small")
        left.tick_params(labelsize="small")
        names, found = list(self.classes.values()), self.overlap
        drawn = right.imshow(found, cmap="Blues", vmin=0, vmax=1)
        right.set_xticks(range(len(names)), names, fontsize="small")
        right.set_yticks(range(len(names)), names, fontsize="small")
        if "others" in names:
            right.tick_params(axis="x", labelrotation=90)
        right.set_xlabel("probability of", fontsize="small")
        right.set_ylabel("most probable component", fontsize="small")
        if len(names) <= 10:
            _write(right, drawn, found, probability)
        colour_bar(right, drawn, "mean probability")


def _write(ax: Axes, drawn: Any, values: Float64Array, shown: Callable[[float], str]) -> None:
    """Write values into cells, white where these are dark, unless there are too many."""
    if values.size > _MOST_NUMBERS:
        return
    dark = _luminance(drawn.to_rgba(values)[..., :3]) < _DARK
    for i, j in np.ndindex(*values.shape):
        if np.isfinite(values[i, j]):
            ax.text(
                *(j, i, shown(float(values[i, j]))),
                ha="center",
                va="center",
                fontsize="x-small",
                color="white" if dark[i, j] else "black",
            )


def _luminance(colours: Float64Array) -> Float64Array:
    """Relative luminance of colours (..., 3) in sRGB, after WCAG 2."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    found: Float64Array = linear @ np.array([0.2126, 0.7152, 0.0722])
    return found
