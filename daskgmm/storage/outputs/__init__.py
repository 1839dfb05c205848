"""What is written: results for each row, models and text, whole or not at all."""
