"""The pages that are built from docstrings, guides, examples and commands."""
