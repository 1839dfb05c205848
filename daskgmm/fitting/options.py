"""Options of a fit as attributes with types: what is read here of an estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from daskgmm.em import Missing
from daskgmm.kernel import Precision

__all__ = ["FitOptions"]


class FitOptions(Protocol):
    """Whatever has these parameters of :class:`~daskgmm.GaussianMixture`, which says what each is.

    Their values have been checked by :func:`daskgmm.settings.check_options`.
    """

    n_components: int
    covariance_type: str
    tol: float | str
    reg_covar: float | str
    prior: str | Mapping[str, Any] | None
    max_iter: int
    reads: int | None
    n_init: int
    init_params: str
    weights_init: Any
    means_init: Any
    precisions_init: Any
    warm_start: bool
    order: str | None
    stopping: str
    stepper: str
    progressive: bool
    precision: Precision
    truncate: int | None
    standardize: bool | str
    n_projected: float | None
    on_collapse: str
    constant: str
    missing: Missing
    noise: bool | float | None
    tails: str | None
    degrees_of_freedom: str | float
    fixed: Mapping[str, Any] | None
