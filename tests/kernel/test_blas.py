"""Threads of BLAS: one while anybody works, and as many as before when the last has ended."""

from __future__ import annotations

import subprocess
import sys

OVERLAPPING = """
from threadpoolctl import threadpool_info, threadpool_limits
from daskgmm import GaussianMixture
from daskgmm.kernel.blas import single_thread

def n_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

threadpool_limits(4, user_api="blas")  # on a machine of one core, too
first, second = single_thread(), single_thread()
first.__enter__()
second.__enter__()
assert n_threads() == {1}
first.__exit__(None, None, None)
assert n_threads() == {1}
second.__exit__(None, None, None)
assert n_threads() == {4}
"""


def test_what_overlaps_leaves_blas_as_it_was():
    """In a process of its own: in this one all tests together hold BLAS at one thread."""
    done = subprocess.run(
        [sys.executable, "-c", OVERLAPPING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
