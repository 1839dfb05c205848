"""The memory plan: within its limit or refused, and no part of the result depends on it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forks import FORKS
from hypothesis import given
from hypothesis import strategies as st
from made_data import made_mixture

from daskgmm.em.rows import grain_rows
from daskgmm.errors import MemoryLimitError, ParameterError
from daskgmm.execution import (
    Machine,
    MixtureSize,
    StoredShape,
    Work,
    default_limit,
    peak_memory_bytes,
    plan_memory,
    sample_rows,
)
from daskgmm.execution.memory import TARGET_BYTES, read_rows
from daskgmm.execution.process_memory import give_back_memory, resident_bytes
from daskgmm.kernel import COMPONENTS, Block, e_step
from daskgmm.rules import bytes_of

MIB = 2**20

KINDS = st.sampled_from(sorted(COMPONENTS))
DATA = st.builds(
    StoredShape,
    n_rows=st.integers(1, 10**10),
    n_features=st.integers(1, 500),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    unit_rows=st.integers(1, 10**6),
    unit_overhead=st.integers(0, 64 * MIB),
)
WORKS = st.builds(
    Work,
    mixtures=st.builds(MixtureSize, KINDS, st.integers(1, 100)).map(lambda size: (size,)),
    sampled=st.booleans(),
    output_row_bytes=st.sampled_from([0, 8, 800]),
)
LIMITS = st.integers(1, 2**40)
THREADS = st.integers(1, 64)


def _is_power_of_two(n: int) -> bool:
    return n >= 1 and n & (n - 1) == 0


def needed(data: StoredShape, work: Work, n_threads: int = 1) -> int:
    """The limit that a refusal asks for, in bytes; rounded to a hundredth."""
    with pytest.raises(MemoryLimitError) as caught:
        plan_memory(data, work, Machine(n_threads, limit=1))
    asked = bytes_of(str(caught.value).split("raise it to ")[1].split(",")[0])
    assert asked is not None
    return asked


@given(data=DATA, work=WORKS, limit=LIMITS, threads=THREADS)
def test_a_plan_keeps_its_limit_or_is_refused_with_figures(data, work, limit, threads):
    try:
        plan = plan_memory(data, work, Machine(threads, limit))
    except MemoryLimitError:
        with pytest.raises(MemoryLimitError, match="raise it to"):
            plan_memory(data, work, Machine(1, limit))
        return
    assert plan.peak <= plan.limit == limit
    assert 1 <= plan.n_threads <= threads
    assert plan.partition_rows % plan.grain == 0
    assert _is_power_of_two(plan.partition_rows // plan.grain)
    assert plan.grain % data.unit_rows == 0
    assert _is_power_of_two(plan.grain // data.unit_rows)
    most = max(100_000, 10 * work.n_components, data.n_rows // 200)
    assert 0 <= plan.n_sampled <= min(data.n_rows, most)
    assert (plan.n_sampled > 0) == work.sampled
    # The plan counts what every thread holds: the piece at hand and the next one.
    piece = read_rows(plan.grain, data.row_bytes) * data.row_bytes
    assert plan.peak >= 2 * piece * plan.n_threads + resident_bytes() // 2
    grain_bytes = plan.grain * data.row_bytes
    partition_bytes = grain_bytes * (plan.partition_rows // plan.grain)
    assert partition_bytes <= max(TARGET_BYTES, grain_bytes)


def test_what_this_process_holds_takes_nothing_of_a_worker(monkeypatch):
    """A notebook with much in memory, and workers that have little."""
    monkeypatch.setattr("daskgmm.execution.memory.resident_bytes", lambda: 8 * 2**30)
    data = StoredShape(80_000, 8, itemsize=4, unit_rows=1024, unit_overhead=2**20)
    work = Work((MixtureSize("full", 3),), sampled=True)
    here = Machine(n_threads=2, limit=2**30)
    with pytest.raises(MemoryLimitError, match="in use"):
        plan_memory(data, work, here)
    plan = plan_memory(data, work, replace(here, worker_resident=200 * MIB))
    assert 384 * MIB < plan.peak <= plan.limit
    with pytest.raises(MemoryLimitError, match="in use"):
        plan_memory(data, work, replace(here, worker_resident=2**30))


@given(data=DATA, work=WORKS, limit=LIMITS, threads=THREADS, reads=st.integers(1, 8))
def test_reads_at_once_take_only_what_is_left(data, work, limit, threads, reads):
    machine, more = Machine(threads, limit), replace(work, reads_at_once=reads)
    try:
        one = plan_memory(data, work, machine)
    except MemoryLimitError:
        with pytest.raises(MemoryLimitError):
            plan_memory(data, more, machine)
        return
    plan = plan_memory(data, more, machine)
    assert (plan.grain, plan.partition_rows) == (one.grain, one.partition_rows)
    assert plan.n_threads == one.n_threads
    assert 1 == one.reads_at_once <= plan.reads_at_once <= reads
    assert one.peak <= plan.peak <= limit
    each = data.row_bytes * plan.grain + data.unit_overhead
    assert plan.peak - one.peak >= (plan.reads_at_once - 1) * plan.n_threads * each


@given(data=DATA, work=WORKS, limits=st.tuples(LIMITS, LIMITS), threads=st.tuples(THREADS, THREADS))
def test_grains_and_so_bits_depend_on_the_data_alone(data, work, limits, threads):
    grains = set()
    for limit, n in zip(limits, threads, strict=True):
        try:
            grains.add(plan_memory(data, work, Machine(n, limit)).grain)
        except MemoryLimitError:
            continue
    assert len(grains) <= 1
    if not work.output_row_bytes and grains:
        assert grains == {grain_rows(data.n_features, data.unit_rows)}


@given(data=DATA, work=WORKS, threads=THREADS)
def test_what_a_refusal_asks_for_is_enough(data, work, threads):
    asked = needed(data, work, threads)
    assert plan_memory(data, work, Machine(threads, asked)).n_threads >= 1


@given(data=DATA, work=WORKS, limit=st.integers(200 * MIB, 2**40))
def test_more_memory_never_means_smaller_partitions_on_one_thread(data, work, limit):
    def rows(n_bytes):
        try:
            return plan_memory(data, work, Machine(1, n_bytes)).partition_rows
        except MemoryLimitError:
            return 0

    assert rows(2 * limit) >= rows(limit)


@given(
    data=DATA,
    work=WORKS,
    limits=st.tuples(st.integers(512 * MIB, 2**40), st.integers(512 * MIB, 2**40)),
)
def test_the_sample_and_so_the_start_does_not_depend_on_the_limit(data, work, limits):
    # The estimator's promise: memory_limit decides how rows are cut, never the result.
    work = replace(work, sampled=True)
    sizes = set()
    for limit in limits:
        try:
            sizes.add(plan_memory(data, work, Machine(1, limit)).n_sampled)
        except MemoryLimitError:
            continue
    assert sizes <= {sample_rows(data.n_rows, work, data.n_features)}


def test_the_sample_grows_with_the_root_of_rows_and_stays_within_its_bytes():
    work = Work(2 * (MixtureSize("full", 8),))  # 119 parameters of 4 features
    assert sample_rows(10_000, work, 4) == 10_000
    assert sample_rows(10**6, work, 4) == sample_rows(2 * 10**7, work, 4) == 100_000
    assert sample_rows(10**8, work, 4) == 10**8 // 200
    assert sample_rows(2 * 10**8, work, 4) == math.isqrt(40 * 119 * 2 * 10**8)
    # 128 MiB for more rows of 4 features and a weight, each three times.
    assert sample_rows(10**11, work, 4) == 100_000 + 2**27 // (3 * 8 * 5)
    # 4 features and 3 responsibilities of 400 components, each twice or more, in 128 MiB.
    many = Work((MixtureSize("full", 400),))
    assert sample_rows(10**11, many, 4) == 2**27 // (8 * (4 * 4 + 3 * 400))
    # Every candidate of a selection is fitted to the sample.
    several = Work((MixtureSize("full", 7), MixtureSize("full", 8)))
    assert sample_rows(2 * 10**8, several, 4) == 200_000
    assert sample_rows(10**11, several, 4) == 2**27 // (8 * (4 * 4 + 3 * 8))


@given(data=DATA, work=WORKS, threads=THREADS)
def test_mixtures_that_share_a_pass_are_all_planned_for(data, work, threads):
    together = replace(work, mixtures=10 * work.mixtures)
    # A thread keeps the partial sums of a tree, the driver those of the steppers.
    more = 36 * 9 * work.statistics_bytes(data.n_features)
    if work.sampled:  # the scan, a pass of its own, may need more than one mixture's sums
        more -= 20 * 8 * (data.n_features**2 + 3 * data.n_features)
    # What is resident moves a little between the two.
    assert needed(data, together) >= 0.98 * (needed(data, work) + more) - MIB


@given(kind=KINDS, k=st.integers(1, 20), d=st.integers(1, 20))
def test_statistics_are_charged_as_they_are(kind, k, d):
    rng = np.random.default_rng(0)
    statistics = e_step(Block(rng.normal(size=(3, d))), made_mixture(kind, k, d))
    n_bytes = sum(array.nbytes for array in statistics.sums.values())
    assert MixtureSize(kind, k).statistics_bytes(d) == n_bytes


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_what_has_no_matrices_is_not_charged_for_them(kind, sampled):
    """100 components of 1,000 features: as full covariances their statistics are 800 MB."""
    data = StoredShape(10**7, 1000, itemsize=4, unit_rows=1000, unit_overhead=8 * 2**20)
    work = Work(2 * (MixtureSize(kind, 100),), sampled=sampled)
    beside = needed(data, work) - resident_bytes()
    assert beside < 2**30
    full = Work(2 * (MixtureSize("full", 100),), sampled=sampled)
    assert needed(data, full) > 36 * 2 * 8 * 100 * 1000**2


def test_one_covariance_for_all_is_charged_once():
    data = StoredShape(10**7, 200, itemsize=4, unit_rows=1000, unit_overhead=0)
    one, hundred = (needed(data, Work((MixtureSize("tied", k),))) for k in (1, 100))
    assert hundred - one < 36 * 8 * (2 * 100 * 201) + 16 * MIB


def test_a_plan_without_a_limit_takes_what_is_free():
    data = StoredShape(10**6, 4, itemsize=8, unit_rows=1000, unit_overhead=0)
    plan = plan_memory(data, Work((MixtureSize("full", 3),), sampled=True), Machine(2))
    # Free memory moves between the two readings; not by a half.
    assert plan.limit == pytest.approx(default_limit(), rel=0.5)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("512MiB", 512 * MIB), ("4GB", 4 * 10**9), ("100 kB", 10**5), (12345, 12345), ("1e6", 10**6)],
)
def test_amounts_of_memory(text, n_bytes):
    assert bytes_of(text) == n_bytes
    assert bytes_of(None) is None


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "", 0, -5, [], "12 parsecs"])
def test_what_is_no_amount_is_named(text):
    with pytest.raises(ParameterError, match="memory_limit must be") as caught:
        bytes_of(text)
    assert repr(text) in str(caught.value)


def test_the_peak_holds_what_was_touched():
    before = peak_memory_bytes()
    block = np.ones(64 * MIB, dtype=np.uint8)
    assert peak_memory_bytes() >= resident_bytes() - MIB
    assert peak_memory_bytes() >= before
    assert block[-1] == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory of glibc")
def test_what_was_freed_is_given_back_to_the_system():
    """A fit of CSV was refused for what its conversion had freed. In a process of its own."""
    given_back = FORKS.SimpleQueue()
    process = FORKS.Process(target=_give_back, args=(given_back,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert given_back.get() > 50_000_000


def _give_back(given_back):
    held = [bytes(2000) for _ in range(50_000)]
    del held[:-1]  # what is left is at the end of the heap, and keeps all of it there
    before = resident_bytes()
    give_back_memory()
    given_back.put(before - resident_bytes())
