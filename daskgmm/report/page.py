"""Page: what a saved model is, and how it fits stored rows, as one page of HTML that needs nothing."""

from __future__ import annotations

import time
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from daskgmm._version import __version__
from daskgmm.apart import check_apart, is_at_place
from daskgmm.errors import ParameterError
from daskgmm.estimator import load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.plot import matplotlib_module
from daskgmm.redaction import redacted
from daskgmm.report.findings import doubts, doubts_of_rows, found, trust
from daskgmm.report.sections import CountedRows, sections_of
from daskgmm.storage import check_text_output, write_text

__all__ = ["check_report", "write_report"]


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
    rows = None if data is None else CountedRows.counted(fitted, data, sample_weight)
    said = doubts(fitted, None if rows is None else rows.sharpness)
    said += [] if rows is None else doubts_of_rows(fitted, rows.mean)
    if rows is not None and sample_weight is None and fitted._is_weighted:
        said.append(
            "The model was fitted to rows with weights, and here each row counts once: --weights "
            "says how often they count."
        )
    page = Environment(
        loader=PackageLoader("daskgmm.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    text = page.render(
        title=f"Report on {redacted(model)}",
        found=found(fitted),
        trust=trust(said),
        doubts=said,
        of_rows="" if rows is None else rows.said,
        sections=sections_of(fitted, rows, data),
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
