"""Drawing: what all displays share: axes to draw on, colours, text that can be read over anything.

Matplotlib is imported here alone, when a picture is asked for.
"""

from __future__ import annotations

import io
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from daskgmm.errors import MissingDependencyError, ParameterError
from daskgmm.kernel import Float64Array
from daskgmm.redaction import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "OTHERS",
    "Display",
    "Panels",
    "cells",
    "colour_bar",
    "colour_of",
    "ellipse",
    "labelled",
    "matplotlib_module",
    "number",
    "picture_of",
    "plain",
    "probability",
    "radius_holding",
    "share",
    "svgs_of",
]

_NEARLY, _ALL = 0.995, 1.0 - 1e-9
"""Between these, a share or a probability would be rounded to all, which it is not."""

COLOURS = (
    *("#332288", "#CC6677", "#117733", "#88CCEE", "#AA4499"),
    *("#DDCC77", "#44AA99", "#882255", "#999933"),
)
"""The scheme "muted" of Paul Tol, which colour-blind people tell apart, and print by lightness."""
OTHERS = "#BBBBBB"
"""Of components that have no colour of their own."""
_TITLE_COLUMNS_PER_INCH = 13
_INCHES_PER_LINE = 0.17
_DPI = {"svg": 100, "png": 150}
"""Of an SVG, that of the cells in it, which would not be bounded as so many rectangles."""
_NO_DATE = {"Date": None}
_MARGIN = 0.06
"""Inches around what is drawn, on a page."""
_PHONE, _LEAST_SHRUNK = 5.2, 0.65
"""Inches that a phone shows with letters that can be read; to what share a picture may shrink."""
_LONGEST_NAME = 40
_SMALL = "small"


def matplotlib_module(name: str = "") -> Any:
    """A module of Matplotlib.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return import_module(f"matplotlib{name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"pictures are drawn by Matplotlib, which is not installed ({one_line(error)}); "
            "pip install 'daskgmm[plot]'"
        ) from error


class Panels:
    """Rows and columns of panels, and their size.

    Parameters
    ----------
    n_rows, n_columns : int
    inches : (float, float)
        Width and height of a figure of their own.
    ratios : sequence of float, optional
        Relative widths of the columns.
    stand_alone : bool
        Whether each panel says all by itself, so that a page may put them below each other.
    """

    def __init__(
        self,
        n_rows: int,
        n_columns: int,
        inches: tuple[float, float],
        ratios: Sequence[float] | None = None,
        *,
        stand_alone: bool = False,
    ) -> None:
        self.shape, self.inches, self.ratios = (n_rows, n_columns), inches, ratios
        self.stand_alone = stand_alone

    @property
    def is_one(self) -> bool:
        """Whether there is one panel alone."""
        return self.shape == (1, 1)


class Display(ABC):
    """A picture that can be drawn on axes, after scikit-learn's Display objects.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        After :meth:`plot`.
    ax_ : matplotlib.axes.Axes
        What was given, or was made; where there are several panels, they lie in its place.
    axes_ : ndarray of Axes
        The panels, in rows and columns.
    """

    figure_: Figure
    ax_: Axes
    axes_: Any

    title: ClassVar[str]

    @property
    @abstractmethod
    def panels(self) -> Panels:
        """How many panels there are, and how large."""

    @property
    def notes(self) -> str:
        """What the picture leaves out, and how it was chosen; empty if nothing."""
        return ""

    @property
    @abstractmethod
    def alt(self) -> str:
        """What is to be seen, in a sentence or two, for those who do not see it."""

    @abstractmethod
    def _draw(self) -> None:
        """Draw on :attr:`axes_`."""

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            By default that of a new figure of pyplot's. Several panels are drawn in its place.

        Returns
        -------
        self

        Raises
        ------
        MissingDependencyError
            If Matplotlib is not installed.
        """
        if ax is None:
            pyplot = matplotlib_module(".pyplot")
            _, ax = pyplot.subplots(figsize=self.panels.inches, layout="constrained")
        width = ax.get_window_extent().width / ax.figure.dpi  # in inches
        columns = max(30, int(_TITLE_COLUMNS_PER_INCH * width))
        return self._on(ax, [self.title, *textwrap.wrap(self.notes, columns)])

    def plot_without_heading(self, ax: Any) -> Self:
        """Draw on axes, where title and notes are written elsewhere.

        Parameters
        ----------
        ax : matplotlib.axes.Axes
            See :meth:`plot`.

        Returns
        -------
        self
        """
        return self._on(ax, [])

    def _on(self, ax: Any, heading: Sequence[str]) -> Self:
        self.ax_, self.figure_ = ax, ax.figure
        self.axes_ = _divided(ax, self.panels, heading)
        self._draw()
        return self


