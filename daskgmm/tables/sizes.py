"""Sizes: what the shape of rows alone rules out, said before memory is planned or a row read."""

from __future__ import annotations

from dask.utils import format_bytes

from daskgmm.errors import DataError, MemoryLimitError
from daskgmm.execution.process_memory import default_limit
from daskgmm.tables.kind import Request

__all__ = ["check_sizes"]

_COPIES = 4
"""Arrays as large as the statistics that a fit holds at the least: means and covariances of
this pass and the last, their factors and precisions."""


def check_sizes(name: str, shape: tuple[int, int], request: Request) -> None:
    """Refuse rows that no mixture of the sizes asked for can be fitted to.

    Raises
    ------
    DataError
        If there are fewer rows than components.
    MemoryLimitError
        If the parameters alone do not fit into memory; where there are more features than
        rows, it asks whether rows and columns are the wrong way round.
    """
    n_rows, n_features = shape
    work = request.work
    if not work.sampled:
        return
    if request.use.alone and work.n_components > n_rows:
        raise DataError(
            f"n_components={work.n_components} must be <= n_samples={n_rows}: lower n_components"
        )
    need = _COPIES * max(mixture.statistics_bytes(n_features) for mixture in work.mixtures)
    limit = default_limit() if request.limit is None else request.limit
    if need > limit:
        hint = (
            "if its rows are the features, transpose it; or else "
            if n_features > n_rows
            else "raise memory_limit, "
        )
        raise MemoryLimitError(
            f"{name} has {n_rows:,} rows and {n_features:,} features: the parameters of "
            f"{work.n_components} components take {format_bytes(need)}, and {format_bytes(limit)} "
            f"may be used; {hint}choose fewer features, or covariance_type='diag'"
        )
