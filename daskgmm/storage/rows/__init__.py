"""Stored rows: sources in Zarr and NumPy files, read with every check that they allow."""
