"""Lazily: modules that are imported when something of them is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Lazily"]


class Lazily:
    """Stands for a module until it is needed.

    Help, completion and errors of usage take a tenth of a second; Dask and scikit-learn, which
    only passes over rows need, take two.

    Parameters
    ----------
    name : str
        Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
