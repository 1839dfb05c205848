"""Outputs: results for each row, models and text, which appear whole or not at all."""
