"""Conversion: tables and grids in files of other programs, written as rows that fits read.

A format is one file in :mod:`daskgmm.conversion.readers` and one row of its table. Rows go from
a reader to a writer in blocks, so that memory does not grow with them. Libraries that only one
format needs are imported when it is read.
"""
