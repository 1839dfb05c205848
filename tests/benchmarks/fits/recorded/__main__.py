"""Runs fits with whatever daskgmm is first on the path: ``python -m recorded DATA OWN [NAME...]``.

DATA is the folder of what ``fits.data`` wrote, OWN an empty one for outputs. Prints a line of
JSON for each fit.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .kinds import Folders
from .listed import FITS


def _recorded(name: str, folders: Folders) -> dict[str, Any]:
    """What a fit found, or the error that it ended with."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = FITS[name].run(folders)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
    return {"name": name, "seconds": time.perf_counter() - began, **found}


def main(data: str, own: str, *names: str) -> None:
    """Run the named fits, or all."""
    for name in names or FITS:
        print(json.dumps(_recorded(name, Folders(Path(data), Path(own)))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
