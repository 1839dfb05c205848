"""Finite: values that cannot be used are found where rows are read, and named by their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.errors import NonFiniteError
from daskgmm.kernel import Block, Float64Array

__all__ = ["NonFinite", "are_usable", "check_finite", "find_non_finite"]

_LARGEST = 1e150
"""Largest absolute value that is accepted: float64 cannot sum the squares of larger ones."""
_WAY_ON = "remove or impute these rows"
_WAYS_WITH_NAN = (
    f'{_WAY_ON}, or leave those with NaN out with missing="drop" (--missing drop), or take NaN for '
    'values that are not known with missing="em" (--missing em)'
)


@dataclass(frozen=True)
class NonFinite:
    """Number and first place of values that cannot be used: NaN, infinite or beyond 1e150."""

    count: int
    row: int
    column: int
    value: float

    def error(self, note: str = "") -> NonFiniteError:
        """The exception to raise.

        ``note`` is a hint from the store on where NaN may come from, such as the fill value; it is
        empty if there is none.
        """
        if np.isfinite(self.value):
            return NonFiniteError(
                f"the data contain values beyond {_LARGEST:g} in size, whose squares overflow: "
                f"{self.count}, the first at row {self.row}, column ",
                self.column,
                f" ({self.value:g}); rescale the data, or remove these rows",
            )
        return NonFiniteError(
            f"the data contain NaN or infinity: {self.count} value{'s' * (self.count > 1)}, "
            f"the first at row {self.row}, column ",
            self.column,
            f" ({self.value}); "
            + (f"{note}; " if note else "")
            + (_WAYS_WITH_NAN if np.isnan(self.value) else _WAY_ON),
        )


def are_usable(mean: Float64Array, minimum: Float64Array, maximum: Float64Array) -> bool:
    """Whether values of these means and extremes, (D,), are all finite and within 1e150.

    Extremes may skip NaN; means do not.
    """
    are_within = minimum.min() >= -_LARGEST and maximum.max() <= _LARGEST
    return bool(are_within and np.isfinite(mean).all())


def find_non_finite(block: Block) -> NonFinite | None:
    """Values that cannot be used in a block's rows of weight above 0; None if there are none."""
    x = block.x
    # min and max are NaN or infinite if any value is, so the usual block needs no mask.
    if len(x) == 0 or -_LARGEST <= float(x.min()) <= float(x.max()) <= _LARGEST:
        return None
    with np.errstate(over="ignore"):  # as float32 the bound is infinite, which nothing exceeds
        bad = ~np.isfinite(x) | (np.abs(x) > _LARGEST)
    if block.has_gaps:
        bad &= ~np.isnan(x)
    if block.weight is not None:
        bad &= block.weight[:, None] > 0
    if not bad.any():
        return None
    non_finite = bad & ~np.isfinite(x)
    bad = non_finite if non_finite.any() else bad
    row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return NonFinite(int(bad.sum()), block.start + row, column, float(x[row, column]))


def check_finite(block: Block) -> None:
    """Raise NonFiniteError if a row of weight above 0 has a value that cannot be used."""
    if (bad := find_non_finite(block)) is not None:
        raise bad.error()
