"""Sections: the parts of the page, from one pass over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10
from typing import Any, NamedTuple
from urllib.parse import quote

from daskgmm.estimator import GaussianMixture
from daskgmm.plot import (
    ComponentsDisplay,
    ConvergenceDisplay,
    LogDensityDisplay,
    MapDisplay,
    PairsDisplay,
    ResponsibilitiesDisplay,
    SelectionDisplay,
    svgs_of,
)
from daskgmm.plot.counting import count_rows
from daskgmm.plot.drawing import Display, number, share
from daskgmm.plot.log_densities import threshold_of
from daskgmm.plot.subject import Subject, largest_components
from daskgmm.report.findings import facts, settings
from daskgmm.tables import dims_of_cells

__all__ = ["CountedRows", "Picture", "Section", "sections_of"]

_MOST_COMPONENTS, _MOST_FEATURES, _MOST_CANDIDATES = 20, 12, 40
_PER_INCH = 96
_SMALLEST = 0.7
"""Share of its width to which a picture shrinks on a narrow screen, before it scrolls."""
_UNQUOTED = " =:;,/()+-*.!@$[]{}|~&?'"
"""Characters that stay as they are in the address of a picture, whose length is that of the page."""
_FIXED = (1e-4, 1e7)
"""Numbers between these are written without an exponent."""


class Picture(NamedTuple):
    """An SVG on the page.

    Attributes
    ----------
    source : str
        The SVG itself, as an address.
    alt : str
        What is to be seen in it; of panels that stand alone the first one says it.
    pixels, least_pixels : int
        Its width, and that below which it scrolls instead of shrinking.
    """

    source: str
    alt: str
    pixels: int
    least_pixels: int


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    id, heading : str
    text : str
    pictures : sequence of Picture
    table : sequence of rows, or None
        The first one is the header, and the first cell of each row is its name.
    facts : mapping
        Names and values.
    """

    id: str
    heading: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    table: Sequence[Sequence[str]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, id: str, heading: str, display: Display, text: str = "", **more: Any) -> Section:
        """A section with pictures; what is said in them elsewhere is its text."""
        said = " ".join(filter(None, [display.notes, text]))
        return cls(id, heading, said, _pictures_of(display), **more)


def _pictures_of(display: Display) -> list[Picture]:
    found = []
    for n, (svg, inches) in enumerate(svgs_of(display)):
        text = quote(" ".join(svg.decode().split()), safe=_UNQUOTED)
        pixels = round(_PER_INCH * inches)
        alt = display.alt if n == 0 else f"{display.title}, panel {n + 1}; see the one before."
        source = f"data:image/svg+xml,{text}"
        found.append(Picture(source, alt, pixels, round(_SMALLEST * pixels)))
    return found


@dataclass(frozen=True, eq=False)
class CountedRows:
    """What one pass over the rows gave to draw."""

    pairs: PairsDisplay
    densities: LogDensityDisplay
    sharpness: ResponsibilitiesDisplay

    @classmethod
    def counted(cls, model: GaussianMixture, data: Any, sample_weight: Any) -> CountedRows:
        """Read all rows, once."""
        subject = Subject.of(model)
        histograms = PairsDisplay.question(model)
        densities = LogDensityDisplay.question(model)
        sharpness = ResponsibilitiesDisplay.question(model)
        counted = count_rows(model, data, [histograms, densities, sharpness], sample_weight)
        return cls(
            PairsDisplay(subject, histograms, counted.only(0), were_chosen=True),
            LogDensityDisplay(densities, counted.only(1), threshold_of(model)),
            ResponsibilitiesDisplay(subject, sharpness, counted.only(2)),
        )

    @property
    def mean(self) -> float:
        """Log-likelihood of the rows, in nats per row."""
        counted = self.densities.counted
        return float(counted.answers[0]["sum"]) / counted.weight

    @property
    def said(self) -> str:
        """How well the rows fit, in a sentence."""
        return (
            f"Held against {number(self.densities.counted.n_rows)} rows, it gives them a "
            f"log-likelihood of {self.mean:.6g} nats per row; {share(self.sharpness.sure)} of them are of their component with "
            "a probability of 0.9 or more."
        )


