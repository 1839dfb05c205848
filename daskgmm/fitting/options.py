"""Options of a fit as attributes with types: the parameters of the estimator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from daskgmm.em import Missing
from daskgmm.kernel import Precision
from daskgmm.keywords import suggesting

__all__ = ["FitOptions"]


class FitOptions:
    """The parameters of :class:`~daskgmm.GaussianMixture`, which says what each is.

    The estimator inherits the signature, which scikit-learn reads, and is what functions here are
    given. So a parameter has its name, type and default in one place beside its row in
    :data:`daskgmm.settings.OPTIONS`, against which a test holds them. As scikit-learn wants it,
    values are kept as they were given, and are checked when a fit begins, by
    :func:`daskgmm.settings.check_options`.
    """

    @suggesting()
    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float | str = "auto",
        reg_covar: float | str = "auto",
        prior: str | Mapping[str, Any] | None = None,
        max_iter: int = 100,
        reads: int | None = None,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        order: str | None = None,
        verbose: int = 0,
        verbose_interval: int = 1,
        stopping: str = "gap",
        stepper: str = "auto",
        progressive: bool = True,
        precision: Precision = "auto",
        truncate: int | None = None,
        standardize: bool | str = False,
        n_projected: float | None = None,
        on_collapse: str = "reseed",
        constant: str = "error",
        missing: Missing = "error",
        noise: bool | float | None = None,
        tails: str | None = None,
        degrees_of_freedom: str | float = "shared",
        fixed: Mapping[str, Any] | None = None,
        memory_limit: int | str | None = None,
        stage: str | os.PathLike[str] | None = None,
        stage_limit: int | str | None = None,
        stage_dtype: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        resume: bool = False,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.prior = prior
        self.max_iter = max_iter
        self.reads = reads
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.order = order
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.stopping = stopping
        self.stepper = stepper
        self.progressive = progressive
        self.precision = precision
        self.truncate = truncate
        self.standardize = standardize
        self.n_projected = n_projected
        self.on_collapse = on_collapse
        self.constant = constant
        self.missing = missing
        self.noise = noise
        self.tails = tails
        self.degrees_of_freedom = degrees_of_freedom
        self.fixed = fixed
        self.memory_limit = memory_limit
        self.stage = stage
        self.stage_limit = stage_limit
        self.stage_dtype = stage_dtype
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
