"""Starts: the mixtures that EM over all rows begins with, from an estimator's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import (
    N_STARTS,
    STEPPERS,
    GivenStart,
    Rows,
    Scan,
    StartsFitted,
    StartsUnderway,
    Stepper,
    best_of_starts,
    start_mixture,
    statistical_tol,
)
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.execution import in_force
from daskgmm.kernel import Block, Gaussians, Mixture, Ridge, components_named, count_parameters
from daskgmm.kernel.blas import single_thread

__all__ = [
    "given_start",
    "may_move_components",
    "n_near_of",
    "starts_of",
    "stepper_of",
    "tol_of",
]

_FEWEST_TO_TRUNCATE = 200
"""Components; comparing rows with all of fewer costs not much more than choosing."""

_RIVAL = "random_from_data"
"""Makes every second of the starts that compete: k-means sees only the widest components."""


def given_start(model: Any, n_features: int) -> GivenStart:
    """Parts of the start that the user gives, checked before anything is read.

    Raises
    ------
    ParameterError
        If a part has not the mixture's shape, is not finite, or is no weights or no
        inverse covariances.
    """
    law = components_named(model.covariance_type)
    assert issubclass(law, Gaussians)
    k, d = model.n_components, n_features
    shapes = {"weights": (k,), "means": (k, d), "precisions": law.covariance_shape(k, d)}
    parts: dict[str, NDArray[np.float64] | None] = {}
    for name, shape in shapes.items():
        value = getattr(model, f"{name}_init")
        if value is not None:
            try:
                value = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ParameterError(
                    f"{name}_init must be numbers: {error}", f"{name}_init"
                ) from error
            if value.shape != shape:
                raise ParameterError(
                    f"{name}_init must have shape {shape} for {k} components, {d} features "
                    f"and {law.kind} covariances; got {value.shape}",
                    f"{name}_init",
                )
            if not np.isfinite(value).all():
                raise ParameterError(f"{name}_init must be finite", f"{name}_init")
        parts[name] = value
    weights, precisions = parts["weights"], parts["precisions"]
    if weights is not None and (np.any(weights < 0) or abs(weights.sum() - 1.0) > 1e-6):
        raise ParameterError(
            f"weights_init must be at least 0 and sum to 1; they sum to {weights.sum():g}",
            "weights_init",
        )
    try:
        covariances = None if precisions is None else law.inverted(precisions)
    except SingularComponentError as error:
        which = "" if error.component < 0 else f"[{error.component}]"
        raise ParameterError(
            f"precisions_init{which} is not positive definite; give inverse covariances",
            "precisions_init",
        ) from error
    return GivenStart(weights, parts["means"], covariances)


def starts_of(
    model: Any,
    scan: Scan,
    given: GivenStart,
    rng: np.random.RandomState,
    tell: Callable[[StartsUnderway | StartsFitted], None] = lambda event: None,
    known: Sequence[Mixture] = (),
) -> list[Mixture]:
    """Mixtures to run EM over all rows from, on the same passes.

    Each round of starts that compete on the sample is told of. With mixtures that are known to
    be near good ones, which compete as well, half as many starts are made.

    Raises
    ------
    ParameterError
        If ``warm_start`` is asked for and the last fit was of another problem.
    """

    def start_from(scan: Scan, init_params: str = model.init_params) -> Mixture:
        return start_mixture(
            scan,
            n_components=model.n_components,
            covariance_type=model.covariance_type,
            init_params=init_params,
            prior=Ridge(model.reg_covar),
            rng=rng,
            given=given,
        )

    if _is_warm(model):
        return [_warm_start(model, scan.sample.n_features)]
    if given.complete:
        return [start_from(scan)]
    with single_thread():  # sums of a BLAS of many would depend on how many there are
        if not model.progressive:
            return [start_from(scan) for _ in range(model.n_init)]
        kinds = dict.fromkeys((model.init_params, _RIVAL))
        return best_of_starts(
            scan,
            [partial(start_from, init_params=kind) for kind in kinds],
            n_components=model.n_components,
            n_starts=1
            if given.means is not None
            else max(model.n_init, N_STARTS // 2 if known else N_STARTS),
            n_kept=model.n_init,
            prior=Ridge(model.reg_covar),
            n_threads=in_force().local_threads,
            exchanges=may_move_components(model, given),
            known=known,
            tell=tell,
        )


def may_move_components(model: Any, given: GivenStart) -> bool:
    """Whether a component may be taken to where one is missing: not one that the user placed."""
    return bool(model.progressive) and given.means is None and not _is_warm(model)


def _is_warm(model: Any) -> bool:
    return bool(model.warm_start) and hasattr(model, "weights_")


def stepper_of(
    model: Any, sample: Block, n_threads: int, given: GivenStart | None = None
) -> Stepper:
    """How parameters follow from a pass, made anew for each start.

    Whoever gives the whole start, or wants no sample fitted, gets what he would get of
    EM anywhere else, unless he asks for more.
    """
    name = model.stepper
    if name == "auto":
        whole = given is not None and given.complete
        few_passes = model.progressive and not whole and model.truncate is None
        name = "surrogate" if few_passes else "plain"
    return STEPPERS[name](Ridge(model.reg_covar), sample, n_threads)


def n_near_of(model: Any) -> int | None:
    """With how many components near it a row is compared; None for all.

    Raises
    ------
    ParameterError
        If there is too little to leave out, or the stepper holds bounds of different
        neighbourhoods against each other.
    """
    if model.truncate is None:
        return None
    k = model.n_components
    if k < _FEWEST_TO_TRUNCATE:
        raise ParameterError(
            f"truncate={model.truncate} with n_components={k}: below {_FEWEST_TO_TRUNCATE} "
            "components it would save nothing; set truncate=None",
            "truncate",
        )
    if model.truncate >= k:
        raise ParameterError(
            f"truncate={model.truncate} leaves none of n_components={k} out; "
            "lower it, or set truncate=None",
            "truncate",
        )
    if model.stepper not in ("auto", "plain"):
        raise ParameterError(
            f"truncate={model.truncate} with stepper={model.stepper!r}: what a pass finds is a "
            "bound, which that stepper cannot compare between passes; set stepper='plain'",
            "truncate",
        )
    return int(model.truncate)


def tol_of(model: Any, rows: Rows) -> float:
    """What the stop rule compares with."""
    if model.tol != "auto":
        return float(model.tol)
    p = count_parameters(model.covariance_type, model.n_components, rows.n_features)
    return statistical_tol(p, rows.total_weight)


def _warm_start(model: Any, n_features: int) -> Mixture:
    """The last fit's mixture, if the new fit is of the same problem."""
    last: Mixture = model._mixture
    asked = (model.n_components, n_features, model.covariance_type)
    had = (last.n_components, last.n_features, last.kind)
    if asked != had:
        raise ParameterError(
            "warm_start: the last fit had (n_components, n_features, covariance_type) = "
            f"{had}, this one has {asked}; set warm_start=False, or fit a new estimator",
            "warm_start",
        )
    return last
