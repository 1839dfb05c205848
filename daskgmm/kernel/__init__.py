"""NumPy and SciPy on one block in memory: no Dask, no input or output, no state."""

from daskgmm.kernel.compilation import must_compile, warm_up
from daskgmm.kernel.coordinates import Coordinates
from daskgmm.kernel.e_step import (
    e_step,
    labels,
    log_density,
    log_density_sums,
    responsibilities,
    weighted_statistics,
)
from daskgmm.kernel.families import FAMILIES, Family, family_named
from daskgmm.kernel.m_step import m_step
from daskgmm.kernel.mixture import Mixture, n_parameters
from daskgmm.kernel.moments import Moments, moments_and_extremes
from daskgmm.kernel.shared_scatter import can_share_scatter, linear_statistics, with_scatter
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import sub_block_bytes
from daskgmm.kernel.truncated import Neighbourhoods

__all__ = [
    "FAMILIES",
    "Coordinates",
    "Family",
    "Mixture",
    "Moments",
    "Neighbourhoods",
    "Statistics",
    "can_share_scatter",
    "e_step",
    "family_named",
    "labels",
    "linear_statistics",
    "log_density",
    "log_density_sums",
    "m_step",
    "moments_and_extremes",
    "must_compile",
    "n_parameters",
    "responsibilities",
    "sub_block_bytes",
    "warm_up",
    "weighted_statistics",
    "with_scatter",
]
