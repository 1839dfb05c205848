"""The memory plan: within its limit or refused, and no part of the result depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.em.rows import grain_rows
from daskgmm.errors import MemoryLimitError, ParameterError
from daskgmm.execution import default_limit, peak_memory_bytes, plan_memory, sample_rows
from daskgmm.execution.memory import TARGET_BYTES, resident_bytes
from daskgmm.rules import bytes_of

MIB = 2**20

SHAPES = st.fixed_dictionaries(
    {
        "n_rows": st.integers(1, 10**10),
        "n_features": st.integers(1, 500),
        "itemsize": st.sampled_from([1, 2, 4, 8]),
        "n_components": st.integers(1, 100),
        "unit_rows": st.integers(1, 10**6),
        "unit_overhead": st.integers(0, 64 * MIB),
        "output_row_bytes": st.sampled_from([0, 8, 800]),
    }
)
LIMITS = st.integers(1, 2**40)
THREADS = st.integers(1, 64)


def _is_power_of_two(n: int) -> bool:
    return n >= 1 and n & (n - 1) == 0


@given(shape=SHAPES, limit=LIMITS, threads=THREADS)
def test_a_plan_keeps_its_limit_or_is_refused_with_figures(shape, limit, threads):
    try:
        plan = plan_memory(**shape, n_threads=threads, limit=limit)
    except MemoryLimitError:
        with pytest.raises(MemoryLimitError, match="raise it to"):
            plan_memory(**shape, n_threads=1, limit=limit)
        return
    assert plan.peak <= plan.limit == limit
    assert 1 <= plan.n_threads <= threads
    assert plan.partition_rows % plan.grain == 0
    assert _is_power_of_two(plan.partition_rows // plan.grain)
    assert plan.grain % shape["unit_rows"] == 0
    assert _is_power_of_two(plan.grain // shape["unit_rows"])
    assert 0 <= plan.n_sampled <= min(shape["n_rows"], max(100_000, 10 * shape["n_components"]))
    # The plan counts what every thread holds: its partition, twice.
    held = 2 * plan.partition_rows * shape["n_features"] * shape["itemsize"] * plan.n_threads
    assert plan.peak >= held + resident_bytes() // 2
    grain_bytes = plan.grain * shape["n_features"] * shape["itemsize"]
    partition_bytes = grain_bytes * (plan.partition_rows // plan.grain)
    assert partition_bytes <= max(TARGET_BYTES, grain_bytes)


def test_what_this_process_holds_takes_nothing_of_a_worker(monkeypatch):
    """A notebook with much in memory, and workers that have little."""
    shape = {"n_rows": 80_000, "n_features": 8, "itemsize": 4, "n_components": 3}
    monkeypatch.setattr("daskgmm.execution.memory.resident_bytes", lambda: 8 * 2**30)
    task = {**shape, "unit_rows": 1024, "unit_overhead": 2**20, "n_threads": 2, "limit": 2**30}
    with pytest.raises(MemoryLimitError, match="in use"):
        plan_memory(**task)
    plan = plan_memory(**task, worker_resident=200 * MIB)
    assert 384 * MIB < plan.peak <= plan.limit
    with pytest.raises(MemoryLimitError, match="in use"):
        plan_memory(**task, worker_resident=2**30)


@given(shape=SHAPES, limit=LIMITS, threads=THREADS, reads=st.integers(1, 8))
def test_reads_at_once_take_only_what_is_left(shape, limit, threads, reads):
    try:
        one = plan_memory(**shape, n_threads=threads, limit=limit)
    except MemoryLimitError:
        with pytest.raises(MemoryLimitError):
            plan_memory(**shape, n_threads=threads, limit=limit, reads_at_once=reads)
        return
    plan = plan_memory(**shape, n_threads=threads, limit=limit, reads_at_once=reads)
    assert (plan.grain, plan.partition_rows) == (one.grain, one.partition_rows)
    assert plan.n_threads == one.n_threads
    assert 1 == one.reads_at_once <= plan.reads_at_once <= reads
    assert one.peak <= plan.peak <= limit
    each = shape["n_features"] * shape["itemsize"] * plan.grain + shape["unit_overhead"]
    assert plan.peak - one.peak >= (plan.reads_at_once - 1) * plan.n_threads * each


@given(shape=SHAPES, limits=st.tuples(LIMITS, LIMITS), threads=st.tuples(THREADS, THREADS))
def test_grains_and_so_bits_depend_on_the_data_alone(shape, limits, threads):
    grains = set()
    for limit, n in zip(limits, threads, strict=True):
        try:
            grains.add(plan_memory(**shape, n_threads=n, limit=limit).grain)
        except MemoryLimitError:
            continue
    assert len(grains) <= 1
    if not shape["output_row_bytes"] and grains:
        assert grains == {grain_rows(shape["n_features"], shape["unit_rows"])}


@pytest.mark.parametrize("sampled", [False, True])
@given(shape=SHAPES, threads=THREADS)
def test_what_a_refusal_asks_for_is_enough(shape, threads, sampled):
    plan = {**shape, "n_threads": threads, "sampled": sampled}
    with pytest.raises(MemoryLimitError) as caught:
        plan_memory(**plan, limit=1)
    asked = str(caught.value).split("raise it to ")[1].split(",")[0]
    assert plan_memory(**plan, limit=bytes_of(asked)).n_threads >= 1


@given(shape=SHAPES, limit=st.integers(200 * MIB, 2**40), threads=THREADS)
def test_more_memory_never_means_smaller_partitions_on_one_thread(shape, limit, threads):
    def rows(n_bytes):
        try:
            return plan_memory(**shape, n_threads=1, limit=n_bytes, sampled=False).partition_rows
        except MemoryLimitError:
            return 0

    assert rows(2 * limit) >= rows(limit)


@given(shape=SHAPES, limits=st.tuples(st.integers(512 * MIB, 2**40), st.integers(512 * MIB, 2**40)))
def test_the_sample_and_so_the_start_does_not_depend_on_the_limit(shape, limits):
    # The estimator's promise: memory_limit decides how rows are cut, never the result.
    sizes = set()
    for limit in limits:
        try:
            sizes.add(plan_memory(**shape, n_threads=1, limit=limit).n_sampled)
        except MemoryLimitError:
            continue
    assert sizes <= {sample_rows(shape["n_rows"], shape["n_components"], shape["n_features"])}


@given(shape=SHAPES, threads=THREADS)
def test_mixtures_that_share_a_pass_are_all_planned_for(shape, threads):
    def needed(**more):
        with pytest.raises(MemoryLimitError) as caught:
            plan_memory(**shape, **more, n_threads=threads, limit=1)
        return bytes_of(str(caught.value).split("raise it to ")[1].split(",")[0])

    k, d = shape["n_components"], shape["n_features"]
    # A thread keeps the partial sums of a tree, the driver those of the steppers.
    more = 36 * 8 * 9 * k * (d * d + d + 1)
    # Figures are rounded to a hundredth; what is resident moves a little between the two.
    assert needed(n_together=10 * k) >= 0.98 * (needed() + more) - MIB


def test_a_plan_without_a_limit_takes_what_is_free():
    plan = plan_memory(
        n_rows=10**6,
        n_features=4,
        itemsize=8,
        n_components=3,
        unit_rows=1000,
        unit_overhead=0,
        n_threads=2,
    )
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
