"""Writers: what blocks of rows are written as, whole or not at all; one file for each."""
