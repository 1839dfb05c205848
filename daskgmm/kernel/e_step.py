"""E-step: a block of rows under a mixture.

Rows are processed in sub-blocks that stay in the processor's cache: the size of temporaries
depends only on the numbers of features and components, and no array of (rows x K) is made
unless it is the result. Each sub-block is transposed once to feature-major, so that sums over
features or components run along contiguous memory. Arithmetic is float64 whatever the dtype of
the block; only a :class:`~daskgmm.kernel.Pass` may work in float32.

Where a value is NaN, and the mixture has a density of parts of a row, what is said of the row is said
given the other features: see :mod:`daskgmm.kernel.gaps`. Rows of NaN alone are for the caller. Where
values have measurement noise, of variances ``noise`` (n_rows, D), or of covariances (n_rows, D, D),
densities are those of measured rows: see :mod:`daskgmm.kernel.deconvolution`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.deconvolution import deconvolved_rows
from daskgmm.kernel.formulations import formulation_of
from daskgmm.kernel.formulations.sub_blocked import Evaluation, normalise
from daskgmm.kernel.gap_rows import others
from daskgmm.kernel.gaps import completed_rows, gaps_in, log_densities_with_gaps
from daskgmm.kernel.mixture import NOISE, Mixture
from daskgmm.kernel.passes import Pass
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = [
    "DensitySums",
    "density_sums",
    "e_step",
    "labels",
    "log_density",
    "most_probable",
    "probabilities",
    "responsibilities",
    "squared_distances",
]


_FLOAT64 = np.dtype(np.float64)


def e_step(block: Block, mixture: Mixture) -> Statistics:
    """Expected sufficient statistics of one block of rows, in float64.

    Parameters
    ----------
    block : Block
    mixture : Mixture

    Returns
    -------
    Statistics
        About the mixture's means. ``e_step(a) + e_step(b)`` equals the E-step of the rows
        of both up to rounding; a weight of 2 equals the row given twice, and a row of weight
        0 counts for nothing.

    Raises
    ------
    DataError
        If the rows have another number of features than the mixture.
    SingularComponentError
        ``error.component`` names the covariance that could not be factored.

    References
    ----------
    Xu and Jordan (1996), On convergence properties of the EM algorithm for
    Gaussian mixtures.
    """
    one = Pass(mixture)
    return one.complete(one.of(block))


def log_density(
    x: NDArray[Any], mixture: Mixture, noise: Float64Array | None = None
) -> Float64Array:
    """Log density of each row, in nats, shape (n_rows,), float64; raises as :func:`e_step`."""
    if noise is None:
        gaps = gaps_in(x, mixture)
        if gaps is not None:
            return log_densities_with_gaps(x, gaps, mixture)
        return formulation_of(mixture, _FLOAT64).log_densities(x)
    found = np.empty(len(x))
    for span, _, joint in deconvolved_rows(x, noise, mixture):
        found[span] = normalise(joint, bounded=False)[1]
    return found


def responsibilities(
    x: NDArray[Any], mixture: Mixture, noise: Float64Array | None = None
) -> Float64Array:
    """Probability of each component given each row, (n_rows, K), float64; raises as log_density.

    Those of a row sum to 1, or to what noise leaves of that: see :func:`probabilities`.
    """
    out = np.empty((len(x), mixture.n_components))
    for evaluation, rows, joint in _joints(x, mixture, noise):
        resp, _ = evaluation.normalised(joint)
        out[rows] = resp.T
    return out


def probabilities(
    x: NDArray[Any], mixture: Mixture, noise: Float64Array | None = None
) -> Float64Array:
    """Probability of each of ``mixture.classes`` given each row, noise after the K components.

    It is :func:`responsibilities` where there is no noise; raises as that.
    """
    if mixture.noise is None:
        return responsibilities(x, mixture, noise)
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    out = np.empty((len(x), mixture.n_components + 1))
    for span, x_t in sub_blocks(x, mixture.n_components):
        resp, log_total = evaluation.normalised(evaluation.joint(x_t))
        out[span, :-1] = resp.T
        np.exp(evaluation.noise - log_total, out=out[span, -1])
    return out


def labels(
    x: NDArray[Any], mixture: Mixture, noise: Float64Array | None = None
) -> NDArray[np.int64]:
    """Most probable component of each row, or -1 for noise, (n_rows,); raises as :func:`e_step`."""
    out = np.empty(len(x), dtype=np.int64)
    for evaluation, rows, joint in _joints(x, mixture, noise):
        best = np.argmax(joint, axis=0)
        if mixture.noise is not None:
            best[joint.max(axis=0) < evaluation.noise] = NOISE
        out[rows] = best
    return out


def squared_distances(x: NDArray[Any], mixture: Mixture) -> Float64Array:
    """Squared Mahalanobis distance of each row to its most probable component, (n_rows,).

    ``-2 log N(x | mu_k, Sigma_k)`` above that at the mean, k as of :func:`labels`; raises as
    :func:`e_step`.
    """
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    heights = mixture.log_heights - evaluation.offset
    out = np.empty(len(x))
    for span, x_t in sub_blocks(x, mixture.n_components):
        joint = evaluation.joint(x_t)
        best = np.argmax(joint, axis=0)
        out[span] = 2.0 * (heights[best] - joint[best, np.arange(len(best))])
    return np.maximum(out, 0.0, out=out)  # at a mean, rounding may leave -1e-16


def most_probable(
    x: NDArray[Any], mixture: Mixture, n: int, noise: Float64Array | None = None
) -> tuple[NDArray[np.int64], Float64Array]:
    """The n most probable classes of each row, and their probabilities; raises as :func:`e_step`.

    Returns
    -------
    labels, found : ndarray of shape (n_rows, min(n, number of classes)), int64 and float64
        The most probable first, and of equal ones the component of lower index: the first column
        is that of :func:`labels`, and probabilities have the bits of :func:`probabilities`.
    """
    classes = np.array(mixture.classes)
    shape = len(x), min(n, len(classes))
    components, found = np.empty(shape, np.int64), np.empty(shape)
    for evaluation, rows, joint in _joints(x, mixture, noise):
        resp, log_total = evaluation.normalised(joint)
        if mixture.noise is not None:
            joint = np.vstack([joint, np.full_like(joint[:1], evaluation.noise)])
            resp = np.vstack([resp, np.exp(evaluation.noise - log_total)])
        # Without -inf, so that a component that was taken is below all others.
        np.maximum(joint, np.finfo(joint.dtype).min, out=joint)
        columns = np.arange(joint.shape[1])
        for rank in range(shape[1]):
            best = np.argmax(joint, axis=0)
            components[rows, rank] = classes[best]
            found[rows, rank] = resp[best, columns]
            joint[best, columns] = -np.inf
    return components, found


class DensitySums(NamedTuple):
    """Weighted sums over the rows of a block.

    Attributes
    ----------
    log_likelihood : float
        Sum of the log densities, in nats.
    log_decided : float
        Sum of the log probabilities of each row's likeliest class. At most 0, and 0 if
        every assignment is certain; ``ICL = BIC - 2 * log_decided``.
    """

    log_likelihood: float
    log_decided: float


def density_sums(block: Block, mixture: Mixture) -> DensitySums:
    """Log-likelihood and certainty of assignments of a block; raises as :func:`e_step`."""
    block = block.present()
    log_likelihood, log_decided, offsets = 0.0, 0.0, 0.0
    for evaluation, rows, joint in _joints(block.x, mixture, block.measurement_noise):
        resp, log_total = evaluation.normalised(joint)
        likeliest = np.maximum(resp.max(axis=0), np.exp(evaluation.noise - log_total))
        decided = np.log(likeliest)
        weight = float(len(log_total))
        if block.weight is not None:
            of_rows = block.weight[rows]
            log_total, decided, weight = log_total * of_rows, decided * of_rows, of_rows.sum()
        offsets += weight * evaluation.offset
        log_likelihood += float(log_total.sum())
        log_decided += float(decided.sum())
    return DensitySums(log_likelihood + float(offsets), log_decided)


class _OfMeasured:
    """What an evaluation says of log densities of rows with gaps or noise, which have none."""

    offset = 0.0
    noise = -np.inf

    def normalised(self, joint: Float64Array) -> tuple[Float64Array, Float64Array]:
        return normalise(joint, bounded=False)


def _joints(
    x: NDArray[Any], mixture: Mixture, noise: Float64Array | None = None
) -> Iterator[tuple[Evaluation | _OfMeasured, Any, Float64Array]]:
    """Joint log densities (K, n) of some rows at a time, what they are relative to, and which rows.

    Those of rows in which features are missing, NaN, are of the others, after all complete rows.
    """
    if noise is not None:
        for span, _, joint in deconvolved_rows(x, noise, mixture):
            yield _OfMeasured(), span, joint
        return
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    gaps = gaps_in(x, mixture)
    if gaps is None:
        for span, x_t in sub_blocks(x, mixture.n_components):
            yield evaluation, span, evaluation.joint(x_t)
        return
    complete = others(len(x), gaps.rows)
    for span, x_t in sub_blocks(x.take(complete, axis=0), mixture.n_components):
        yield evaluation, complete[span], evaluation.joint(x_t)
    for rows, _, joint in completed_rows(x, gaps, mixture):
        yield _OfMeasured(), rows, joint
