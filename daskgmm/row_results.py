"""Row results: what a saved model says of each stored row, written in one pass.

All outputs of a pass are whole or not at all, and each result is found once for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from daskgmm.em import (
    Missing,
    Threshold,
    check_deconvolves,
    check_density_of_parts,
    with_rows_present,
)
from daskgmm.errors import DamagedDataError
from daskgmm.execution import MixtureSize, Work
from daskgmm.kernel import Affine, Block, Mixture
from daskgmm.record import (
    missing_of_record,
    names_of_record,
    read_as_of_record,
    threshold_of_record,
    units_of_record,
)
from daskgmm.redaction import redacted
from daskgmm.rules import names_of
from daskgmm.storage import read_model, read_projection
from daskgmm.tables import (
    Asked,
    Grid,
    OpenedRows,
    Result,
    Use,
    Writer,
    check_features,
    check_keep,
    check_units,
    create_rows_output,
    gaps_to_fill,
    open_as_fitted,
    open_input,
    open_measurement_noise,
    write_on_grid,
)

__all__ = ["HowToWrite", "SavedModel", "Written", "write_results"]


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A saved model, as far as results of rows need it.

    Attributes
    ----------
    name : str
        What messages call the model; secrets are removed.
    mixture : Mixture
    projection : Affine or None
    names, units : list of str or None
        Of the features.
    threshold : Threshold or None
        What decides whether a row is an outlier.
    read_as : mapping or None
        Options that said which stored values were the rows of the fit.
    missing : {"error", "drop", "em"}
        What becomes of rows with NaN.
    """

    name: str
    mixture: Mixture
    projection: Affine | None
    names: list[str] | None
    units: list[str] | None
    threshold: Threshold | None
    read_as: Mapping[str, Any] | None
    missing: Missing = "error"

    @classmethod
    def read(cls, place: str) -> Self:
        """Read a model from a path or URL; raises as :func:`daskgmm.load_model`."""
        mixture, record = read_model(place)
        projection, name = read_projection(place, mixture), redacted(place)
        n_features = mixture.n_features if projection is None else projection.n_in
        names = names_of_record(record, name, n_features)
        units = units_of_record(record, name, n_features)
        threshold, read_as = threshold_of_record(record, name), read_as_of_record(record, name)
        missing = missing_of_record(record, name)
        return cls(name, mixture, projection, names, units, threshold, read_as, missing)

    @property
    def n_features(self) -> int:
        """Features of the rows."""
        return self.mixture.n_features if self.projection is None else self.projection.n_in


@dataclass(frozen=True)
class Written:
    """What was written. Additive.

    Attributes
    ----------
    n_rows : int
    n_counted : int
        How many values 1 were written to arrays in which they are counted.
    n_present : int
        How many values were written there, other than the fill of rows that are left out.
    n_gaps : int
        Missing values of rows that have others.
    """

    n_rows: int
    n_counted: int
    n_present: int
    n_gaps: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.n_counted + other.n_counted,
            self.n_present + other.n_present,
            self.n_gaps + other.n_gaps,
        )


@dataclass(frozen=True, eq=False)
class HowToWrite:
    """How results are found and written.

    Attributes
    ----------
    keep : sequence of str, optional
        Names of columns that are copied into outputs in Parquet.
    memory_limit : int or str, optional
    overwrite : bool
        Whether a Zarr node, or results in Parquet, that are there may be replaced.
    measurement_noise : path, URL or Source, optional
        Variances of the noise of the values, as :meth:`daskgmm.GaussianMixture.predict` takes them.
    only : str, optional
        Name of an array: rows alone of which it is 1 are written, into Parquet.
    """

    keep: Sequence[str] | None = None
    memory_limit: int | str | None = None
    overwrite: bool = False
    measurement_noise: Any = None
    only: str | None = None


