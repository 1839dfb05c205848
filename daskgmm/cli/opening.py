"""Opening: the rows that the options of a command name, converted first where they have to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from daskgmm.errors import ParameterError
from daskgmm.lazily import Lazily
from daskgmm.redaction import redacted
from daskgmm.settings import DATA_OPTIONS, DRAW, GRID_OPTIONS, KEEP, MISSING

if TYPE_CHECKING:
    from daskgmm import record, storage, tables
    from daskgmm.conversion import before_fits, files
else:  # what help, completion and errors of usage do without
    record, storage, tables = (
        Lazily(f"daskgmm.{name}") for name in ("record", "storage", "tables")
    )
    before_fits = Lazily("daskgmm.conversion.before_fits")
    files = Lazily("daskgmm.conversion.files")

__all__ = ["rows_opened"]


@contextmanager
def rows_opened(
    data: str, how: dict[str, Any], beside: Sequence[str], kwargs: dict[str, Any], *, converts: bool
) -> Iterator[tuple[Any, Any]]:
    """The rows that options name, and the path or URL of what they are read from.

    ``beside`` are names of weights and the like; ``kwargs`` are the other options of the command.
    """
    model = kwargs.get("model")
    if not converts or not files.needs_conversion(data):
        yield _opened(data, model, how), data
        return
    given = {o.name: how[o.name] for o in DATA_OPTIONS if how[o.name] != o.default}
    to_parquet = _checked_outputs(kwargs)  # before what takes long
    if kwargs.get(KEEP.name) is not None:
        given[KEEP.name] = kwargs[KEEP.name]
    # What becomes of missing values is for the command to do.
    missing: tuple[str, ...] = ()
    if MISSING.name in kwargs:  # outliers of a model have no one threshold with "em"
        missing = ("drop", "em") if model is None else ("drop",)
    keeps = DRAW.name in kwargs or kwargs.get(MISSING.name) in ("drop", "em")
    told: dict[str, Any] = {"keeps_gaps": keeps, "missing": missing, "beside": beside}
    with before_fits.converted_before(
        data, model, to_parquet=to_parquet, **told, **given
    ) as source:
        if isinstance(source, before_fits.ConvertedGrid):
            of_store = {**how, "member": None, **source.how}
            yield _opened(source.place, model, of_store), source.place
            return
        assert source is not None
        for name in beside:
            before_fits.check_column(name, source)
        yield source, data


def _opened(data: Any, model: str | None, how: dict[str, Any]) -> Any:
    """The rows, opened by the options that are given.

    What these leave open is as it was for the fit of the model, if there is one.
    """
    read_as = None
    if model is not None:
        read_as = record.read_as_of_record(storage.read_model(model)[1], redacted(model))
    if read_as is not None:
        return tables.open_as_fitted(data, read_as, **how)
    chosen = {option.name: how.pop(option.name) for option in GRID_OPTIONS}
    if all(value is None for value in chosen.values()):
        return storage.open_source(data, **how)  # which needs no Dask
    return tables.open_rows(data, **how, **chosen)


def _checked_outputs(kwargs: dict[str, Any]) -> bool:
    """Refuse outputs that cannot be written, before the rows are converted.

    Returns whether an output is Parquet: rows that are converted become Parquet then, too.
    """
    to_parquet = False
    for name in ("output", "probabilities", "log_density"):
        if (place := kwargs.get(name)) is not None:
            is_parquet = KEEP.name in kwargs and storage.is_parquet_name(place)
            check = storage.check_parquet_output if is_parquet else storage.check_output
            check(place, overwrite=kwargs["overwrite"])
            to_parquet |= is_parquet
    if kwargs.get(KEEP.name) is not None and not to_parquet:
        raise ParameterError(
            f"keep copies columns into Parquet outputs, and {redacted(kwargs['output'])} is none; end "
            "its name in .parquet, or leave keep out",
            KEEP.name,
        )
    return to_parquet