def sections_of(model: GaussianMixture, rows: CountedRows | None, data: Any) -> list[Section]:
    """The parts of the page that there is something for."""
    subject, components = Subject.of(model), ComponentsDisplay.of(model)
    said, table = _said_of_table(subject), _table_of(subject)
    made = [Section.of("components", "Components", components, said, table=table)]
    if rows is not None:
        made += [
            Section.of("pairs", "Rows and components", rows.pairs),
            Section.of("sharpness", "Sharpness and overlap", rows.sharpness),
            Section.of("densities", "Log density", rows.densities),
        ]
        dims = dims_of_cells(data, _names_of(model))
        if dims is not None and len(dims) >= 2:
            made.append(Section.of("map", "Map", MapDisplay.of(model, data)))
    if getattr(model, "selection_", None) is not None:
        made.append(_of_selection(SelectionDisplay.of(model)))
    if getattr(model, "history_", None):
        made.append(_of_convergence(ConvergenceDisplay.of(model)))
    made.append(Section("run", "The run", facts=facts(model, data)))
    made.append(
        Section("settings", "Settings", "All others are the defaults.", facts=settings(model))
    )
    return made


def _of_selection(display: SelectionDisplay) -> Section:
    """The curves, and a table of the criteria and of what each candidate gains on held-out rows."""
    key = display.key
    least = min(one[key] for one in display.candidates)
    ranked = sorted(display.candidates, key=lambda one: float(one[key]))[:_MOST_CANDIDATES]
    table = [
        [
            *("components", "covariances", f"{key.upper()} above its least"),
            *("held out, nats per row", "gain over the one before"),
        ]
    ]
    for one in display.candidates:
        if one in ranked:
            name = f"{one['n_components']}{' (chosen)' * (one == display.best)}"
            held_out = one["held_out_log_likelihood_per_row"], one["held_out_standard_error"]
            gain = one["held_out_gain_per_row"], one["held_out_gain_standard_error"]
            values = f"{one[key] - least:,.0f}", spread(*held_out), spread(*gain)
            table.append([name, one["covariance_type"], *values])
    said = "In the table, \u00b1 is the standard error over the rows held out"
    if len(ranked) < len(display.candidates):
        said += f"; it has the {len(ranked)} best of {len(display.candidates)} candidates"
    return Section.of("selection", "Selection", display, f"{said}.", table=table)


def _of_convergence(display: ConvergenceDisplay) -> Section:
    """The curve; of a single iteration a sentence."""
    if len(display.history) == 1:
        return Section("convergence", "Convergence", display.alt)
    return Section.of("convergence", "Convergence", display)


def spread(value: float | None, error: float | None) -> str:
    """A value and its error or deviation, both to the second digit of the latter."""
    if value is None or error is None:
        return "\u2013"
    most = max(abs(value), error)
    if not error > 0 or error < _FIXED[0] or most >= _FIXED[1]:
        return f"{value:.4g} \u00b1 {error:.2g}"
    decimals = 1 - floor(log10(error))
    value, error = (round(one, decimals) + 0.0 for one in (value, error))
    return f"{value:.{max(decimals, 0)}f} \u00b1 {error:.{max(decimals, 0)}f}"


def _names_of(model: GaussianMixture) -> list[str] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _table_of(subject: Subject) -> list[list[str]]:
    """Weights, and means with standard deviations, of the largest components by telling features."""
    mixture, law = subject.mixture, subject.gaussians
    features = _features_of(subject)
    deviations = law.variances() ** 0.5
    table = [["component", "weight", *(subject.label(j) for j in features)]]
    for k in largest_components(mixture, _MOST_COMPONENTS):
        cells = [spread(float(law.means[k, j]), float(deviations[k, j])) for j in features]
        table.append([str(k), f"{mixture.weights[k]:.4g}", *cells])
    if mixture.noise is not None:
        table.append(["noise", f"{mixture.noise.weight:.4g}", *[""] * len(features)])
    return table


def _features_of(subject: Subject) -> Sequence[int]:
    d = subject.mixture.n_features
    return range(d) if d <= _MOST_FEATURES else sorted(subject.telling(_MOST_FEATURES))


def _said_of_table(subject: Subject) -> str:
    """What the table of components is, and what it leaves out."""
    k, d = subject.mixture.n_components, subject.mixture.n_features
    said = "The table has means, and standard deviations within the component"
    if k > _MOST_COMPONENTS:
        said += f", of the {_MOST_COMPONENTS} largest of {k} components"
    if d > _MOST_FEATURES:
        said += f", in the {_MOST_FEATURES} of {d} features in which components lie furthest apart"
    return f"{said}."
