"""BLAS threads: one, wherever rows are processed side by side.

Partitions already keep every core busy; a BLAS that starts its own threads on top
makes them fight, and its sums would depend on how many there are.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["single_thread", "single_threaded_blas_for_good"]


@cache
def _controller() -> ThreadpoolController:
    """The thread pools of this process; finding them takes milliseconds, so once."""
    return ThreadpoolController()


def single_thread(user_api: str | None = "blas") -> AbstractContextManager[object]:
    """Hold BLAS, or with None every thread pool, at one thread while the context lasts."""
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api=user_api)
    return context


@cache
def single_threaded_blas_for_good() -> None:
    """Hold BLAS at one thread in this process until it ends: for worker processes."""
    single_thread().__enter__()
