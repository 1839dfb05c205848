"""The library of loops, and which of its variants this processor runs."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

__all__ = ["LIBRARY", "VARIANT", "VARIANTS", "WHY_NONE"]

VARIABLE = "DASKGMM_LOOPS"
"""Environment variable: ``none``, or the variant that is to run."""
LIBRARY_VARIABLE = "DASKGMM_LOOPS_LIBRARY"
"""Environment variable: the library that is to be loaded, such as a sanitized one."""

_BEST_FIRST = ("x86_64_v4", "x86_64_v3", "aarch64")
_HERE = Path(__file__).parent
_NAME = "daskgmm_loops" + (".dll" if sys.platform == "win32" else ".so")
_HEADERS = ("vectors.h", "gaps.h", "patterns.h", "completed.h", "measured.h")
_SOURCES = ("features.c", "loops.cpp", *_HEADERS)


def _is_of_these_sources(library: ctypes.CDLL) -> bool:
    """Whether it was built of the sources that lie here; a wheel has none, and is whole."""
    sources = [_HERE / name for name in _SOURCES]
    if not all(source.is_file() for source in sources):
        return True
    library.daskgmm_loops_sources.restype = ctypes.c_char_p
    found = " ".join(hashlib.sha256(source.read_bytes()).hexdigest() for source in sources)
    return bool(library.daskgmm_loops_sources() == found.encode())


def _opened() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none.

    One that was built for another checkout serves this one, if its sources are the same.
    """
    asked = os.environ.get(LIBRARY_VARIABLE)
    if asked:
        return ctypes.CDLL(asked), ""
    inside = Path(*(__package__ or "").split("."), _NAME)
    places = [_HERE / _NAME, *(Path(folder) / inside for folder in sys.path)]
    reason = "none was built when daskgmm was installed: it takes a C++ compiler"
    for place in dict.fromkeys(places):
        if not place.is_file():
            continue
        try:
            library = ctypes.CDLL(str(place))
        except OSError as error:
            reason = str(error)
            continue
        if _is_of_these_sources(library):
            return library, ""
        reason = f"{place} was built of other sources: install daskgmm again"
    return None, reason


def _variants(library: ctypes.CDLL | None) -> tuple[str, ...]:
    """What was built and this processor can run, the best first."""
    if library is None:
        return ()
    built = [name for name in _BEST_FIRST if hasattr(library, f"{name}_scan_moments")]
    return tuple(name for name in built if getattr(library, f"runs_{name}")())


def _chosen(variants: tuple[str, ...]) -> tuple[str | None, str]:
    """The variant to run, or why none is."""
    asked = os.environ.get(VARIABLE)
    if asked == "none":
        return None, f"{VARIABLE} is none"
    if asked and asked not in variants:
        raise ImportError(
            f"{VARIABLE}={asked} is nothing that can run here: {', '.join(('none', *variants))}"
        )
    if not variants:
        return None, WHY_NO_LIBRARY or "this processor has no fused multiply-add"
    return asked or variants[0], ""


LIBRARY, WHY_NO_LIBRARY = _opened()
VARIANTS = _variants(LIBRARY)
"""What can run here, the best first."""
VARIANT, WHY_NONE = _chosen(VARIANTS)
"""What runs, or None, and why."""
