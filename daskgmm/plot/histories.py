"""Histories: how a fit came to its end, and how candidates of a selection compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from daskgmm.em import Iteration
from daskgmm.errors import ParameterError
from daskgmm.fitted import FittedMixture
from daskgmm.plot.drawing import Display, Panels, colour_of, matplotlib_module

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConvergenceDisplay", "HasCandidates", "SelectionDisplay"]

_MOST_POINTS = 500
_FLAT = 1e-3
"""Range of what is drawn, as a share of it, below which ticks would have equal digits."""
_MARKERS = "osD^vP*X"
_CRITERIA = {"bic": "BIC", "aic": "AIC", "icl": "ICL"}


@dataclass(eq=False)
class ConvergenceDisplay(Display):
    """The log-likelihood per row of each pass, and what was estimated to be left to gain.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.convergence``.

    Parameters
    ----------
    history : sequence of Iteration
        Of the best start.
    tol : float or None
        What the remaining gain was to fall below; None where the stop rule was another one.
    """

    history: Sequence[Iteration]
    tol: float | None

    title: ClassVar[str] = "Convergence"

    @classmethod
    def from_estimator(cls, model: FittedMixture, *, ax: Any = None) -> Self:
        """Draw the log-likelihood of each pass, and what was left to gain.

        Parameters
        ----------
        model : GaussianMixture
            Fitted.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ConvergenceDisplay

        Raises
        ------
        ParameterError
            If the model has no history, as one of parameters from elsewhere.
        """
        return cls.of(model).plot(ax)

    @classmethod
    def of(cls, model: FittedMixture) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        check_is_fitted(model)
        history = getattr(model, "history_", None)
        if not history:
            raise ParameterError(
                "the model has no history of passes to draw: its parameters are from elsewhere, or "
                "it was fitted with max_iter=0"
            )
        tol = getattr(model, "tol_", None) if model.stopping == "gap" else None
        return cls(history, tol)

    @property
    def shown(self) -> list[Iteration]:
        """The iterations that are drawn: every n-th one where there are many, and the last."""
        step = -(-len(self.history) // _MOST_POINTS)
        found = list(self.history[::step])
        return found if found[-1] is self.history[-1] else [*found, self.history[-1]]

    @property
    def panels(self) -> Panels:
        """The log-likelihood, and below it the gains."""
        return Panels(2, 1, (6.0, 5.2))

    @property
    def notes(self) -> str:
        """How many passes, and how many of them were not accepted."""
        n, rejected = len(self.history), sum(not i.accepted for i in self.history)
        said = _iterations(n)
        said += f", of which {rejected} were taken back" if rejected else ""
        shown = len(self.shown)
        return said + (f"; {shown} of them are drawn." if shown < n else ".")

    @property
    def alt(self) -> str:
        """From where to where it went."""
        first, last = self.history[0], self.history[-1]
        left, n = _known(last.remaining_gain), len(self.history)
        began = f" against iterations: from {first.objective:.6g} to" if n > 1 else ":"
        return f"Log-likelihood per row{began} {last.objective:.6g} nats in {_iterations(n)}" + (
            f"; at the last one about {left:.2g} was left to gain." if left == left else "."
        )

    def _draw(self) -> None:
        above, below = self.axes_[:, 0]
        kept = [i for i in self.shown if i.accepted]
        lost = [i for i in self.shown if not i.accepted]
        base = self._base
        above.plot(
            [i.n_iter for i in kept],
            [i.objective - base for i in kept],
            *("o-",),
            color=colour_of(0),
            markersize=4,
            label="accepted",
        )
        if lost:
            above.plot(
                [i.n_iter for i in lost],
                [i.objective - base for i in lost],
                *("x",),
                color=colour_of(1),
                label="taken back",
            )
            above.legend(fontsize="small")
        has_penalty = any(i.penalty for i in self.history)
        said = f"log-likelihood per row\n{'less penalty' * has_penalty}"
        said += f"{', ' * has_penalty}above {base:.6g}" if base else ""
        above.set_ylabel(f"{said} (nats)".replace("\n ", "\n"), fontsize="small")
        above.tick_params(labelbottom=False)
        self._draw_gains(below)
        for ax in (above, below):
            _whole_numbers(ax, [i.n_iter for i in self.shown])
            ax.tick_params(labelsize="small")
            ax.yaxis.get_offset_text().set_size("small")
            ax.grid(alpha=0.3)
        if len(self.shown) == 1:
            self._draw_alone(above, below)

    @property
    def _base(self) -> float:
        """What is taken off what is drawn: where digits change that an axis would not tell."""
        found = [i.objective for i in self.shown]
        is_flat = len(found) > 1 and max(found) - min(found) < _FLAT * abs(found[-1])
        return float(f"{min(found):.5g}") if is_flat else 0.0

    def _draw_alone(self, above: Axes, below: Axes) -> None:
        """A large mark for a single iteration, with its value; and what is known of the gain."""
        (only,) = self.shown
        for ax in (above, below):
            ax.set_xlim(only.n_iter - 1, only.n_iter + 1)
        for line in above.lines:
            line.set_markersize(9)
        above.annotate(
            *(f"{only.objective:.6g}", (only.n_iter, only.objective), (9, 6)),
            textcoords="offset points",
            fontsize="small",
        )
        left = _known(only.remaining_gain)
        if not left > 0:  # which no logarithmic axis has
            said = "left to gain, estimated: " + ("nothing" if left <= 0 else "not known")
            below.text(*(0.5, 0.65, said), transform=below.transAxes, ha="center", fontsize="small")

    def _draw_gains(self, ax: Axes) -> None:
        for name, style, label in (
            ("gain", "s--", "gain of the pass"),
            ("remaining_gain", "o-", "left to gain, estimated"),
        ):
            drawn = [(i.n_iter, _known(getattr(i, name))) for i in self.shown]
            drawn = [(n, gain) for n, gain in drawn if gain > 0]
            if drawn:
                colour = colour_of(1 if name == "gain" else 0)
                ax.plot(*zip(*drawn, strict=True), style, color=colour, markersize=4, label=label)
        if self.tol is not None and self.tol > 0:
            ax.axhline(self.tol, color="black", linestyle=":", label=f"tol = {self.tol:.2g}")
        if ax.lines:
            ax.set_yscale("log")
            _at_decades(ax)
            ax.legend(fontsize="small")
        ax.set_xlabel("iteration", fontsize="small")
        ax.set_ylabel("gain per row (nats)", fontsize="small")


class HasCandidates(Protocol):
    """What :func:`daskgmm.select` returns."""

    def as_dict(self) -> dict[str, Any]:
        """Candidates, the best of them, the criterion."""
        ...


@dataclass(eq=False)
class SelectionDisplay(Display):
    """Criteria of the candidates of a selection, and how well each predicts held-out rows.

    Made by :meth:`from_selection`, which is ``daskgmm.plot.selection``, and by ``Selection.plot()``.

    Parameters
    ----------
    candidates : sequence of mapping
        As of ``Selection.as_dict()``.
    best : mapping
    criterion : str
        What decided.
    """

    candidates: Sequence[Mapping[str, Any]]
    best: Mapping[str, Any]
    criterion: str

    title: ClassVar[str] = "Candidates of the selection"

    @classmethod
    def from_selection(cls, selection: HasCandidates | FittedMixture, *, ax: Any = None) -> Self:
        """Draw the criteria of the candidates, and how well each predicts held-out rows.

        Parameters
        ----------
        selection : Selection or GaussianMixture
            What :func:`daskgmm.select` returned, or a model that it chose.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        SelectionDisplay

        Raises
        ------
        ParameterError
            If the model was not chosen by a selection.
        """
        return cls.of(selection).plot(ax)

    @classmethod
    def of(cls, selection: HasCandidates | FittedMixture) -> Self:
        """As :meth:`from_selection`, without drawing."""
        found = getattr(selection, "selection_", None)
        if found is None and not isinstance(selection, FittedMixture):
            found = selection.as_dict()
        if found is None:
            raise ParameterError(
                "the model was not chosen by a selection; make one with daskgmm.select, or "
                "daskgmm select DATA --components 2:12 --output MODEL"
            )
        return cls(found["candidates"], found["best"], found["criterion"])

    @property
    def panels(self) -> Panels:
        """The criterion, and the held-out log-likelihood."""
        return Panels(1, 2, (9.0, 4.0), stand_alone=True)

    @property
    def notes(self) -> str:
        """What was chosen by what, and which candidates were not fitted to all rows."""
        best = self.best
        said = (
            f"Chosen by {self._name}: {best['n_components']} {best['covariance_type']} components, "
            "marked by a ring."
        )
        if not all(one["refined"] for one in self.candidates):
            said += " Hollow marks: could not win, and were fitted to the sample, or a part, alone."
        return said

    @property
    def key(self) -> str:
        """The criterion that is drawn: what decided, if it is one of all rows, or else BIC."""
        return self.criterion if self.criterion in _CRITERIA else "bic"

    @property
    def _name(self) -> str:
        return _CRITERIA.get(self.criterion, self.criterion)

    @property
    def alt(self) -> str:
        """The values of the criterion."""
        key = self.key
        values = "; ".join(
            f"{one['n_components']} {one['covariance_type']}: {one[key]:.6g}"
            for one in self.candidates
        )
        return f"{_CRITERIA[key]} by the number of components: {values}. {self.notes}"

    def _draw(self) -> None:
        left, right = self.axes_[0]
        key = self.key
        least = min(one[key] for one in self.candidates)
        for rank, family in enumerate(dict.fromkeys(o["covariance_type"] for o in self.candidates)):
            own = [one for one in self.candidates if one["covariance_type"] == family]
            self._draw_family(left, own, rank, [one[key] - least for one in own], None)
            held_out = [one["held_out_log_likelihood_per_row"] for one in own]
            errors = [one["held_out_standard_error"] for one in own]
            self._draw_family(right, own, rank, held_out, errors)
        left.set_ylabel(f"{_CRITERIA[key]} above its least (nats x 2)", fontsize="small")
        right.set_ylabel("log-likelihood per held-out row (nats)", fontsize="small")
        left.legend(fontsize="small", title="covariances", title_fontsize="small")
        for ax in (left, right):
            ax.set_xlabel("number of components", fontsize="small")
            _whole_numbers(ax, [one["n_components"] for one in self.candidates])
            ax.tick_params(labelsize="small")
            ax.grid(alpha=0.3)

    def _draw_family(
        self,
        ax: Axes,
        own: Sequence[Mapping[str, Any]],
        rank: int,
        values: Sequence[float],
        errors: Sequence[float] | None,
    ) -> None:
        """The candidates of a family: lines between all, hollow marks for those not refined."""
        ks = [one["n_components"] for one in own]
        colour, marker = colour_of(rank), _MARKERS[rank % len(_MARKERS)]
        ax.errorbar(ks, values, errors, color=colour, linewidth=1.2, capsize=2.5)
        ax.plot([], [], marker=marker, color=colour, label=own[0]["covariance_type"])
        for one, k, value in zip(own, ks, values, strict=True):
            inside = colour if one["refined"] else "white"
            ax.plot(k, value, marker=marker, color=colour, markerfacecolor=inside, zorder=3)
            if one == self.best:
                ax.plot(
                    *(k, value, "o"),
                    markersize=14,
                    markerfacecolor="none",
                    markeredgecolor="black",
                    zorder=4,
                )


def _known(gain: float | None) -> float:
    """A gain; NaN for one that nobody knows, which is infinite, or in a saved model None."""
    return np.nan if gain is None or not np.isfinite(gain) else gain


def _at_decades(ax: Axes) -> None:
    """Let a logarithmic axis end at powers of ten, so that two ticks have a number at least."""
    low, high = np.log10(ax.get_ylim())
    ax.set_ylim(10.0 ** np.floor(low), 10.0 ** np.ceil(high))
    ax.yaxis.set_minor_formatter(matplotlib_module(".ticker").NullFormatter())


def _iterations(n: int) -> str:
    return f"{n} iteration{'s' * (n != 1)}"


def _whole_numbers(ax: Axes, values: Sequence[int]) -> None:
    """Ticks at whole numbers, one for each value where these are few."""
    distinct = sorted(set(values))
    if len(distinct) <= 12:
        ax.set_xticks(distinct)
    else:
        ax.locator_params(axis="x", integer=True)
