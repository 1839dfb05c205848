"""Public docstrings held against the signatures that they document, by numpydoc's validation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator

from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate

from . import public

HELD = {
    "GL08": "there is no docstring",
    "SS01": "there is no summary",
    "PR01": "parameters are not documented",
    "PR02": "parameters are documented that are not there",
    "PR03": "parameters are documented in another order than the signature's",
    "RT01": "what is returned is not documented",
    "GL07": "sections are in another order than numpydoc's",
}
"""Errors of numpydoc that say something is missing or wrong; others are about punctuation."""


def faults() -> list[str]:
    """A line for each error in a public docstring, of methods as well."""
    return [
        *(
            f"{name}: {message}"
            for name in _documented()
            for code, message in validate(name)["errors"]
            if code in HELD and not (code.startswith("PR") and _is_made_by_us(name))
        ),
        *(
            f"{name}: the attribute {field} is not documented"
            for name in public.names()
            if dataclasses.is_dataclass(found := public.found(name))
            for field in {one.name for one in dataclasses.fields(found)} - _attributes(found)
        ),
    ]


def _documented() -> Iterator[str]:
    """Public names, and the public methods of those classes that are shown with them."""
    yield from public.names()
    for name in public.WITH_METHODS:
        for method, value in inspect.getmembers(public.found(name), inspect.isroutine):
            if not method.startswith("_") and value.__module__.startswith("daskgmm"):
                yield f"{name}.{method}"


def _is_made_by_us(name: str) -> bool:
    """Whether users only read objects of this name: their attributes are documented."""
    found = public.found(name) if name in public.names() else None
    return inspect.isclass(found) and (
        dataclasses.is_dataclass(found) or issubclass(found, BaseException)
    )


def _attributes(found: type) -> set[str]:
    """Names in the section of attributes."""
    listed = FunctionDoc(found)["Attributes"]
    return {name for entry in listed for name in entry.name.split(", ")}
