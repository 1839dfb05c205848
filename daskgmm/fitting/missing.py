"""Missing: options that do not go together with rows that count by the values that they have."""

from __future__ import annotations

from daskgmm.errors import ParameterError
from daskgmm.fitting.options import FitOptions

__all__ = ["check_missing"]


def check_missing(options: FitOptions) -> None:
    """Refuse options that need all features of a row, where ``missing`` is ``"em"``.

    Raises
    ------
    ParameterError
    """
    if options.missing != "em":
        return
    refused = {
        "tails": (options.tails, "t components have no steps of EM for rows with gaps"),
        "noise": (options.noise or None, "noise has a density over the box of all features"),
        "truncate": (options.truncate, "near components are found by all features"),
        "n_projected": (options.n_projected, "axes are sums of all features"),
        "constant": (options.constant == "drop" or None, "rows would be mapped as a whole"),
    }
    for name, (value, why) in refused.items():
        if value is not None:
            given = getattr(options, name)
            raise ParameterError(
                f"{name}={given!r} and missing='em' do not go together: {why}; leave {name} out, or "
                "set missing='drop', which leaves rows with gaps out",
                "missing",
            )
