"""Benchmarks: ordinary commands that print ratios measured side by side in one run.

``python -m tests.benchmarks --help`` from the root of the repository. Nothing here is
installed, and no test asserts a time.
"""
