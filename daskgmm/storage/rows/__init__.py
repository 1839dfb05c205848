"""Stored rows: sources in Zarr, Parquet and NumPy files, read with every check that they allow."""
