"""Stored rows: how many reads of them a thread has on their way."""

from __future__ import annotations

import numpy as np
from made_data import write_store

from daskgmm.storage import open_source
from daskgmm.tables.stage import Stage
from daskgmm.tables.stored import reads_of_thread


def test_a_second_read_of_files_takes_no_memory_that_is_worth_more(tmp_path):
    x = np.zeros((3000, 4))
    source = open_source(write_store(tmp_path / "x.zarr", x, 1000))
    assert reads_of_thread(source, Stage()) == 2
    # Rows that are kept are not read again at all.
    assert reads_of_thread(source, Stage("auto")) == 1


def test_large_chunks_are_read_one_after_the_other(tmp_path):
    x = np.zeros((500_000, 20), np.float32)
    source = open_source(write_store(tmp_path / "x.zarr", x, 500_000))
    assert source.unit_overhead > 64 * 2**20
    assert reads_of_thread(source, Stage()) == 1
