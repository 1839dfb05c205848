"""NumPy and SciPy on one block in memory: no Dask, no input or output, no state."""

from daskgmm.kernel.affine import Affine
from daskgmm.kernel.block import Block, Float64Array, PickedBlock
from daskgmm.kernel.components import (
    COMPONENTS,
    Components,
    DiagGaussians,
    Elliptical,
    FullGaussians,
    Gaussians,
    HasConjugatePrior,
    HasCovariances,
    HasTangent,
    PriorTerms,
    SphericalGaussians,
    Students,
    TiedGaussians,
    UncorrelatedGaussians,
    components_named,
    family_of,
    gaussians_named,
    kind_of,
    name_of_kind,
    students_of,
)
from daskgmm.kernel.conditioning import (
    Regression,
    conditional_mixture,
    conditional_moments,
    marginal_mixture,
    regression_of,
)
from daskgmm.kernel.conjugate import Conjugate, RelativeConjugate
from daskgmm.kernel.deconvolution import bytes_with_noise, can_deconvolve, expected_values
from daskgmm.kernel.e_step import (
    DensitySums,
    density_sums,
    e_step,
    labels,
    log_density,
    most_probable,
    probabilities,
    responsibilities,
    squared_distances,
)
from daskgmm.kernel.fixed import NOTHING_FIXED, Fixed, FixedParts
from daskgmm.kernel.gap_rows import GapRows, gap_rows
from daskgmm.kernel.gaps import bytes_with_gaps, has_density_of_parts
from daskgmm.kernel.hashing import drawn_rows, hash_rows
from daskgmm.kernel.imputing import imputed
from daskgmm.kernel.linear_sums import LinearSums
from daskgmm.kernel.mixture import NOISE, Mixture, count_parameters, gaussian_mixture
from daskgmm.kernel.moments import (
    FeatureMoments,
    Moments,
    moments_and_extremes,
    moments_with_gaps,
)
from daskgmm.kernel.noise import Noise, Uniform
from daskgmm.kernel.passes import Pass, Precision
from daskgmm.kernel.prior import Prior, RelativeRidge, Ridge
from daskgmm.kernel.statistics import Statistics, count_sums, weighted_statistics
from daskgmm.kernel.sub_blocks import sub_block_bytes
from daskgmm.kernel.tangent import Coordinates
from daskgmm.kernel.truncated import Neighbourhoods

__all__ = [
    "COMPONENTS",
    "NOISE",
    "NOTHING_FIXED",
    "Affine",
    "Block",
    "Components",
    "Conjugate",
    "Coordinates",
    "DensitySums",
    "DiagGaussians",
    "Elliptical",
    "FeatureMoments",
    "Fixed",
    "FixedParts",
    "Float64Array",
    "FullGaussians",
    "GapRows",
    "Gaussians",
    "HasConjugatePrior",
    "HasCovariances",
    "HasTangent",
    "LinearSums",
    "Mixture",
    "Moments",
    "Neighbourhoods",
    "Noise",
    "Pass",
    "PickedBlock",
    "Precision",
    "Prior",
    "PriorTerms",
    "Regression",
    "RelativeConjugate",
    "RelativeRidge",
    "Ridge",
    "SphericalGaussians",
    "Statistics",
    "Students",
    "TiedGaussians",
    "UncorrelatedGaussians",
    "Uniform",
    "bytes_with_gaps",
    "bytes_with_noise",
    "can_deconvolve",
    "components_named",
    "conditional_mixture",
    "conditional_moments",
    "count_parameters",
    "count_sums",
    "density_sums",
    "drawn_rows",
    "e_step",
    "expected_values",
    "family_of",
    "gap_rows",
    "gaussian_mixture",
    "gaussians_named",
    "has_density_of_parts",
    "hash_rows",
    "imputed",
    "kind_of",
    "labels",
    "log_density",
    "marginal_mixture",
    "moments_and_extremes",
    "moments_with_gaps",
    "most_probable",
    "name_of_kind",
    "probabilities",
    "regression_of",
    "responsibilities",
    "squared_distances",
    "students_of",
    "sub_block_bytes",
    "weighted_statistics",
]
