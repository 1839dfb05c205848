"""Keywords: arguments that a function does not have; the error suggests the name that was meant."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["suggesting"]

P = ParamSpec("P")
T = TypeVar("T")


def suggesting(*others: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Makes errors of misspelt keywords name the nearest one, as Python 3.13 does.

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
                    near = difflib.get_close_matches(name, known, 1)
                    hint = f". Did you mean {near[0]!r}?" if near else ""
                    raise TypeError(
                        f"{called_as}() got an unexpected keyword argument {name!r}{hint}"
                    )
            return function(*args, **kwargs)

        return called

    return decorated
