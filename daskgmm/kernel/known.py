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

from daskgmm.kernel.block import Block

__all__ = ["parted"]


def parted(block: Block) -> tuple[Block, Block | None]:
    """The rows of which nothing is known, and the others; None if there are none."""
    if block.known is None:
        return block, None
    is_known = block.known >= 0
    if not is_known.any():
        return replace(block, known=None), None
    return replace(block.take(~is_known), known=None), block.take(is_known)
