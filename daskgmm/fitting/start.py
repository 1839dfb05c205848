"""Start: the parts of a start that are given, and those that mean nothing in a fit's units."""

from __future__ import annotations

from daskgmm.em import GivenStart
from daskgmm.errors import ParameterError
from daskgmm.fitting.fixed import parts_of
from daskgmm.fitting.options import FitOptions
from daskgmm.kernel import gaussians_named

__all__ = ["check_start", "given_start_of"]


def given_start_of(options: FitOptions, n_features: int | None) -> GivenStart:
    """The parts of the start that are given; none of them where the features are not known yet.

    Raises
    ------
    ParameterError
        If one of them is none.
    """
    if n_features is None:
        return GivenStart()
    return GivenStart.checked(
        options.covariance_type,
        (options.n_components, n_features),
        (options.weights_init, options.means_init, options.precisions_init),
        parts_of(options.fixed, options.n_components),
    )


def check_start(options: FitOptions, *, is_projected: bool) -> None:
    """Refuse parts of a start that mean nothing in the units of the fit.

    Parameters
    ----------
    options : FitOptions
    is_projected : bool
        Whether the last fit, from which a warm start goes on, was of projected features.

    Raises
    ------
    ParameterError
    """
    family = gaussians_named(options.covariance_type)
    is_scaled = options.standardize and not family.is_scale_equivariant()
    if options.precisions_init is not None and is_scaled:
        raise ParameterError(
            f"precisions_init of {family.kind} components is in the data's own units, in which "
            f"those of standardised features are not {family.kind}; leave it out, or choose "
            f"covariance_type={family.scaled_family().kind!r}",
            "precisions_init",
        )
    if options.warm_start and is_projected:
        raise ParameterError(
            "warm_start: the last fit was along axes that n_projected found, or without columns "
            "that were constant, which others need not have; set warm_start=False, or fit a new estimator",
            "warm_start",
        )
    if options.n_projected is None:
        return
    along_axes = {"precisions_init": options.precisions_init is not None}
    along_axes["warm_start"] = bool(options.warm_start)
    for name in (name for name, is_given in along_axes.items() if is_given):
        raise ParameterError(
            f"{name} is of axes, which n_projected finds anew by the first read; leave {name} "
            "out: a start can be given by means_init and weights_init",
            name,
        )
