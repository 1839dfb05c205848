"""BLAS threads: one, wherever rows are processed side by side.

Partitions already keep every core busy; a BLAS that starts its own threads on top
makes them fight, and its sums would depend on how many there are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["single_thread", "single_threaded_blas_for_good"]


@cache
def _controller() -> ThreadpoolController:
    """The thread pools of this process; finding them takes milliseconds, so once."""
    return ThreadpoolController()


class _Limit:
    """One thread while anybody wants it: the number is the process's, and fits may overlap.

    A fit that began when another held BLAS at one thread must not restore one thread when it ends
    after that other.

    Parameters
    ----------
    pools : str
        "blas" or "openmp".
    """

    def __init__(self, pools: str) -> None:
        self._pools = pools
        self._lock = threading.Lock()
        self._n_holders = 0

    def hold(self) -> None:
        with self._lock:
            if self._n_holders == 0:
                self._limiter = _controller().limit(limits=1, user_api=self._pools)
            self._n_holders += 1

    def let_go(self) -> None:
        with self._lock:
            self._n_holders -= 1
            if self._n_holders == 0:
                self._limiter.restore_original_limits()


_LIMITS = {pools: _Limit(pools) for pools in ("blas", "openmp")}


@contextmanager
def single_thread(*pools: str) -> Iterator[None]:
    """Hold pools of threads, BLAS by default, at one thread while the context lasts.

    Parameters
    ----------
    *pools : str
        "blas", "openmp".
    """
    limits = [_LIMITS[name] for name in pools or ("blas",)]
    for limit in limits:
        limit.hold()
    try:
        yield
    finally:
        for limit in limits:
            limit.let_go()


@cache
def single_threaded_blas_for_good() -> None:
    """Hold BLAS at one thread in this process until it ends: for worker processes."""
    _LIMITS["blas"].hold()