def _divided(ax: Axes, panels: Panels, heading: Sequence[str]) -> Any:
    """Axes of the panels, (rows, columns), in the place of one, under a heading."""
    text = "\n".join(heading).replace("$", r"\$")
    if panels.is_one:
        if text:
            ax.set_title(text, loc="left", fontsize=_SMALL)
        return np.array([[ax]], dtype=object)
    place = ax.get_subplotspec()
    if place is None:
        raise ParameterError(
            "several panels need axes of a grid, such as figure.add_subplot() and plt.subplots() "
            "make; these were placed by hand",
            "ax",
        )
    ax.set_axis_off()
    n_rows, n_columns = panels.shape
    if text:
        height = ax.get_window_extent().height / ax.figure.dpi
        above = _INCHES_PER_LINE * len(heading)
        both = place.subgridspec(
            2, 1, height_ratios=(above, max(height - above, above)), hspace=0.0
        )
        head = ax.figure.add_subplot(both[0])
        head.set_axis_off()
        head.text(0, 1, text, transform=head.transAxes, va="top", fontsize=_SMALL, in_layout=False)
        place = both[1]
    grid = place.subgridspec(n_rows, n_columns, width_ratios=panels.ratios)
    return np.array(
        [[ax.figure.add_subplot(grid[i, j]) for j in range(n_columns)] for i in range(n_rows)],
        dtype=object,
    )


def picture_of(display: Display, form: str) -> bytes:
    """A file of a picture, ``svg`` or ``png``; equal pictures have equal bytes.

    It is drawn on a figure of its own, apart from pyplot, whose figures are the user's.
    """
    figure = matplotlib_module(".figure").Figure(
        figsize=display.panels.inches, layout="constrained"
    )
    display.plot(figure.add_subplot())
    metadata = {"svg": _NO_DATE, "png": {"Software": None}}[form]
    file = io.BytesIO()
    with matplotlib_module().rc_context({"svg.hashsalt": "daskgmm"}):
        figure.savefig(file, format=form, dpi=_DPI[form], metadata=metadata)
    return file.getvalue()


def svgs_of(display: Display) -> list[tuple[bytes, float]]:
    """SVGs without a heading, and their widths in inches, for a page that has it in text.

    One of each panel where these stand alone, else one of all. Those of one column that are a
    little wider than a phone are drawn as narrow as it is, with letters of the same size.
    """
    panels = display.panels
    shrunk = min(1.0, _PHONE / panels.inches[0])
    if shrunk < _LEAST_SHRUNK or panels.shape[1] > 1:
        shrunk = 1.0
    width, height = panels.inches
    figure = matplotlib_module(".figure").Figure(
        figsize=(shrunk * width, shrunk * height), layout="constrained"
    )
    display.plot_without_heading(figure.add_subplot())
    figure.draw_without_rendering()  # which places the panels: the canvas of no backend draws nothing
    figure.set_layout_engine("none")
    axes = list(display.axes_.ravel())
    found = []
    for shown in [[ax] for ax in axes] if panels.stand_alone else [axes]:
        drawn = [one for ax in shown for one in (*ax.collections, *ax.images)]
        bars = [one.colorbar.ax for one in drawn if one.colorbar is not None]
        for ax in figure.axes:
            ax.set_visible(ax in shown or ax in bars)
        file, box = io.BytesIO(), figure.get_tightbbox().padded(_MARGIN)
        with matplotlib_module().rc_context({"svg.hashsalt": "daskgmm"}):
            figure.savefig(file, format="svg", dpi=_DPI["svg"], metadata=_NO_DATE, bbox_inches=box)
        found.append((file.getvalue(), float(box.width)))
    return found


