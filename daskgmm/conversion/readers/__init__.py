"""Readers: one file for each format, all of which give blocks of rows with names and units."""
