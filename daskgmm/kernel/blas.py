"""BLAS threads: one, wherever rows are processed side by side.

Partitions already keep every core busy; a BLAS that starts its own threads on top
makes them fight, and its sums would depend on how many there are.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import threadpool_limits

__all__ = ["single_threaded_blas", "single_threaded_blas_for_good"]


def single_threaded_blas() -> AbstractContextManager[object]:
    """Hold BLAS at one thread in this process while the context lasts.

    Enter it once per pass: finding the libraries takes milliseconds.
    """
    context: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return context


@cache
def single_threaded_blas_for_good() -> None:
    """Hold BLAS at one thread in this process until it ends: for worker processes."""
    threadpool_limits(1, user_api="blas")