def write_results(
    data: Any,
    model: SavedModel,
    asked: Sequence[tuple[tuple[Result, ...], str]],
    how: HowToWrite,
) -> Written:
    """Write results for each stored row, in one pass.

    Parameters
    ----------
    data : path, URL, Source or Grid
    model : SavedModel
    asked : sequence of pairs
        Results, and the path or URL to write them to.
    how : HowToWrite
    """
    check_density_of_parts(model.missing, model.mixture, model.projection)
    if isinstance(data, str | os.PathLike):
        data = open_as_fitted(data, model.read_as)
    kept = tuple(names_of(how.keep or []))
    check_keep(kept, data, [place for _, place in asked])
    opened = _opened(data, model, asked, how)
    classes = model.mixture.classes
    places = {
        place: Asked(opened, results, classes, model.name, how.overwrite, data, kept, how.only)
        for results, place in asked
    }
    if opened.laid_out is None:
        return _write(places, model, opened)
    of_cells: Missing = "em" if model.missing == "em" else "drop"
    return Written(opened.rows.n_rows, *write_on_grid(places, model.mixture, of_cells))


def _opened(
    data: Any,
    model: SavedModel,
    asked: Sequence[tuple[tuple[Result, ...], str]],
    how: HowToWrite,
) -> OpenedRows:
    """The rows, as the model sees them."""
    noise = None
    if how.measurement_noise is not None:
        check_deconvolves(model.mixture, model.projection)
        noise = open_measurement_noise(how.measurement_noise, data)
    classes, names = model.mixture.classes, model.names
    wanted = {result.name: result for results, _ in asked for result in results}
    row_bytes = sum(
        array.row_bytes for result in wanted.values() for array in result.arrays(classes)
    )
    opened = open_input(
        data,
        Work((MixtureSize.of(model.mixture),), output_row_bytes=row_bytes),
        memory_limit=how.memory_limit,
        # Cells of a grid have results, whether they have gaps or not.
        use=Use(
            not isinstance(data, Grid),
            names=None if names is None else tuple(names),
            missing=model.missing,
            measurement_noise=noise,
        ),
    )
    check_features(
        (model.n_features, names),
        (opened.rows.n_features, opened.feature_names),
        f"the model {model.name}",
        opened.name,
    )
    check_units(model.units, opened.feature_units, names, opened.name)
    return opened.mapped(model.projection)


def _write(places: Mapping[str, Asked], model: SavedModel, opened: OpenedRows) -> Written:
    """Write all outputs in one pass; they appear when all rows of all of them are there."""
    rows = opened.rows
    with ExitStack() as stack:
        writers = [
            (asked.results, stack.enter_context(create_rows_output(place, asked)).writer)
            for place, asked in places.items()
        ]
        written: Written = rows.fold(_write_grain, model.mixture, writers, model.missing)
        if written.n_rows != rows.n_rows:
            raise DamagedDataError(
                f"{opened.name}: {written.n_rows} rows came where {rows.n_rows} were expected"
            )
    return written


def _write_grain(
    block: Block,
    mixture: Mixture,
    writers: Sequence[tuple[tuple[Result, ...], Writer]],
    missing: Missing,
) -> Written:
    """Write the results of a grain, each of which is found once."""
    wanted = {result.name: result for results, _ in writers for result in results}
    n_gaps = int(gaps_to_fill(block).sum()) if block.has_gaps else 0
    block, out = with_rows_present(block, mixture, missing)
    found = {name: result.of(block, mixture, out) for name, result in wanted.items()}
    for results, writer in writers:
        writer.write(block.start, {k: v for r in results for k, v in found[r.name].items()})
    arrays = {name: values for result in found.values() for name, values in result.items()}
    counts = [
        array.counts(arrays[array.name])
        for result in wanted.values()
        for array in result.arrays(mixture.classes)
        if array.is_counted
    ]
    n_counted = sum(int(ones) for ones, _ in counts)
    n_present = sum(int(present) for _, present in counts)
    return Written(len(block), n_counted, n_present, n_gaps)
