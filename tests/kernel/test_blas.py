"""Threads of BLAS: one while anybody works, and as many as before when the last has ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import threading
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from daskgmm import GaussianMixture
from daskgmm.kernel.blas import single_thread

def n_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

threadpool_limits(4, user_api="blas")  # on a machine of one core, too
"""

OVERLAPPING = """
first, second = single_thread(), single_thread()
first.__enter__()
second.__enter__()
assert n_threads() == {1}
first.__exit__(None, None, None)
assert n_threads() == {1}
second.__exit__(None, None, None)
assert n_threads() == {4}
"""

FITS = """
x = np.random.default_rng(0).normal(size=(3000, 2))
x[::2] += 6

def work(seed):
    for i in range(3):
        GaussianMixture(3, random_state=seed + i).fit(x)

for _ in range(3):
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n_threads() == {4}
"""


@pytest.mark.parametrize("script", [OVERLAPPING, FITS], ids=["contexts", "fits"])
def test_what_overlaps_leaves_blas_as_it_was(script):
    """In a process of its own: in this one all tests together hold BLAS at one thread."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
