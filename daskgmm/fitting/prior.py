"""Prior: what options say of the regularisation of a fit."""

from __future__ import annotations

import numpy as np

from daskgmm.fitting.options import FitOptions
from daskgmm.kernel import Affine, RelativeRidge, Ridge

__all__ = ["in_units_of_data", "prior_of"]


def prior_of(options: FitOptions) -> RelativeRidge | Ridge:
    """The prior of a fit or an update; a relative one is known once the rows are."""
    if options.reg_covar == "auto":
        return RelativeRidge()
    # In units of standard deviations, which the scan finds.
    if options.standardize not in (False, "robust") and options.n_projected is None:
        return RelativeRidge(float(options.reg_covar))
    return Ridge(float(options.reg_covar))


def in_units_of_data(prior: RelativeRidge | Ridge, affine: Affine | None) -> RelativeRidge | Ridge:
    """The prior of a fit to mapped rows for a mixture that was mapped back; None maps nothing."""
    if affine is None or not isinstance(prior, Ridge):
        return prior
    return Ridge(prior.reg_covar * np.square(affine.scale))
