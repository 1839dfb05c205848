"""Formats: the table of what can be converted. Another format is a file and a row."""

from __future__ import annotations

from daskgmm.conversion.reader import Format
from daskgmm.conversion.readers.delimited import DelimitedReader
from daskgmm.conversion.readers.hdf5 import Hdf5Reader
from daskgmm.conversion.readers.netcdf import NetcdfReader
from daskgmm.conversion.readers.parquet import ParquetReader

__all__ = ["FORMATS"]

FORMATS: tuple[Format, ...] = (
    Format(
        "CSV",
        (".csv", ".tsv", ".txt"),
        frozenset(
            {
                "columns",
                "keep",
                "header",
                "separator",
                "decimal",
                "encoding",
                "missing_text",
                "ragged",
            },
        ),
        DelimitedReader,
    ),
    Format(
        "Parquet",
        (".parquet", ".pq"),
        frozenset({"columns", "keep"}),
        ParquetReader,
        before_fits=False,
    ),
    Format(
        "NetCDF",
        (".nc", ".nc4", ".cdf"),
        frozenset({"variables", "member", "rows"}),
        NetcdfReader,
        has_grids=True,
    ),
    Format("HDF5", (".h5", ".hdf5", ".hdf"), frozenset({"columns", "member"}), Hdf5Reader),
)
