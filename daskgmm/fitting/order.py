"""Order: the components of a fit are put into the order that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import Course, Previous, order_of
from daskgmm.errors import ParameterError
from daskgmm.kernel import Affine, DiagGaussians, Mixture

__all__ = ["check_previous", "in_order"]


def check_previous(previous: Previous, shape: tuple[int, int]) -> None:
    """Refuse ``order="previous"`` where nothing of the shape (K, D) came before.

    Raises
    ------
    ParameterError
    """
    means = previous.means if isinstance(previous, Mixture) else previous
    if means is None or means.shape != shape:
        had = "there is none" if means is None else f"the last one has means of {means.shape}"
        raise ParameterError(
            f"order='previous' needs a model before, of {shape[0]} components of {shape[1]} "
            f"features, and {had}; fit this estimator twice, give means_init, or set another "
            "order",
            "order",
        )


def in_order(
    result: Course, affine: Affine | None, name: str | None, previous: Previous
) -> tuple[Course, NDArray[np.intp] | None]:
    """The result of a fit with its components in the order of a name.

    Parameters
    ----------
    result : Course
    affine : Affine or None
        The map that rows were put through.
    name : str or None
        A key of :data:`daskgmm.em.ORDERS`; None leaves components where they are.
    previous : Mixture, array of shape (K, D), or None
        What ``"previous"`` goes by.

    Returns
    -------
    result : Course
    order : ndarray of shape (K,) or None
        Places that the components had; None if they have them still.
    """
    kept, statistics = result.kept, result.statistics
    by = kept
    if affine is not None and affine.projects:  # the first feature is that of the data
        means = affine.back(kept.means)
        variances = np.broadcast_to(np.square(affine.scale), means.shape)
        by = Mixture(kept.shares, DiagGaussians(means, variances))
    order = order_of(name, by, previous)
    if order is None:
        return result, None
    taken = None if statistics is None else statistics.taken(order)
    return replace(result, kept=kept.take(order), statistics=taken), order