def colour_of(rank: int) -> str:
    """Colour of the rank-th of what is shown; they come again after the last."""
    return COLOURS[rank % len(COLOURS)]


def plain(text: str) -> str:
    """A name as it is: no formula, however many dollars it has, on one line, not too long."""
    return textwrap.shorten(text, _LONGEST_NAME, placeholder="\u2026").replace("$", r"\$")


def share(value: float) -> str:
    """A share as a percentage of two digits or more: 0.31%, 12%, 99.97%; 100% is all."""
    percent = 100.0 * value
    if _NEARLY <= value < _ALL:
        return f"{min(percent, 99.99):.2f}%"
    if percent >= 10 or percent == 0:
        return f"{percent:.0f}%"
    return f"{percent:.2g}%"


def probability(value: float) -> str:
    """A probability to two digits, or to three where these would be 1: 0.31, 0.997, >0.999, 1.00."""
    if 0.0 < value < 0.001:
        return "<0.001"
    if _NEARLY <= value < _ALL:
        return ">0.999" if value > 0.999 else f"{value:.3f}"
    return "1.00" if value >= _ALL else f"{value:.2g}"


def number(value: float) -> str:
    """A number of rows, or of a sum of weights."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def labelled(ax: Axes, x: float, y: float, text: str) -> None:
    """Write text that can be read on light and dark alike, at a place within the axes or not at all.

    Text that is only clipped is placed all the same, and far away Matplotlib cannot.
    """
    ax.annotate(
        text,
        (x, y),
        annotation_clip=True,
        ha="center",
        va="center",
        fontsize="x-small",
        clip_on=True,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0, "alpha": 0.8},
    )


def radius_holding(part: float, degrees_of_freedom: float) -> float:
    """Radius that holds a share of the rows of a component in two features, in scales.

    Exact for Gaussians, of infinite degrees of freedom, and for t components.
    """
    nu = degrees_of_freedom
    if np.isinf(nu):
        return float(np.sqrt(-2.0 * np.log1p(-part)))
    return float(np.sqrt(nu * np.expm1(-2.0 / nu * np.log1p(-part))))


def ellipse(mean: Float64Array, covariance: Float64Array, radius: float) -> Any:
    """Path of what lies at a Mahalanobis distance from a mean (2,)."""
    circle = matplotlib_module(".path").Path.unit_circle()
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return type(circle)(mean + radius * circle.vertices @ root.T, circle.codes)


def cells(ax: Axes, counts: Float64Array, x: Float64Array, y: Float64Array) -> Any:
    """Counts (len(x) - 1, len(y) - 1) in bins, darker where there are more, white where none."""
    shown = np.ma.masked_equal(counts.T, 0.0)
    top = max(float(counts.max()), 1e-300)
    low = float(counts[counts > 0].min()) if (counts > 0).any() else top / 10
    norm = matplotlib_module(".colors").LogNorm(low * 0.3, max(top, low * 1.01))
    return ax.pcolormesh(x, y, shown, cmap="Greys", norm=norm, rasterized=True)


def colour_bar(ax: Axes, drawn: Any, label: str, *, below: bool = False) -> Any:
    """A colour bar beside a panel, or below it."""
    where: dict[str, Any] = {"location": "bottom", "aspect": 40} if below else {}
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.02, **where)
    bar.set_label(label, fontsize=_SMALL)
    bar.ax.tick_params(labelsize="x-small")
    return bar
