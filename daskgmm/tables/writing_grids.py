"""Writing grids: results of cells as a group that xarray writes, on the cells' own dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import dask
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm.em import Missing, of_present
from daskgmm.execution import in_force
from daskgmm.kernel import Block, Mixture
from daskgmm.storage import Location, atomic_output, consolidate
from daskgmm.tables.returned import Result
from daskgmm.tables.writing import Asked, group_attributes
from daskgmm.tables.xarrays import filled_variables

__all__ = ["gaps_to_fill", "write_on_grid"]


_CODING_OF_VALUES = (
    *("units", "calendar", "dtype"),
    *("scale_factor", "add_offset", "_FillValue", "missing_value"),
)
"""Keys of a coordinate's encoding that say what its stored values mean. Others, such as chunks and codecs,
belong to the store that it was read from, and a store of another format of Zarr may refuse them."""


def _nth(block: Block, mixture: Mixture, *, result: Result, n: int) -> NDArray[Any]:
    """One of the arrays of a result."""
    return result.function(block, mixture)[n]


def gaps_to_fill(block: Block) -> NDArray[np.int64]:
    """Missing values of each row that has others, (n_rows,)."""
    is_missing = np.isnan(block.x)
    found: NDArray[np.int64] = is_missing.sum(axis=1)
    return np.where(found < block.n_features, found, 0)


def _dataset(asked: Asked, mixture: Mixture, missing: Missing) -> Any:
    """The results as a lazy Dataset."""
    from xarray import Dataset  # here, since only its users have it

    opened, arrays = asked.opened, dict[str, Any]()
    assert opened.laid_out is not None
    for result in asked.results:
        for n, array in enumerate(result.arrays(asked.classes)):
            function = partial(_nth, result=result, n=n)
            how: dict[str, Any] = {"dtype": array.dtype, "columns": (array.shape or (None,))[0]}
            found = opened.rows.map(of_present, function, mixture, array.fill, missing, **how)
            cells = opened.laid_out(found, array)
            arrays |= _as_variables(cells, asked) if result.are_rows else {array.name: cells}
    found = Dataset(arrays, attrs=group_attributes(asked))
    for coordinate in found.coords.values():
        coordinate.encoding = {
            k: v for k, v in coordinate.encoding.items() if k in _CODING_OF_VALUES
        }
    return found


def _as_variables(cells: Any, asked: Asked) -> dict[str, Any]:
    """The variables of the grid that was read, with other values."""
    found = {str(k): v for k, v in filled_variables(asked.source.data, cells).items()}
    for variable in found.values():
        variable.encoding = {"_FillValue": np.nan if variable.dtype.kind == "f" else None}
    return found


def write_on_grid(
    places: Mapping[str, Asked], mixture: Mixture, missing: Missing = "drop"
) -> tuple[int, int, int]:
    """Write all outputs in one pass; they appear when all cells of all of them are there.

    Cells with gaps are left out; where ``missing`` is ``"em"``, those that have no value.

    Returns
    -------
    n_counted, n_present : int
        How often 1 was written, in arrays in which it is counted, and how often another value than
        the fill of cells that are left out.
    n_gaps : int
        Where ``missing`` is ``"em"``, missing values of cells that have others.

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError, ParameterError
        As :func:`~daskgmm.storage.outputs.atomic_output.atomic_output`; nothing is written then.
    DataError, DamagedDataError
        If a cell or a chunk cannot be used.
    """
    with ExitStack() as stack:
        drafts = [
            (stack.enter_context(atomic_output(Location.parse(place), overwrite=a.overwrite)), a)
            for place, a in places.items()
        ]
        written, counted = [], []
        for draft, asked in drafts:
            found = _dataset(asked, mixture, missing)
            encoding = {
                name: {
                    "_FillValue": array.encoding["_FillValue"],
                    "compressors": [ZstdCodec(level=1), Crc32cCodec()],
                    # A chunk that is left out could not be told from a chunk that is lost.
                    "write_empty_chunks": True,
                }
                for name, array in found.data_vars.items()
            }
            store: Any = draft.place.store(read_only=False)
            how: dict[str, Any] = {"mode": "w", "zarr_format": 3, "consolidated": False}
            written.append(found.to_zarr(store, encoding=encoding, compute=False, **how))
            counted += [a.counts(found[a.name].data) for a in asked.arrays if a.is_counted]
        # A block is in memory whole, with its results: as many at once as the plan has room for.
        opened = next(iter(places.values())).opened
        at_once = {} if in_force().has_workers else {"num_workers": opened.n_threads}
        n_gaps: Any = 0
        if missing == "em":
            n_gaps = opened.rows.map(gaps_to_fill, dtype=np.int64, columns=None).sum()
        _, counts, n_gaps = dask.compute(written, counted, n_gaps, **at_once)
        for draft, _ in drafts:
            consolidate(zarr.open_group(draft.place.store(read_only=False), mode="r+"))
    n_counted, n_present = (sum(int(of[i]) for of in counts) for i in range(2))
    return n_counted, n_present, int(n_gaps)
