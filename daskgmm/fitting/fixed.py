"""Fixed: the parts of a start that a fit is to leave as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.fitting.options import FitOptions
from daskgmm.kernel import FixedParts, Mixture, family_of, gaussians_named

__all__ = ["check_numbered", "fixed_of", "parts_of"]

_STARTS = {"weights": "weights_init", "means": "means_init", "covariances": "precisions_init"}
"""What each part can be given by."""


def parts_of(fixed: Mapping[str, Any] | None, n_components: int) -> FixedParts:
    """The components that a parameter ``fixed`` names."""
    named = {} if fixed is None else fixed
    everyone = range(n_components)
    return FixedParts(
        **{
            part: tuple(everyone if isinstance(which, str) else sorted(map(int, np.ravel(which))))
            for part, which in named.items()
        }
    )


def fixed_of(options: FitOptions, last: Mixture | None = None) -> FixedParts:
    """The parts that a fit leaves as the start has them.

    Parameters
    ----------
    options : FitOptions
    last : Mixture, optional
        The start of a warm start or an update. Otherwise parts are given by ``weights_init``,
        ``means_init`` and ``precisions_init``.

    Raises
    ------
    ParameterError
        If there are no such components, if nothing says at what they are fixed, or if other
        options would move or renumber them.
    """
    fixed = parts_of(options.fixed, options.n_components)
    if fixed:
        problem = next((said for is_so, said in _wrong(options, fixed, last) if is_so), None)
        if problem is not None:
            raise ParameterError(f"fixed: {problem}", "fixed")
    return fixed


def _wrong(
    options: FitOptions, fixed: FixedParts, last: Mixture | None
) -> Sequence[tuple[bool, str]]:
    k = options.n_components
    named = {part: getattr(fixed, part) for part in _STARTS}
    beyond = max((max(which, default=0) for which in named.values()), default=0)
    lacking = [
        f"{_STARTS[part]} for {part}"
        for part, which in named.items()
        if which and getattr(options, _STARTS[part]) is None
    ]
    is_other = last is not None and (last.n_components, family_of(last.kind)) != (
        k,
        options.covariance_type,
    )
    return (
        (beyond >= k, f"there is no component {beyond} of n_components={k}; count from 0"),
        (
            gaussians_named(options.covariance_type).couples_covariances
            and 0 < len(fixed.covariances) < k,
            f"covariances of {options.covariance_type} components depend on each other, and are fixed "
            "for all or for none; say covariances='all'",
        ),
        (
            bool(lacking) and last is None,
            f"nothing says at what; give {' and '.join(lacking)}",
        ),
        (
            is_other,
            f"the last fit has not {k} {options.covariance_type} components, of which parts could "
            "stay; set warm_start=False, and give the start",
        ),
        (
            len(fixed.weights) == k and options.noise not in (None, False),
            "weights that are all fixed leave nothing for noise; fix fewer, or leave noise out",
        ),
        *_renumbered(options),
        (
            options.n_projected is not None,
            "axes that n_projected finds are those of no part that is given; leave one of them out",
        ),
    )


def _renumbered(options: FitOptions) -> Sequence[tuple[bool, str]]:
    return (
        (
            options.order is not None,
            f"components are named by number, which order={options.order!r} changes; leave order "
            "out (None)",
        ),
        (
            options.on_collapse == "prune",
            "components are named by number, which on_collapse='prune' changes; set 'error'",
        ),
    )


def check_numbered(options: FitOptions) -> None:
    """Refuse labels of components that options would give other numbers.

    Raises
    ------
    ParameterError
    """
    problem = next((said for is_so, said in _renumbered(options) if is_so), None)
    if problem is not None:
        raise ParameterError(f"labels: {problem}")
