"""Known: rows whose component is known, in an E-step.

Such a row has the responsibility 1 for its component, and its term of the log-likelihood is
``log w_k + log f_k(x)``, the log density of row and label together. So EM climbs the likelihood of
partially classified data.

References
----------
O'Neill (1978), Normal discrimination with unclassified observations.
Nigam, McCallum, Thrun and Mitchell (2000), Text classification from labeled and unlabeled documents
using EM.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from daskgmm.kernel.block import Block
from daskgmm.kernel.deconvolution import deconvolved_statistics
from daskgmm.kernel.gaps import statistics_with_gaps
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["known_statistics", "parted"]


def parted(block: Block) -> tuple[Block, Block | None]:
    """The block with weights of 0 for rows that are known, and these rows; None if there are none.

    Copying all others would take longer than passes take over the few.
    """
    if block.known is None:
        return block, None
    known = np.flatnonzero(block.known >= 0)
    if len(known) == 0:
        return replace(block, known=None), None
    weight = block.weights.copy()
    weight[known] = 0.0
    return replace(block, weight=weight, known=None), block.take(known)


def known_statistics(block: Block, mixture: Mixture, dtype: np.dtype[Any]) -> Statistics:
    """Statistics of rows all of whose components are known.

    Arithmetic on rows with gaps and without noise is in ``dtype``; all other is in float64.
    """
    assert block.known is not None
    log_likelihood = float(block.weights @ mixture.log_weights[block.known])
    is_plain = not block.has_gaps and block.measurement_noise is None
    of_rows = _complete(block, mixture) if is_plain else _by_component(block, mixture, dtype)
    log_likelihood += of_rows.log_likelihood
    weight = block.total_weight
    return replace(of_rows, n_rows=len(block), weight=weight, log_likelihood=log_likelihood)


def _complete(block: Block, mixture: Mixture) -> Statistics:
    """Sums of complete rows, which are few: all components are tried, whose factors are there."""
    assert block.known is not None
    total, log_likelihood = Statistics.zero(mixture.means, mixture.kind, mixture.uniform), 0.0
    for span, x_t in sub_blocks(block.x, mixture.n_components):
        known, weights = block.known[span], block.weights[span]
        rows = np.arange(len(known))
        resp = np.zeros((mixture.n_components, len(known)))
        resp[known, rows] = weights
        mixture.components.add_expected(total.sums, x_t, resp)
        found = mixture.components.log_densities(x_t)
        log_likelihood += float(weights @ found[known, rows])
    return replace(total, log_likelihood=log_likelihood)


def _by_component(block: Block, mixture: Mixture, dtype: np.dtype[Any]) -> Statistics:
    """Sums of rows with gaps or noise: those of each component are fitted by it alone."""
    assert block.known is not None
    total, log_likelihood = Statistics.zero(mixture.means, mixture.kind, mixture.uniform), 0.0
    for number in np.unique(block.known):
        one = Mixture(np.ones(1), mixture.components.take([number]))
        rows = replace(block.take(block.known == number), known=None)
        if rows.measurement_noise is None:
            part = statistics_with_gaps(rows, one, dtype)
        else:
            part = deconvolved_statistics(rows, one)
        mixture.components.add_at(total.sums, [number], part.sums)
        log_likelihood += part.log_likelihood
    return replace(total, log_likelihood=log_likelihood)
