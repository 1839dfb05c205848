"""Gaussian mixtures fitted by EM on data larger than memory, with Dask, over Zarr.

Names are resolved when first used (PEP 562), so that ``import daskgmm.kernel`` does
not import Dask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daskgmm._version import __version__

if TYPE_CHECKING:
    from daskgmm import plot
    from daskgmm.estimator import GaussianMixture, load_model
    from daskgmm.selection import select
    from daskgmm.tables import open_rows

__all__ = ["GaussianMixture", "__version__", "load_model", "open_rows", "plot", "select"]

_HOME = {
    "GaussianMixture": "daskgmm.estimator",
    "load_model": "daskgmm.estimator",
    "open_rows": "daskgmm.tables",
    "plot": "daskgmm.plot",
    "select": "daskgmm.selection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(_HOME[name])
    except AttributeError as error:  # which Python takes for a name that is not there
        raise ImportError(f"daskgmm.{name}: a module that it needs is broken: {error}") from error
    return home if _HOME[name] == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
