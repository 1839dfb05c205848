"""Keywords: arguments that a function does not have; the error suggests the name that was meant."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["suggesting"]

_OF_ROWS = {
    "columns": "columns=[...]",
    "variables": "variables=[...]",
    "data_vars": "variables=[...]",
    "feature_dim": "feature_dim='...'",
    "mask": "mask='...'",
    "member": "member='...'",
    "missing_chunks": "missing_chunks='fill'",
}
"""Keywords of :func:`daskgmm.open_rows`, and xarray's name of one, in a call of it."""

P = ParamSpec("P")
T = TypeVar("T")


def suggesting(*others: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Makes errors of misspelt keywords name the nearest one, as Python 3.13 does.

    Where a function takes rows as ``X``, those of what :func:`daskgmm.open_rows` chooses name it.

    ``inspect.signature`` sees through it, and so does what scikit-learn finds out by it: parameters
    of an estimator, clones, and metadata of ``fit``.

    Parameters
    ----------
    *others : str
        Names that a function takes besides those of its signature.
    """

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        known = [*inspect.signature(function).parameters, *others]

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if name not in known:
                    is_init = function.__name__ == "__init__" and len(args) > 0  # perhaps inherited
                    called_as = type(args[0]).__name__ if is_init else function.__qualname__
                    raise TypeError(
                        f"{called_as}() got an unexpected keyword argument {name!r}"
                        f"{_hint(name, known)}"
                    )
            return function(*args, **kwargs)

        return called

    return decorated


def _hint(name: str, known: Sequence[str]) -> str:
    """What was meant by a keyword that a function does not have; empty if that is not known."""
    of_rows = _OF_ROWS if "X" in known else {}
    near = difflib.get_close_matches(name, [*known, *of_rows], 1)
    if not near:
        return ""
    if near[0] in of_rows:
        return f": daskgmm.open_rows(path, {of_rows[near[0]]}) gives such rows, to be passed as X"
    return f". Did you mean {near[0]!r}?"
