"""Pictures: one of a saved model, and of stored rows, as a file."""

from __future__ import annotations

import time
from typing import Any

from daskgmm.apart import check_apart, is_at_place
from daskgmm.estimator import load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.plot import DISPLAYS, matplotlib_module, picture_of
from daskgmm.settings import check_picture, form_of_picture
from daskgmm.storage import check_text_output, write_bytes

__all__ = ["write_plot"]


def write_plot(
    kind: str,
    model: str,
    output: str,
    data: Any = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Draw a saved model, and write the picture as SVG or PNG, whole or not at all.

    Parameters
    ----------
    kind : str
        A key of :data:`daskgmm.settings.PICTURES`.
    model : str
        Path or URL of a saved model.
    output : str
        Path or URL of the file; its ending says what is written.
    data : path, URL, Source or Grid, optional
        Rows, where the kind shows rows; they are read once.
    overwrite : bool
        Whether a file that is there may be replaced.
    **options
        ``memory_limit``; and what the kind can be told: ``features``, ``sample_weight``, ``at``.

    Returns
    -------
    dict
        ``kind alt seconds peak_memory_bytes model output``; ``alt`` says what is to be seen.

    Raises
    ------
    ParameterError
        If the kind cannot show what is asked for, or the output has another ending.
    MissingDependencyError
        If Matplotlib is not installed.
    """
    began = time.perf_counter()
    memory_limit = options.pop("memory_limit", None)
    form = form_of_picture(output)
    check_picture(kind, has_rows=data is not None, options=options)
    check_apart(model, [output])
    weights = options.get("sample_weight")
    for rows in (data, weights) if is_at_place(weights) else (data,):
        if rows is not None:
            check_apart(rows, [output])
    check_text_output(output, overwrite=overwrite)
    matplotlib_module()
    fitted = load_model(model).set_params(memory_limit=memory_limit)
    chosen = {name: value for name, value in options.items() if value is not None}
    display = DISPLAYS[kind](fitted, *(() if data is None else (data,)), **chosen)
    write_bytes(output, picture_of(display, form), overwrite=overwrite)
    return {
        "kind": kind,
        "alt": display.alt,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        "model": model,
        "output": output,
    }
