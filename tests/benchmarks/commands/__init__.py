"""The commands of ``python -m tests.benchmarks``, by what they measure."""
