"""Prior: what options say of the regularisation of a fit."""

from __future__ import annotations

from collections.abc import Mapping

from daskgmm.errors import ParameterError
from daskgmm.fitting.options import FitOptions
from daskgmm.kernel import Affine, RelativeConjugate, RelativeRidge, Ridge

__all__ = ["check_ridge_is_known", "prior_of"]


def prior_of(options: FitOptions, row: float = 1.0) -> RelativeConjugate | RelativeRidge | Ridge:
    """The prior of a fit or an update; a relative one is known once the rows are.

    Parameters
    ----------
    options : FitOptions
    row : float
        Weight of one row, where weights are no counts.

    Raises
    ------
    ParameterError
        If a prior has values that none can have, or does not go together with other options.
    """
    if options.prior is not None:
        return _conjugate_of(options, row)
    if options.reg_covar == "auto":
        return RelativeRidge()
    # In units of standard deviations, which the scan finds.
    if options.standardize not in (False, "robust") and options.n_projected is None:
        return RelativeRidge(float(options.reg_covar), is_bounded=False)
    return Ridge(float(options.reg_covar))


def _conjugate_of(options: FitOptions, row: float) -> RelativeConjugate:
    if options.reg_covar not in ("auto", 0):
        raise ParameterError(
            f"reg_covar={options.reg_covar} beside prior: both keep variances above 0, and with "
            "reg_covar no fit is the maximum a posteriori; leave reg_covar at 'auto', which adds "
            "nothing there, or prior at None",
            "reg_covar",
        )
    given = options.prior if isinstance(options.prior, Mapping) else {}
    prior = RelativeConjugate(**{k: v for k, v in given.items() if v is not None}, row=row)
    is_mapped = bool(options.standardize) or options.n_projected is not None
    if is_mapped and prior.is_of_units:
        raise ParameterError(
            "prior: mean and scale are in units of the data, which standardize and n_projected "
            "replace by others; leave them out, so that they follow the data",
            "prior",
        )
    return prior


def check_ridge_is_known(options: FitOptions, projection: Affine | None) -> None:
    """Refuse a ridge in units of a fit that its model does not keep.

    Raises
    ------
    ParameterError
    """
    if options.standardize == "robust" and projection is None and options.reg_covar != "auto":
        raise ParameterError(
            f"reg_covar={options.reg_covar} is in units of standardize='robust', which cannot be "
            "found again from the model; set_params(reg_covar='auto')",
            "reg_covar",
        )
