"""Measurement noise: options that do not go together with rows whose values have it."""

from __future__ import annotations

from daskgmm.errors import ParameterError
from daskgmm.fitting.options import FitOptions

__all__ = ["check_measurement_noise"]


def check_measurement_noise(options: FitOptions) -> None:
    """Refuse options of a fit that rows with measurement noise cannot have.

    Raises
    ------
    ParameterError
    """
    refused = {
        "tails": (options.tails, "t components have no density of rows with noise"),
        "noise": (options.noise or None, "uniform noise has none that depends on a row's own"),
        "truncate": (options.truncate, "which components are near depends on a row's noise"),
        "n_projected": (options.n_projected, "noise along axes is not that of single features"),
        "constant": (options.constant == "drop" or None, "rows would be mapped as a whole"),
    }
    for name, (value, why) in refused.items():
        if value is not None:
            given = getattr(options, name)
            raise ParameterError(
                f"{name}={given!r} and measurement_noise do not go together: {why}; leave one of them "
                "out",
                name,
            )
