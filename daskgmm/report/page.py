"""Page: what a saved model is, and how it fits stored rows, as one page of HTML that needs nothing."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from daskgmm._version import __version__
from daskgmm.apart import check_apart, is_at_place
from daskgmm.errors import ParameterError
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.plot import (
    ComponentsDisplay,
    ConvergenceDisplay,
    LogDensityDisplay,
    MapDisplay,
    PairsDisplay,
    ResponsibilitiesDisplay,
    SelectionDisplay,
    matplotlib_module,
    picture_of,
)
from daskgmm.plot.counting import count_rows
from daskgmm.plot.drawing import Display, number
from daskgmm.plot.log_densities import threshold_of
from daskgmm.plot.subject import Subject, largest_components
from daskgmm.redaction import redacted
from daskgmm.report.findings import doubts, facts, found, settings, trust
from daskgmm.storage import check_text_output, write_text
from daskgmm.tables import dims_of_cells

__all__ = ["check_report", "write_report"]

_MOST_COMPONENTS, _MOST_FEATURES = 20, 12
_PER_INCH = 96
_LEGIBLE = 560
"""Pixels of width that pictures have at least, so that their text can be read,"""
_SMALLEST = 0.7
"""or this share of the width that they are drawn for."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    id, heading : str
    text : str
    table : sequence of rows, or None
        The first one is the header, and the first cell of each row is its name.
    picture : str or None
        An SVG in base64.
    alt : str
        What is to be seen in it.
    pixels : int
        Its width; on narrow screens it is no narrower than what can be read, and scrolls.
    facts : mapping
        Names and values.
    """

    id: str
    heading: str
    text: str = ""
    table: Sequence[Sequence[str]] | None = None
    picture: str | None = None
    alt: str = ""
    pixels: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, id: str, heading: str, display: Display, text: str = "", **more: Any) -> Section:
        """A section with a picture."""
        picture = base64.b64encode(picture_of(display, "svg")).decode()
        natural = int(_PER_INCH * display.panels.inches[0])
        pixels = min(natural, max(_LEGIBLE, int(_SMALLEST * natural)))
        return cls(id, heading, text, picture=picture, alt=display.alt, pixels=pixels, **more)


def check_report(output: str, data: Any, model: str, *, overwrite: bool) -> None:
    """Refuse a report that could not be written later, before work starts.

    Parameters are those of :func:`write_report`; the model need not be there yet.

    Raises
    ------
    ParameterError
        If its name ends in something else than ``.html``, or places overlap.
    MissingDependencyError
        If Matplotlib is not installed.
    OutputExistsError, NotFoundError
        As :func:`daskgmm.storage.check_text_output`.
    """
    if not output.lower().endswith((".html", ".htm")):
        raise ParameterError(
            f"{redacted(output)}: a report is a page of HTML; end its name in .html", "output"
        )
    check_apart(model, [output])
    if data is not None:
        check_apart(data, [output])
    check_text_output(output, overwrite=overwrite)
    matplotlib_module()


def write_report(
    model: str,
    output: str,
    data: Any = None,
    *,
    overwrite: bool = False,
    sample_weight: Any = None,
    memory_limit: int | str | None = None,
) -> dict[str, Any]:
    """Write a page about a saved model, whole or not at all.

    Parameters
    ----------
    model : str
        Path or URL of a saved model.
    output : str
        Path or URL of the page, which ends in ``.html``.
    data : path, URL, Source or Grid, optional
        Rows that it is held against, in one pass; without, the page is of the model alone.
    overwrite : bool
        Whether a file that is there may be replaced.
    sample_weight : path, URL or Source, optional
        How often each row counts.
    memory_limit : int or str, optional

    Returns
    -------
    dict
        ``found trust doubts seconds peak_memory_bytes model output``.

    Raises
    ------
    ParameterError, MissingDependencyError, OutputExistsError, NotFoundError
        As :func:`check_report`.
    DataError, MemoryLimitError
        If the rows cannot be used.
    """
    began = time.perf_counter()
    check_report(output, data, model, overwrite=overwrite)
    if is_at_place(sample_weight):
        check_apart(sample_weight, [output])
    fitted = load_model(model).set_params(memory_limit=memory_limit)
    rows = None if data is None else _Rows.counted(fitted, data, sample_weight)
    said = doubts(fitted, None if rows is None else rows.sharpness)
    page = Environment(
        loader=PackageLoader("daskgmm.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    text = page.render(
        title=f"Report on {redacted(model)}",
        found=found(fitted),
        trust=trust(said),
        doubts=said,
        of_rows="" if rows is None else rows.said,
        sections=_sections(fitted, rows, data),
        version=__version__,
    )
    write_text(output, text, overwrite=overwrite)
    return {
        "found": found(fitted),
        "trust": trust(said),
        "doubts": said,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        "model": model,
        "output": output,
    }


@dataclass(frozen=True, eq=False)
class _Rows:
    """What one pass over the rows gave to draw."""

    pairs: PairsDisplay
    densities: LogDensityDisplay
    sharpness: ResponsibilitiesDisplay

    @classmethod
    def counted(cls, model: GaussianMixture, data: Any, sample_weight: Any) -> _Rows:
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
    def said(self) -> str:
        """How well the rows fit, in a sentence."""
        counted = self.densities.counted
        mean = float(counted.answers[0]["sum"]) / counted.weight
        return (
            f"Held against {number(counted.n_rows)} rows, it gives them a log-likelihood of "
            f"{mean:.6g} nats per row."
        )


def _sections(model: GaussianMixture, rows: _Rows | None, data: Any) -> list[Section]:
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
        made.append(Section.of("selection", "Selection", SelectionDisplay.of(model)))
    if getattr(model, "history_", None):
        made.append(Section.of("convergence", "Convergence", ConvergenceDisplay.of(model)))
    made.append(Section("run", "The run", facts=facts(model, data)))
    made.append(
        Section("settings", "Settings", "All others are the defaults.", facts=settings(model))
    )
    return made


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
        cells = [f"{law.means[k, j]:.4g} \u00b1 {deviations[k, j]:.2g}" for j in features]
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
