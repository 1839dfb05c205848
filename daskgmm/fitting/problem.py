"""Problem: the options of a fit as what is to be fitted and how."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from daskgmm.em import Problem, Scaling
from daskgmm.errors import ParameterError
from daskgmm.execution import in_force
from daskgmm.fitting.fixed import fixed_of
from daskgmm.fitting.missing import check_missing
from daskgmm.fitting.options import FitOptions
from daskgmm.fitting.prior import prior_of
from daskgmm.fitting.start import given_start_of
from daskgmm.kernel import Mixture, kind_of
from daskgmm.settings import OPTIONS

__all__ = ["kind_asked", "of_passes", "problem_of"]

_MADE = {"fixed", "noise", "prior", "progressive", "reads"}
"""Options from which :func:`problem_of` makes the field of the same name."""
_AS_GIVEN = {field.name for field in fields(Problem)} & {one.name for one in OPTIONS} - _MADE
"""Options that it passes on unchanged to the field of the same name."""


def problem_of(
    options: FitOptions, n_features: int | None = None, last: Mixture | None = None
) -> Problem:
    """What is to be fitted and how, as :func:`daskgmm.em.fit` takes it.

    Parameters
    ----------
    options : FitOptions
    n_features : int, optional
        Of the rows: without, parts of the start that are given are left out.
    last : Mixture, optional
        Result of the fit before, from which a warm start goes on.

    Raises
    ------
    ParameterError
        If parameters contradict each other, or a given part of the start is none.
    """
    check_missing(options)
    return Problem(
        kind=kind_asked(options),
        prior=prior_of(options),
        reads=None if options.reads is None else int(options.reads),
        progressive=bool(options.progressive),
        n_near=None if options.truncate is None else int(options.truncate),
        n_threads=in_force().local_threads,
        given=given_start_of(options, n_features),
        last=last,
        scaling=_scaling_of(options),
        noise=_noise_of(options),
        fixed=fixed_of(options, last),
        **{name: getattr(options, name) for name in _AS_GIVEN},
    )


def of_passes(options: FitOptions) -> dict[str, Any]:
    """Parameters of a :class:`~daskgmm.em.Problem` that say how passes are made and when they end.

    They mean the same for fits and for updates.
    """
    return {
        "stopping": options.stopping,
        "max_iter": options.max_iter,
        "stepper": options.stepper,
        "precision": options.precision,
        "n_threads": in_force().local_threads,
    }


def kind_asked(options: FitOptions) -> str:
    """Kind of the components: of Gaussians, or of t components over them.

    Raises
    ------
    ParameterError
        If degrees of freedom are given without tails.
    """
    degrees = options.degrees_of_freedom
    if options.tails is None:
        if degrees != "shared":
            raise ParameterError(
                f"degrees_of_freedom={degrees!r} is of t components; set tails='t', or leave it out",
                "degrees_of_freedom",
            )
        return options.covariance_type
    if not isinstance(degrees, str):
        degrees = float(degrees)
    return kind_of(options.covariance_type, degrees)


def _noise_of(options: FitOptions) -> bool | float:
    """Whether there is noise, over the box of all rows; or the volume of its region."""
    given = options.noise
    if given is None or isinstance(given, bool | np.bool_):
        return bool(given)
    return float(given)


def _scaling_of(options: FitOptions) -> Scaling | None:
    """The map that rows are put through; None where they are fitted as they are.

    Raises
    ------
    ParameterError
        If constant features are to be left out of rows whose densities are mapped back.
    """
    scaling = Scaling(options.standardize, options.n_projected)
    if not scaling.is_needed(options.covariance_type, options.stopping):
        scaling = Scaling()
    if options.constant != "drop":
        return scaling if scaling.needs_scan else None
    if scaling.standardize and scaling.n_projected is None:
        raise ParameterError(
            f"constant='drop' does not go with standardize={scaling.standardize!r} and "
            f"{options.covariance_type!r} covariances; drop constant columns from the data, or set "
            "n_projected",
            "constant",
        )
    return replace(scaling, drops=True)
